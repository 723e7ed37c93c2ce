#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "godwit/json/json.h"

// One list of members for both ways: a function that names the members of a struct, once,
//
//   template <typename Members>
//   void visit(Members& in, Round& round) {
//     in.value("pages", round.pages);
//     in.value("ns", round.ns);
//   }
//
// writes it when it is given a MemberWriter and reads it when it is given a MemberReader. So no name
// can be written and another one read. Both have the same functions:
//
//   value(name, x)                       a number, a truth value or a text
//   named(name, x, names)                a value of an enum by a table of godwit/base/names.h
//   values(name, xs), pairs(name, xs)    an array of numbers, or of arrays of two
//   texts(name, xs)                      an array of texts, no member where there are none
//   object(name, visit)                  an object; visit(in)
//   list(name, xs, visit)                an array of objects; visit(in, x)
//   optional(name, x[, visit])           no member where there is nothing
//   nullable(name, x[, visit])           null where there is nothing
//
// What is read may come from anybody: a member that is absent or of another type leaves the value as
// it is, an optional one empty.

namespace godwit {

/// Members in the order of the calls.
class MemberWriter {
 public:
  static constexpr bool kReads = false;

  template <typename T>
  void value(const char* name, const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      put_flag(name, value);
    } else if constexpr (std::is_floating_point_v<T>) {
      put_float(name, value);
    } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
      put_signed(name, value);
    } else if constexpr (std::is_integral_v<T>) {
      put_unsigned(name, value);
    } else {
      put_text(name, value);
    }
  }
  template <typename E, typename Names>
  void named(const char* name, const E& value, const Names& names) {
    put_text(name, names.name_of(value));
  }
  void values(const char* name, const std::vector<std::uint64_t>& values);
  void pairs(const char* name, const std::vector<std::pair<std::uint64_t, std::uint64_t>>& pairs);
  void texts(const char* name, const std::vector<std::string>& texts);
  template <typename Visit>
  void object(const char* name, Visit visit) {
    MemberWriter in;
    visit(in);
    put(name, in.take());
  }
  template <typename T, typename Visit>
  void list(const char* name, std::vector<T>& items, Visit visit) {
    std::vector<Json> objects;
    for (auto& item : items) {
      MemberWriter in;
      visit(in, item);
      objects.push_back(in.take());
    }
    put_list(name, std::move(objects));
  }
  template <typename T>
  void optional(const char* name, const std::optional<T>& found) {
    if (found) {
      value(name, *found);
    }
  }
  template <typename T, typename Visit>
  void optional(const char* name, std::optional<T>& found, Visit visit) {
    if (found) {
      object(name, [&](auto& in) { visit(in, *found); });
    }
  }
  template <typename T>
  void nullable(const char* name, const std::optional<T>& found) {
    found ? value(name, *found) : put_null(name);
  }
  template <typename T, typename Visit>
  void nullable(const char* name, std::optional<T>& found, Visit visit) {
    found ? optional(name, found, visit) : put_null(name);
  }

  /// The object that has been written.
  [[nodiscard]] Json take() { return std::move(json_); }

 private:
  void put(const char* name, Json value);
  void put_flag(const char* name, bool value);
  void put_signed(const char* name, std::int64_t value);
  void put_unsigned(const char* name, std::uint64_t value);
  void put_float(const char* name, double value);
  void put_text(const char* name, const std::string& value);
  void put_null(const char* name);
  void put_list(const char* name, std::vector<Json> objects);

  Json json_ = Json::object();
};

/// Lifetime: that of the value that it reads.
class MemberReader {
 public:
  static constexpr bool kReads = true;

  explicit MemberReader(const Json& json) : json_(&json) {}

  template <typename T>
  void value(const char* name, T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      value = flag_of(*json_, name, value);
    } else if constexpr (std::is_arithmetic_v<T>) {
      value = number_of<T>(*json_, name, value);
    } else {
      value = text_of(*json_, name, std::move(value));
    }
  }
  template <typename E, typename Names>
  void named(const char* name, E& value, const Names& names) {
    value = names.parse(text_of(*json_, name)).value_or(value);
  }
  void values(const char* name, std::vector<std::uint64_t>& values);
  void pairs(const char* name, std::vector<std::pair<std::uint64_t, std::uint64_t>>& pairs);
  void texts(const char* name, std::vector<std::string>& texts);
  template <typename Visit>
  void object(const char* name, Visit visit) {
    if (const auto* found = find_object(name)) {
      MemberReader in(*found);
      visit(in);
    }
  }
  template <typename T, typename Visit>
  void list(const char* name, std::vector<T>& items, Visit visit) {
    items.clear();
    for (const auto* found : find_list(name)) {
      MemberReader in(*found);
      visit(in, items.emplace_back());
    }
  }
  template <typename T>
  void optional(const char* name, std::optional<T>& found) {
    found.reset();
    if (has(name, std::is_same_v<T, bool>, std::is_arithmetic_v<T>)) {
      value(name, found.emplace());
    }
  }
  template <typename T, typename Visit>
  void optional(const char* name, std::optional<T>& found, Visit visit) {
    found.reset();
    object(name, [&](auto& in) { visit(in, found.emplace()); });
  }
  template <typename T>
  void nullable(const char* name, std::optional<T>& found) {
    optional(name, found);
  }
  template <typename T, typename Visit>
  void nullable(const char* name, std::optional<T>& found, Visit visit) {
    optional(name, found, visit);
  }

 private:
  /// Whether there is such a member: a truth value, else a number, else a text.
  [[nodiscard]] bool has(const char* name, bool flag, bool number) const;
  [[nodiscard]] const Json* find_object(const char* name) const;
  [[nodiscard]] std::vector<const Json*> find_list(const char* name) const;

  const Json* json_;
};

}  // namespace godwit
