#pragma once

#include <cstddef>
#include <type_traits>

#include "godwit/base/check.h"
#include "godwit/base/mapping.h"

namespace godwit {

/// A table of `count` zeros, one entry a page of a guest or the like. Memory is taken when an entry
/// is first written, not when the table is made, so that the table of a large and mostly empty
/// guest costs what is used of it. (calloc() does not promise that: allocators write the zeros.)
/// Ownership: unmaps on destruction; moves only. Errors: none; no address space for it ends the
/// process, as operator new would.
/// Thread: none of its own; concurrent users go through std::atomic_ref.
/// Cost: one mapping, whole pages.
template <typename T>
class ZeroedArray {
  static_assert(std::is_trivial_v<T>, "all bits zero must be a value, and nothing is destroyed");

 public:
  explicit ZeroedArray(std::size_t count) : count_(count) {
    if (count > 0) {
      auto mapping = Mapping::anonymous(count * sizeof(T));
      GODWIT_CHECK(mapping.has_value());
      mapping_ = std::move(*mapping);
    }
  }
  [[nodiscard]] std::size_t size() const { return count_; }
  T& operator[](std::size_t index) { return data()[index]; }
  const T& operator[](std::size_t index) const { return data()[index]; }
  [[nodiscard]] T* data() const { return reinterpret_cast<T*>(mapping_.data()); }

 private:
  std::size_t count_;
  Mapping mapping_;
};

}  // namespace godwit
