#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::vmm {

/// Appends little-endian fields to a payload of machine state.
class StateWriter {
 public:
  void u32(std::uint32_t value) { put(value, 4); }
  void u64(std::uint64_t value) { put(value, 8); }
  void i64(std::int64_t value) { put(static_cast<std::uint64_t>(value), 8); }
  /// A length of 32 bits and the bytes.
  void text(std::string_view value) {
    u32(static_cast<std::uint32_t>(value.size()));
    for (const char c : value) {
      bytes_.push_back(static_cast<std::byte>(c));
    }
  }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  void put(std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) {
      bytes_.push_back(static_cast<std::byte>(value >> (8 * i)));
    }
  }
  std::vector<std::byte> bytes_;
};

/// Reads the same fields. After a short read every value is zero and done() is false: the caller
/// checks once, at the end, before it uses anything.
class StateReader {
 public:
  explicit StateReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::uint32_t u32() { return static_cast<std::uint32_t>(get(4)); }
  std::uint64_t u64() { return get(8); }
  std::int64_t i64() { return static_cast<std::int64_t>(get(8)); }
  std::string text(std::size_t size_max) {
    const std::size_t size = u32();
    if (size > size_max || size > bytes_.size() - at_) {
      good_ = false;
      return {};
    }
    std::string value(size, '\0');
    for (auto& c : value) {
      c = static_cast<char>(bytes_[at_++]);
    }
    return value;
  }
  /// Whether everything was there and nothing is left over.
  [[nodiscard]] bool done() const { return good_ && at_ == bytes_.size(); }

 private:
  std::uint64_t get(unsigned size) {
    if (!good_ || bytes_.size() - at_ < size) {
      good_ = false;
      return 0;
    }
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
      value |= static_cast<std::uint64_t>(bytes_[at_++]) << (8 * i);
    }
    return value;
  }
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  bool good_ = true;
};

}  // namespace godwit::vmm
