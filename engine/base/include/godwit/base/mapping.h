#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "godwit/base/fd.h"

namespace godwit {

/// A memory mapping. Ownership: unmaps on destruction; moves only.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  /// Maps `size` bytes of `fd` from `offset`, shared, read-write, aligned to 2 MiB when size >= 2
  /// MiB.
  static Result<Mapping> shared(int fd, std::uint64_t offset, std::size_t size);
  /// Maps `size` bytes of private anonymous memory, zeroed on first use (MAP_NORESERVE).
  static Result<Mapping> anonymous(std::size_t size);

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  void reset();

 private:
  Mapping(std::byte* data, std::size_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Makes a sealed-against-shrink memfd of `size` bytes, all holes.
Result<Fd> create_memfd(const char* name, std::uint64_t size);

/// Makes a memfd of huge pages of 2 MiB; `size` is a multiple of that. Mapping it reserves all of
/// them from the host's pool, so it is the mapping that fails when there are too few.
/// Kernel: memfd on hugetlbfs, v4.14. Source: memfd_create(2)
Result<Fd> create_huge_memfd(const char* name, std::uint64_t size);

}  // namespace godwit
