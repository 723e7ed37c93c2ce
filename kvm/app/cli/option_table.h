#pragma once

#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "godwit/base/result.h"

#include "cli/codecs.h"

namespace godwit::app {

/// What the parser and the help know of an option.
struct OptionHead {
  std::string name;  ///< "--memory"
  std::string help;
  bool flag = false;      ///< takes no value; its text is "true" or "false"
  bool required = false;  ///< of the command line
  bool hidden = false;    ///< not in the help: what a demo tells its children alone
};

/// An option and what was or is to be said of it.
struct OptionText {
  const OptionHead* option = nullptr;
  std::string text;
};

/// As arguments of a command: "--memory=64MiB"; of a flag only its name.
std::vector<std::string> words_of(const std::vector<OptionText>& texts);

/// Errors: kInvalidArgument.
Result<bool> read_flag(const std::string& text);

namespace option_detail {

template <typename T>
inline constexpr bool kIsOptional = false;
template <typename T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

/// The option and what is wrong with its text.
Error named_error(const OptionHead& option, const Error& error);

}  // namespace option_detail

/// The options whose values an S keeps, one row each: from a row come the parser's option and its
/// help, the value that a text means, and the text that a value has. Members are given as to
/// std::invoke(): a pointer to member, or a lambda that takes any S and returns a reference.
template <typename S>
class OptionTable {
 public:
  struct Row : OptionHead {
    std::function<Status(S&, const std::string&)> read;
    std::function<std::string(const S&)> write;  ///< empty: nothing is to be said
  };

  template <typename Member, typename T>
  void value(std::string name, std::string help, Member member, const Codec<T>& codec) {
    rows_.push_back({{std::move(name), std::move(help)},
                     [member, codec](S& into, const std::string& text) -> Status {
                       GODWIT_TRY_ASSIGN(auto value, codec.read(text));
                       std::invoke(member, into) = std::move(value);
                       return {};
                     },
                     [member, codec](const S& from) -> std::string {
                       const auto& value = std::invoke(member, from);
                       if constexpr (option_detail::kIsOptional<std::decay_t<decltype(value)>>) {
                         return value ? codec.write(*value) : std::string();
                       } else {
                         return codec.write(value);
                       }
                     }});
  }
  template <typename Member, typename T>
  void required(std::string name, std::string help, Member member, const Codec<T>& codec) {
    value(std::move(name), std::move(help), member, codec);
    rows_.back().required = true;
  }
  template <typename Member, typename T>
  void hidden(std::string name, Member member, const Codec<T>& codec) {
    value(std::move(name), {}, member, codec);
    rows_.back().hidden = true;
  }
  /// `sets`: what the member becomes when the flag is given.
  template <typename Member>
  void flag(std::string name, std::string help, Member member, bool sets = true) {
    rows_.push_back({{std::move(name), std::move(help), true},
                     [member, sets](S& into, const std::string& text) -> Status {
                       GODWIT_TRY_ASSIGN(const auto given, read_flag(text));
                       std::invoke(member, into) = given == sets;
                       return {};
                     },
                     [member, sets](const S& from) -> std::string {
                       return std::invoke(member, from) == sets ? "true" : std::string();
                     }});
  }
  template <typename Member>
  void hidden_flag(std::string name, Member member) {
    flag(std::move(name), {}, member);
    rows_.back().hidden = true;
  }
  /// All options of a part of S.
  template <typename Part, typename Member>
  void all(const OptionTable<Part>& part, Member member) {
    for (const auto& row : part.rows()) {
      rows_.push_back({static_cast<const OptionHead&>(row),
                       [member, read = row.read](S& into, const std::string& text) {
                         return read(std::invoke(member, into), text);
                       },
                       [member, write = row.write](const S& from) {
                         return write(std::invoke(member, from));
                       }});
    }
  }

  [[nodiscard]] const std::vector<Row>& rows() const { return rows_; }
  [[nodiscard]] std::vector<OptionHead> heads() const { return {rows_.begin(), rows_.end()}; }

  /// Takes the options that have a text, of `texts` in the order of rows(); the others stay as they
  /// are. Errors: kInvalidArgument, which names the option.
  [[nodiscard]] Status read(S& into, const std::vector<std::optional<std::string>>& texts) const {
    for (std::size_t i = 0; i < rows_.size() && i < texts.size(); ++i) {
      if (!texts[i]) {
        continue;
      }
      if (auto status = rows_[i].read(into, *texts[i]); !status) {
        return fail(option_detail::named_error(rows_[i], status.error()));
      }
    }
    return {};
  }
  /// All that is to be said so that read() gives the same. Lifetime: that of this table.
  [[nodiscard]] std::vector<OptionText> texts(const S& from) const {
    std::vector<OptionText> texts;
    for (const auto& row : rows_) {
      if (auto text = row.write(from); !text.empty()) {
        texts.push_back({&row, std::move(text)});
      }
    }
    return texts;
  }

 private:
  std::vector<Row> rows_;
};

}  // namespace godwit::app
