#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/check.h"
#include "godwit/base/result.h"

namespace godwit::wire {

/// Appends fields to a body: integers little-endian, without padding; texts and lists behind a u32
/// count.
class ByteWriter {
 public:
  template <typename T>
  ByteWriter& put(T value) {
    static_assert(std::is_integral_v<T> || std::is_enum_v<T>);
    const auto bytes = std::as_bytes(std::span<const T, 1>(&value, 1));
    out_.insert(out_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  ByteWriter& put_bytes(std::span<const std::byte> bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  ByteWriter& put_count(std::size_t count, std::size_t limit) {
    GODWIT_CHECK(count <= limit);
    return put(static_cast<std::uint32_t>(count));
  }
  ByteWriter& put_string(std::string_view text, std::size_t limit) {
    put_count(text.size(), limit);
    return put_bytes(std::as_bytes(std::span(text.data(), text.size())));
  }
  [[nodiscard]] std::size_t size() const { return out_.size(); }
  [[nodiscard]] std::span<const std::byte> from(std::size_t offset) const {
    return std::span<const std::byte>(out_).subspan(offset);
  }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(out_); }

 private:
  std::vector<std::byte> out_;
};

/// Whether a peer's text may be shown: no control characters, which could steer a terminal, but
/// newline and tab.
inline bool printable(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == '\n' || byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

/// Takes fields from a body. The first failure sticks and every later field reads zero, so that a
/// decoder reads all its fields and asks once; `finish()` also refuses leftover bytes.
class ByteReader {
 public:
  ByteReader(std::string_view message, std::span<const std::byte> body)
      : message_(message), rest_(body) {}

  template <typename T>
  T get(const char* field) {
    static_assert(std::is_integral_v<T>);
    T value{};
    if (has(sizeof(T), field)) {
      std::memcpy(&value, rest_.data(), sizeof(T));
      rest_ = rest_.subspan(sizeof(T));
    }
    return value;
  }
  /// An enumerator 1 .. last.
  template <typename E>
  E get_enum(const char* field, E last) {
    using Number = std::underlying_type_t<E>;
    const auto value = get<Number>(field);
    if (ok() && (value == 0 || value > static_cast<Number>(last))) {
      refuse(field, fmt::format("{} is not one of 1-{}", value, static_cast<Number>(last)));
    }
    return static_cast<E>(value);
  }
  bool get_bool(const char* field) {
    const auto value = get<std::uint8_t>(field);
    if (ok() && value > 1) {
      refuse(field, fmt::format("{} is neither 0 nor 1", value));
    }
    return value == 1;
  }
  template <typename T>
  void get_reserved(const char* field) {
    if (get<T>(field) != 0) {
      refuse(field, "reserved bytes are not zero");
    }
  }
  /// A count of items of at least `item_bytes` each. Guarantees: on success the bytes for that many
  /// are there.
  std::size_t get_count(const char* field,
                        std::size_t least,
                        std::size_t most,
                        std::size_t item_bytes) {
    const std::size_t count = get<std::uint32_t>(field);
    if (!ok()) {
      return 0;
    }
    if (count < least || count > most) {
      refuse(field, fmt::format("a count of {} is outside {}-{}", count, least, most));
      return 0;
    }
    return has(count * item_bytes, field) ? count : 0;
  }
  std::span<const std::byte> get_bytes(std::size_t count, const char* field) {
    if (!has(count, field)) {
      return {};
    }
    const auto bytes = rest_.first(count);
    rest_ = rest_.subspan(count);
    return bytes;
  }
  std::string get_string(const char* field, std::size_t least, std::size_t most) {
    const auto bytes = get_bytes(get_count(field, least, most, 1), field);
    std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!std::all_of(text.begin(), text.end(), printable)) {
      refuse(field, "control characters in a text");
    }
    return text;
  }

  [[nodiscard]] bool ok() const { return error_.empty(); }
  [[nodiscard]] std::span<const std::byte> rest() const { return rest_; }
  void refuse(const char* field, std::string_view reason, ErrorCode code = ErrorCode::kProtocol) {
    if (ok()) {
      error_ = fmt::format("{}: {}", field, reason);
      code_ = code;
      rest_ = {};
    }
  }
  /// The verdict on the whole body.
  [[nodiscard]] Status finish() {
    if (ok() && !rest_.empty()) {
      refuse("end", fmt::format("{} bytes left over", rest_.size()));
    }
    if (!ok()) {
      return fail(code_, "message body", fmt::format("{}: {}", message_, error_));
    }
    return {};
  }

 private:
  bool has(std::size_t count, const char* field) {
    if (ok() && rest_.size() < count) {
      refuse(field, fmt::format("needs {} bytes, {} are left", count, rest_.size()));
    }
    return ok();
  }

  std::string_view message_;
  std::span<const std::byte> rest_;
  std::string error_;
  ErrorCode code_ = ErrorCode::kProtocol;
};

}  // namespace godwit::wire
