#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "support/command/command.h"
#include "support/temporary_directory.h"

namespace godwit::test {

/// What a process has that an attempt which failed must give back.
struct Holdings {
  std::size_t descriptors = 0;
  std::size_t threads = 0;
  std::size_t shared_maps = 0;  ///< of memfds, rings and userfaultfds; the heap may keep its pages
  bool operator==(const Holdings&) const = default;

  static Holdings of(pid_t pid);
  /// Once nothing has changed for a while: the end of the last client is noticed a little later.
  static Holdings settled(pid_t pid);
  [[nodiscard]] std::string text() const;
};

bool port_is_free(std::uint16_t port);

/// A `godwit receive` process.
class Receiver {
 public:
  Receiver(const TemporaryDirectory& directory,
           const std::string& name,
           const std::string& options = "",
           const Prepare& prepare = {});
  [[nodiscard]] bool listens() const { return port_ != 0; }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string address() const;
  [[nodiscard]] const std::string& control() const { return control_; }
  Process& process() { return process_; }
  [[nodiscard]] Json status() const { return ask(control_, "status"); }
  [[nodiscard]] bool waits() const;

  /// Ends it in order, and nothing of it may stay.
  void stop();

 private:
  std::string control_;
  Process process_;
  std::uint16_t port_ = 0;
};

/// A `godwit run` process with a small guest that writes, and what must be true of it after an
/// attempt to migrate it has failed.
class GuestUnderTest {
 public:
  static constexpr const char* kOptions =
      "--guest process --memory 16MiB --working-set 4MiB --workload random-write";

  explicit GuestUnderTest(const TemporaryDirectory& directory,
                          const std::string& options = kOptions,
                          const Prepare& prepare = {});

  [[nodiscard]] const std::string& control() const { return control_; }
  Process& process() { return process_; }
  [[nodiscard]] Json status() const { return ask(control_, "status"); }
  [[nodiscard]] std::uint64_t steps() const;
  [[nodiscard]] std::string migrate_line(const std::string& to, const std::string& options) const;
  [[nodiscard]] Outcome migrate(const std::string& to, const std::string& options = "") const;

  /// It steps, has given back what the attempt took, and leaves for a good target, where it
  /// verifies.
  void goes_on_and_leaves(Receiver* good = nullptr, const std::string& options = "");

 private:
  const TemporaryDirectory& directory_;
  std::string control_;
  Process process_;
  Holdings before_;
};

/// Nothing of what a test started may be left when it ends.
void nothing_is_left(const TemporaryDirectory& directory);

}  // namespace godwit::test
