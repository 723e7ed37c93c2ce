#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace godwit::kvm {

/// A plain structure out of bytes that need not be aligned. Requires: they are all there.
template <typename T>
T load(std::span<const std::byte> bytes, std::size_t at = 0) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

/// Appends the bytes of a plain structure.
template <typename T>
void append(std::vector<std::byte>& to, const T& value) {
  const auto at = to.size();
  to.resize(at + sizeof(value));
  std::memcpy(to.data() + at, &value, sizeof(value));
}

}  // namespace godwit::kvm
