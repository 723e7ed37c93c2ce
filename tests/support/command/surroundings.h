#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <string>
#include <vector>

#include "support/require.h"

// What can be taken from a process before it starts. Each of these runs in the child; what it
// cannot do ends the child with kCannot, and the test is skipped.

namespace godwit::test {

inline constexpr int kCannot = 121;

/// Ends the child unless `done`.
void or_leave(bool done);

/// The system call fails with EPERM from here on.
void forbid(unsigned call);
/// An ordinary user, in /tmp.
void become_nobody();
/// setrlimit().
void limit(int what, rlim_t most);
/// Mounts of this process from here on are its own.
void own_mounts();
/// /dev holds the everyday nodes and, of `kept`, those that this machine has.
void small_dev(const std::vector<std::string>& kept);

void without_kvm();
void with_kvm_forbidden();
void with_kvm_that_is_none();
/// Neither the system call nor the device; as an ordinary user, as on a hardened host.
void without_userfaultfd();
void without_io_uring();

/// A memory group below this process's own, of either version. Ownership: removed; its processes
/// have ended by then.
class MemoryGroup {
 public:
  /// `most`: what the processes in it may have, in bytes.
  explicit MemoryGroup(std::uint64_t most);
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;
  ~MemoryGroup();
  [[nodiscard]] bool usable() const { return !path_.empty(); }
  /// In a child: joins.
  void join() const;

 private:
  void make(const std::string& parent, const char* limit, std::uint64_t most);
  std::string path_;
};

}  // namespace godwit::test
