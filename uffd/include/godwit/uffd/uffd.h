#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "godwit/base/fd.h"
#include "godwit/base/result.h"

namespace godwit::uffd {

/// Whose faults a userfaultfd must be able to serve.
enum class Mode : std::uint8_t {
  kAllFaults,  ///< KVM guests: their faults are the kernel's own
  /// Process guests: faults of user-mode code are enough where nothing more is permitted.
  kUserFaultsEnough,
};

/// What userfaultfd can do, as far as the project asks.
struct Features {
  bool missing_shmem = false;    ///< MISSING faults on memfd memory (v4.11)
  bool minor_shmem = false;      ///< MINOR faults and UFFDIO_CONTINUE on memfd memory (v5.14)
  bool missing_hugetlb = false;  ///< MISSING faults on hugetlbfs (v4.11)
  bool minor_hugetlb = false;    ///< MINOR faults and UFFDIO_CONTINUE on hugetlbfs (v5.13)
  bool wp = false;               ///< write-protect faults (v5.7)
  /// Write-protection of memfd memory, pages never touched included (v5.19).
  bool wp_shmem = false;
  bool wp_async = false;  ///< the kernel resolves write-protect faults itself (v6.7)
  friend bool operator==(const Features&, const Features&) = default;
};

/// What a range is registered for.
enum class Registration : std::uint8_t {
  kMissingAndMinor,         ///< memfd memory whose pages come behind the mapping
  kHugeMissingAndMinor,     ///< the same of huge pages, which have no UFFDIO_ZEROPAGE
  kWriteProtect,            ///< memfd memory whose writes are tracked
  kMissing,                 ///< anonymous memory whose pages come by copy()
  kMissingAndWriteProtect,  ///< anonymous memory whose writes are tracked
};

/// How far an ioctl that fills page tables came.
struct Progress {
  std::uint64_t bytes = 0;  ///< done, from the start of the range
  /// What ended it: 0 = all done; EAGAIN = a part is done, or the address space is changing: ask
  /// again for the rest; otherwise why the first page after `bytes` was refused.
  int sys_errno = 0;
};

/// One page fault as the kernel reports it.
struct RawFault {
  std::uintptr_t address = 0;
  bool minor = false;
  bool write_protect = false;
};

inline constexpr std::size_t kMaxFaultsPerRead = 64;

/// Owner of one userfaultfd of this process.
/// Ownership: closes it; closing unregisters everything and wakes whoever waits. Moves only.
/// Thread: read_faults() by one thread at a time; everything else by any.
/// Kernel: /dev/userfaultfd since v6.1, the system call before.
/// Source: userfaultfd(2), ioctl_userfaultfd(2), Documentation/admin-guide/mm/userfaultfd.rst
class Uffd {
 public:
  /// Opens a userfaultfd, non-blocking and close-on-exec, with exactly the features of `wanted`
  /// enabled. Tries /dev/userfaultfd, then the system call, then, if `mode` allows it, one for
  /// user-mode faults only. Errors: kPermission with the remedy, kUnsupported (no userfaultfd, or a
  /// wanted feature is missing).
  static Result<Uffd> open(const Features& wanted, Mode mode);

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Whether faults of the kernel (system calls on guest memory, KVM) fail with EFAULT instead of
  /// waiting.
  [[nodiscard]] bool user_faults_only() const { return user_faults_only_; }

  /// Requires: start and bytes are multiples of the memory's page size; one mapping, of the kind
  /// that `what` names. Errors: kUnsupported when the kernel cannot serve this kind of memory;
  /// kState when somebody else has it.
  Status register_range(std::byte* start, std::uint64_t bytes, Registration what);
  /// Takes the range out, with all write-protection in it, and wakes its waiters.
  Status unregister_range(std::byte* start, std::uint64_t bytes);
  Status wake(std::byte* start, std::uint64_t bytes);

  /// Write-protects the range, or takes the protection off and wakes the waiters.
  /// Guarantees: on return every access of every CPU sees the new protection.
  Status write_protect(std::byte* start, std::uint64_t bytes, bool protect);

  /// UFFDIO_CONTINUE: maps pages that the file has, and wakes. Errors: in Progress.
  Progress map_existing(std::byte* start, std::uint64_t bytes);
  /// UFFDIO_ZEROPAGE: gives the file zero pages where it has holes, maps them, and wakes. On
  /// anonymous memory: maps the shared zero page where no page is. Errors: in Progress.
  Progress map_zero(std::byte* start, std::uint64_t bytes);
  /// UFFDIO_COPY: maps new pages with these bytes, each entirely or not at all, and wakes.
  /// Errors: in Progress; EEXIST when a page is there already, which stays as it is.
  Progress copy(std::byte* start, const std::byte* content, std::uint64_t bytes);

  /// Takes up to min(faults.size(), kMaxFaultsPerRead) faults in one system call, without waiting;
  /// 0 = none.
  Result<std::size_t> read_faults(std::span<RawFault> faults);

 private:
  Uffd(Fd fd, bool user_faults_only) : fd_(std::move(fd)), user_faults_only_(user_faults_only) {}

  Fd fd_;
  bool user_faults_only_ = false;
};

/// What this kernel offers, asked on a handle of its own that is closed again.
/// Errors: as Uffd::open().
Result<Features> probe_features(Mode mode = Mode::kUserFaultsEnough);

/// Whether a kernel that has `offered` can do all of `wanted`; Uffd::open() asks this of its own.
/// Errors: kUnsupported naming each missing feature and the kernel that brought it.
Status check_offered(const Features& wanted, const Features& offered);

}  // namespace godwit::uffd
