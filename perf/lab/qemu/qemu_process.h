#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "godwit/base/fd.h"
#include "godwit/base/result.h"

#include "ground/process.h"
#include "ground/temporary_directory.h"
#include "qemu/qmp.h"

namespace godwit::lab {

struct QemuSpec {
  std::string program;
  std::string name;                ///< "source": prefix of its files
  std::vector<std::string> words;  ///< its machine
  int network_fd = -1;             ///< namespace to run in; -1 = the lab's own
  int cgroup_fd = -1;              ///< cgroup.procs of the group to join; -1 = none
  bool has_serial = true;
};

/// One running QEMU with its monitor and its serial port. It ends with this object, or with the
/// lab.
class Qemu {
 public:
  /// Starts it, with its sockets in `directory`, and speaks first with its monitor.
  /// Errors: kIo, kClosed with what it wrote on stderr, kTimeout, kCancelled.
  static Result<std::unique_ptr<Qemu>> start(const QemuSpec& spec,
                                             const TemporaryDirectory& directory,
                                             int interrupt_fd);
  ~Qemu();
  Qemu(const Qemu&) = delete;
  Qemu& operator=(const Qemu&) = delete;

  [[nodiscard]] Qmp& qmp() { return *qmp_; }
  [[nodiscard]] Fd take_serial() { return std::move(serial_); }
  /// CPU time of the process, threads that have ended included.
  [[nodiscard]] std::int64_t cpu_ns() const;
  [[nodiscard]] const std::vector<std::string>& command() const { return words_; }

 private:
  Qemu() = default;
  Status launch(const QemuSpec& spec, int serial);
  [[nodiscard]] std::string last_words() const;

  std::optional<Process> process_;
  std::string log_;
  std::vector<std::string> words_;
  Fd serial_;
  std::unique_ptr<Qmp> qmp_;
};

}  // namespace godwit::lab
