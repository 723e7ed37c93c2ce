#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace godwit {

/// The values of an enum and what users call them, in one table: from it come the name of a value,
/// the value of a name, and the list that help and error messages show. Shape: at least one entry,
/// in the order in which the list shows them; no value and no name twice. Thread: any; constant.
///
///   constexpr Names kModeNames{std::array{Named{Mode::kHybrid, "hybrid"}, ...}};
template <typename E>
struct Named {
  E value;
  const char* name;
};
// An aggregate's own guide is not known to every compiler (clang since 17).
template <typename E>
Named(E, const char*) -> Named<E>;

template <typename E, std::size_t kCount>
class Names {
 public:
  constexpr explicit Names(std::array<Named<E>, kCount> entries) : entries_(entries) {}

  /// "unknown" for a value that is not in the table.
  [[nodiscard]] constexpr const char* name_of(E value) const {
    for (const auto& entry : entries_) {
      if (entry.value == value) {
        return entry.name;
      }
    }
    return "unknown";
  }
  [[nodiscard]] constexpr std::optional<E> parse(std::string_view text) const {
    for (const auto& entry : entries_) {
      if (text == entry.name) {
        return entry.value;
      }
    }
    return std::nullopt;
  }
  /// "hybrid, precopy, postcopy"
  [[nodiscard]] std::string choices() const {
    std::string text;
    for (const auto& entry : entries_) {
      text += (text.empty() ? "" : ", ") + std::string(entry.name);
    }
    return text;
  }
  [[nodiscard]] constexpr const std::array<Named<E>, kCount>& entries() const { return entries_; }

 private:
  std::array<Named<E>, kCount> entries_;
};

}  // namespace godwit
