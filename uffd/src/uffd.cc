#include "godwit/uffd/uffd.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "uapi.h"

namespace godwit::uffd {
namespace {

constexpr char kPermissionRemedy[] =
    "permission denied; open /dev/userfaultfd to this user or set vm.unprivileged_userfaultfd=1";

struct OpenedFd {
  Fd fd;
  bool user_faults_only = false;
};

struct FeatureBit {
  bool Features::*member;
  std::uint64_t bit;
  const char* name;
};

constexpr std::array<FeatureBit, 7> kFeatureBits = {{
    {&Features::missing_shmem, UFFD_FEATURE_MISSING_SHMEM, "missing faults on memfd (Linux 4.11)"},
    {&Features::minor_shmem, UFFD_FEATURE_MINOR_SHMEM, "minor faults on memfd (Linux 5.14)"},
    {&Features::missing_hugetlb,
     UFFD_FEATURE_MISSING_HUGETLBFS,
     "missing faults on hugetlbfs (Linux 4.11)"},
    {&Features::minor_hugetlb,
     UFFD_FEATURE_MINOR_HUGETLBFS,
     "minor faults on hugetlbfs (Linux 5.13)"},
    {&Features::wp, UFFD_FEATURE_PAGEFAULT_FLAG_WP, "write-protect faults (Linux 5.7)"},
    {&Features::wp_shmem,
     UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
     "write-protection of memfd (Linux 5.19)"},
    {&Features::wp_async, kUapiFeatureWpAsync, "asynchronous write-protection (Linux 6.7)"},
}};

std::uint64_t to_bits(const Features& features) {
  std::uint64_t bits = 0;
  for (const auto& entry : kFeatureBits) {
    bits |= features.*entry.member ? entry.bit : 0;
  }
  return bits;
}

Features from_bits(std::uint64_t bits) {
  Features features;
  for (const auto& entry : kFeatureBits) {
    features.*entry.member = (bits & entry.bit) != 0;
  }
  return features;
}

std::string names_of(std::uint64_t bits) {
  std::string names;
  for (const auto& entry : kFeatureBits) {
    if ((bits & entry.bit) != 0) {
      names += names.empty() ? entry.name : std::string(", ") + entry.name;
    }
  }
  return names;
}

int call_userfaultfd(int flags) {
  return static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags));
}

Result<OpenedFd> open_fd(Mode mode) {
  // The device first: its file permissions are how an administrator grants this without a
  // capability.
  const Fd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (device.valid()) {
    const int fd = ::ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
      return OpenedFd{Fd(fd), false};
    }
  }
  int fd = call_userfaultfd(0);
  if (fd >= 0) {
    return OpenedFd{Fd(fd), false};
  }
  if (errno == EPERM && mode == Mode::kUserFaultsEnough) {
    fd = call_userfaultfd(UFFD_USER_MODE_ONLY);
    if (fd >= 0) {
      return OpenedFd{Fd(fd), true};
    }
  }
  switch (errno) {
    case EPERM:
      return fail(ErrorCode::kPermission, "userfaultfd", kPermissionRemedy);
    case ENOSYS:
      return fail(
          ErrorCode::kUnsupported, "userfaultfd", "this kernel has none (CONFIG_USERFAULTFD)");
    default:
      return fail_errno(errno, "userfaultfd");
  }
}

/// The handshake; `api.features` in: wanted, out: what the kernel has.
Status shake_hands(int fd, uffdio_api& api) {
  api.api = UFFD_API;
  api.ioctls = 0;
  if (::ioctl(fd, UFFDIO_API, &api) != 0) {
    return fail_errno(errno, "UFFDIO_API");
  }
  return {};
}

// `what` did `done` bytes, or wrote a negative errno there; the ioctl itself returned `rc` with
// `sys_errno`.
Progress progress_of(int rc, int sys_errno, std::int64_t done, std::uint64_t asked) {
  if (rc == 0) {
    return {asked, 0};
  }
  // A negative count repeats the errno: nothing was done.
  return {done > 0 ? static_cast<std::uint64_t>(done) : 0, sys_errno};
}

/// How a registration is asked for, and which ioctls it must then allow.
struct RegistrationUse {
  std::uint64_t modes = 0;
  std::uint64_t ioctls = 0;
};

RegistrationUse use_of(Registration what) {
  constexpr std::uint64_t kContinue = 1ULL << _UFFDIO_CONTINUE;
  constexpr std::uint64_t kZeropage = 1ULL << _UFFDIO_ZEROPAGE;
  constexpr std::uint64_t kCopy = 1ULL << _UFFDIO_COPY;
  constexpr std::uint64_t kProtect = 1ULL << _UFFDIO_WRITEPROTECT;
  switch (what) {
    case Registration::kMissingAndMinor:
      return {UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR, kContinue | kZeropage};
    case Registration::kHugeMissingAndMinor:
      return {UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR, kContinue};
    case Registration::kWriteProtect:
      return {UFFDIO_REGISTER_MODE_WP, kProtect};
    case Registration::kMissing:
      return {UFFDIO_REGISTER_MODE_MISSING, kCopy | kZeropage};
    case Registration::kMissingAndWriteProtect:
      return {UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP, kProtect | kZeropage};
  }
  return {};
}

std::uint64_t address_of(const std::byte* start) {
  return reinterpret_cast<std::uintptr_t>(start);
}

}  // namespace

Result<Features> probe_features(Mode mode) {
  GODWIT_TRY_ASSIGN(auto opened, open_fd(mode));
  uffdio_api api{};
  GODWIT_TRY(shake_hands(opened.fd.get(), api));
  return from_bits(api.features);
}

