#include "godwit/base/mapping.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

#include <fmt/format.h>

#include "godwit/base/units.h"

namespace godwit {

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void Mapping::reset() {
  if (data_ != nullptr) {
    ::munmap(data_, size_);
    data_ = nullptr;
    size_ = 0;
  }
}

Result<Mapping> Mapping::shared(int fd, std::uint64_t offset, std::size_t size) {
  // Reserve with room to align, then map over the aligned part: address and file offset agree
  // modulo 2 MiB, which huge-page collapse needs.
  constexpr std::size_t kAlign = 2 * kMiB;
  const std::size_t slack = size >= kAlign ? kAlign : 0;
  void* reserved =
      ::mmap(nullptr, size + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) {
    return fail_errno(errno, "mmap", fmt::format("{} bytes of address space", size));
  }
  auto* base = static_cast<std::byte*>(reserved);
  std::byte* start = base;
  if (slack != 0) {
    const auto misfit = (reinterpret_cast<std::uintptr_t>(base) - offset) % kAlign;
    start = base + (misfit == 0 ? 0 : kAlign - misfit);
  }
  void* mapped = ::mmap(
      start, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) {
    const int saved = errno;
    ::munmap(base, size + slack);
    return fail_errno(saved, "mmap", fmt::format("{} bytes of guest memory", size));
  }
  if (start > base) {
    ::munmap(base, static_cast<std::size_t>(start - base));
  }
  if (start + size < base + size + slack) {
    ::munmap(start + size, static_cast<std::size_t>(base + size + slack - (start + size)));
  }
  return Mapping(start, size);
}

Result<Mapping> Mapping::anonymous(std::size_t size) {
  void* mapped = ::mmap(
      nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    return fail_errno(errno, "mmap", fmt::format("{} bytes", size));
  }
  return Mapping(static_cast<std::byte*>(mapped), size);
}

namespace {

/// A memfd is a file: beyond the limit the kernel ends the process by a signal. Source: setrlimit(2)
Status check_file_size(std::uint64_t size) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      size > limit.rlim_cur) {
    return fail(ErrorCode::kNoMemory,
                "memfd",
                fmt::format("{} bytes are needed in one file, RLIMIT_FSIZE allows {} (ulimit -f)",
                            size,
                            limit.rlim_cur));
  }
  return {};
}

Result<Fd> create_sized_memfd(const char* name, std::uint64_t size, unsigned flags) {
  GODWIT_TRY(check_file_size(size));
  Fd fd(::memfd_create(name, MFD_CLOEXEC | flags));
  if (!fd.valid()) {
    return fail_errno(errno, "memfd_create");
  }
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    return fail_errno(errno, "ftruncate", fmt::format("memfd of {} bytes", size));
  }
  return fd;
}

}  // namespace

Result<Fd> create_memfd(const char* name, std::uint64_t size) {
  return create_sized_memfd(name, size, 0);
}

Result<Fd> create_huge_memfd(const char* name, std::uint64_t size) {
  // The size of the pages as its logarithm, in the bits that memfd_create(2) has for it.
  constexpr unsigned kHuge2Mib = 21U << 26U;
  return create_sized_memfd(name, size, MFD_HUGETLB | kHuge2Mib);
}

}  // namespace godwit