Status check_offered(const Features& wanted, const Features& offered) {
  const auto missing = to_bits(wanted) & ~to_bits(offered);
  if (missing != 0) {
    return fail(ErrorCode::kUnsupported, "userfaultfd", "this kernel lacks " + names_of(missing));
  }
  return {};
}

Result<Uffd> Uffd::open(const Features& wanted, Mode mode) {
  // A handle shakes hands once, and asking for what the kernel lacks spoils it without saying what
  // was lacking. So a throwaway handle is asked first.
  GODWIT_TRY_ASSIGN(const auto offered, probe_features(mode));
  GODWIT_TRY(check_offered(wanted, offered));
  GODWIT_TRY_ASSIGN(auto opened, open_fd(mode));
  uffdio_api api{};
  api.features = to_bits(wanted);
  GODWIT_TRY(shake_hands(opened.fd.get(), api));
  return Uffd(std::move(opened.fd), opened.user_faults_only);
}

Status Uffd::register_range(std::byte* start, std::uint64_t bytes, Registration what) {
  const auto use = use_of(what);
  uffdio_register request{};
  request.range = {address_of(start), bytes};
  request.mode = use.modes;
  if (::ioctl(fd_.get(), UFFDIO_REGISTER, &request) != 0) {
    if (errno == EBUSY) {
      return fail(
          ErrorCode::kState, "UFFDIO_REGISTER", "another userfaultfd has this memory already");
    }
    return fail_errno(errno, "UFFDIO_REGISTER");
  }
  if ((request.ioctls & use.ioctls) != use.ioctls) {
    // Registered, but of no use: take it back so that no fault ever waits here.
    (void)unregister_range(start, bytes);
    return fail(ErrorCode::kUnsupported,
                "UFFDIO_REGISTER",
                "this kind of memory cannot be served this way; use a memfd of 4 KiB pages");
  }
  return {};
}

Status Uffd::unregister_range(std::byte* start, std::uint64_t bytes) {
  uffdio_range range{address_of(start), bytes};
  if (::ioctl(fd_.get(), UFFDIO_UNREGISTER, &range) != 0) {
    return fail_errno(errno, "UFFDIO_UNREGISTER");
  }
  // The kernel wakes waiters itself only where the range was registered for MISSING faults. A fault
  // queues itself under the lock that unregistering takes for writing, so whoever is going to wait
  // is in the queue by now.
  return wake(start, bytes);
}

Status Uffd::wake(std::byte* start, std::uint64_t bytes) {
  uffdio_range range{address_of(start), bytes};
  if (::ioctl(fd_.get(), UFFDIO_WAKE, &range) != 0) {
    return fail_errno(errno, "UFFDIO_WAKE");
  }
  return {};
}

Status Uffd::write_protect(std::byte* start, std::uint64_t bytes, bool protect) {
  uffdio_writeprotect request{};
  request.range = {address_of(start), bytes};
  request.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
  // EAGAIN: an mmap or fork elsewhere in the process is being reported to an event reader. We never
  // enable events, so it does not come; were it to, asking again is the documented answer and ends
  // when that change does.
  while (::ioctl(fd_.get(), UFFDIO_WRITEPROTECT, &request) != 0) {
    if (errno != EAGAIN) {
      return fail_errno(errno, "UFFDIO_WRITEPROTECT");
    }
  }
  return {};
}

Progress Uffd::map_existing(std::byte* start, std::uint64_t bytes) {
  uffdio_continue request{};
  request.range = {address_of(start), bytes};
  const int rc = ::ioctl(fd_.get(), UFFDIO_CONTINUE, &request);
  return progress_of(rc, rc == 0 ? 0 : errno, request.mapped, bytes);
}

Progress Uffd::map_zero(std::byte* start, std::uint64_t bytes) {
  uffdio_zeropage request{};
  request.range = {address_of(start), bytes};
  const int rc = ::ioctl(fd_.get(), UFFDIO_ZEROPAGE, &request);
  return progress_of(rc, rc == 0 ? 0 : errno, request.zeropage, bytes);
}

Progress Uffd::copy(std::byte* start, const std::byte* content, std::uint64_t bytes) {
  uffdio_copy request{};
  request.dst = address_of(start);
  request.src = address_of(content);
  request.len = bytes;
  const int rc = ::ioctl(fd_.get(), UFFDIO_COPY, &request);
  return progress_of(rc, rc == 0 ? 0 : errno, request.copy, bytes);
}

Result<std::size_t> Uffd::read_faults(std::span<RawFault> faults) {
  std::array<uffd_msg, kMaxFaultsPerRead> messages;
  const auto room = std::min(faults.size(), messages.size()) * sizeof(uffd_msg);
  if (room == 0) {
    return std::size_t{0};
  }
  const auto got = ::read(fd_.get(), messages.data(), room);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) {
      return std::size_t{0};
    }
    return fail_errno(errno, "read userfaultfd");
  }
  std::size_t count = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(got) / sizeof(uffd_msg); ++i) {
    if (messages[i].event != UFFD_EVENT_PAGEFAULT) {
      continue;  // never enabled; a kernel that sends one anyway expects no answer
    }
    const auto& fault = messages[i].arg.pagefault;
    faults[count++] = {static_cast<std::uintptr_t>(fault.address),
                       (fault.flags & UFFD_PAGEFAULT_FLAG_MINOR) != 0,
                       (fault.flags & UFFD_PAGEFAULT_FLAG_WP) != 0};
  }
  return count;
}

}  // namespace godwit::uffd
