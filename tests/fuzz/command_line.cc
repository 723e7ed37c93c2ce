// The command line: one argument a line of input; each argument is also read as every kind of
// value.
#include "cli/command_line.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <variant>

#include "godwit/base/check.h"
#include "godwit/base/units.h"

#include "cli/codecs.h"
#include "cli/options.h"
#include "cli/units_text.h"
#include "fuzz_target.h"

namespace godwit::fuzz {
namespace {

using Wide = __uint128_t;

struct Unit {
  std::string_view suffix;
  std::uint64_t factor;
};
constexpr std::array<Unit, 5> kSizes{
    {{"", 1}, {"KiB", kKiB}, {"MiB", kMiB}, {"GiB", kGiB}, {"TiB", 1024 * kGiB}}};
constexpr std::array<Unit, 3> kTimes{{{"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}}};

/// The same by other means: digits without a leading zero, then exactly one of the units, and no more
/// than `limit`.
std::optional<std::uint64_t> slowly(std::string_view text,
                                    std::span<const Unit> units,
                                    std::uint64_t limit) {
  Wide number = 0;
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    number = number * 10 + static_cast<Wide>(text[digits] - '0');
    number = std::min<Wide>(number, Wide{1} << 64);  // enough to be too large
    ++digits;
  }
  if (digits == 0 || (digits > 1 && text[0] == '0')) {
    return std::nullopt;
  }
  for (const auto& unit : units) {
    if (text.substr(digits) == unit.suffix && number * unit.factor <= limit) {
      return static_cast<std::uint64_t>(number * unit.factor);
    }
  }
  return std::nullopt;
}

template <typename T>
void check_value(const Result<T>& value, std::optional<std::uint64_t> expected) {
  GODWIT_CHECK(value.has_value() == expected.has_value());
  if (value) {
    GODWIT_CHECK(static_cast<std::uint64_t>(*value) == *expected);
  } else {
    GODWIT_CHECK(value.error().code == ErrorCode::kInvalidArgument);
  }
}

void check_values(const std::string& text) {
  constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
  constexpr auto kLongest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  check_value(app::parse_number(text), slowly(text, std::span(kSizes).first(1), kMax));
  check_value(app::parse_size(text), slowly(text, kSizes, kMax));
  check_value(app::parse_duration(text), slowly(text, kTimes, kLongest / 10));
  if (const auto size = app::parse_size(text)) {
    GODWIT_CHECK(!app::size_text(*size).empty());
  }
  if (const auto planted = app::kPlantedFault.read(text)) {
    GODWIT_CHECK(text.rfind(app::kPlantedFaultNames.name_of(planted->fault), 0) == 0);
    GODWIT_CHECK(planted->delay_ns >= 0);
  }
}

app::ParsedCommandLine parse(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv;
  argv.reserve(arguments.size());
  for (const auto& argument : arguments) {
    argv.push_back(argument.c_str());
  }
  return app::parse_command_line(static_cast<int>(argv.size()), argv.data());
}

/// A line is written in words that mean the same.
template <typename Line>
void check_words(const char* command, const app::OptionTable<Line>& options, const Line& line) {
  const auto words = app::words_of(options.texts(line));
  std::vector<std::string> arguments{"godwit", command};
  arguments.insert(arguments.end(), words.begin(), words.end());
  const auto again = parse(arguments);
  GODWIT_CHECK(again.line.has_value());
  GODWIT_CHECK(app::words_of(options.texts(std::get<Line>(*again.line))) == words);
}

void check_line(const app::ParsedCommandLine& parsed) {
  if (!parsed.line) {
    GODWIT_CHECK(!parsed.message.empty() && (parsed.exit_code == 0 || parsed.exit_code == 2));
    return;
  }
  GODWIT_CHECK(parsed.exit_code == 0);
  std::visit(
      [](const auto& line) {
        if constexpr (requires { line.guest; }) {
          GODWIT_CHECK(vmm::validate(line.guest.config).has_value());
        }
        if constexpr (requires { line.control; }) {
          GODWIT_CHECK(!line.control.empty());
        }
      },
      *parsed.line);
  if (const auto* run = std::get_if<app::RunLine>(&*parsed.line)) {
    check_words("run", app::run_options(), *run);
  } else if (const auto* receive = std::get_if<app::ReceiveLine>(&*parsed.line)) {
    check_words("receive", app::receive_options(), *receive);
  } else if (const auto* migrate = std::get_if<app::MigrateLine>(&*parsed.line)) {
    GODWIT_CHECK(!migrate->to.empty());
    check_words("migrate", app::migrate_options(), *migrate);
  }
}

}  // namespace

void run_command_line(Bytes input) {
  std::vector<std::string> arguments{"godwit"};
  std::string text(reinterpret_cast<const char*>(input.data()), input.size());
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    // As the kernel passes it: up to the first NUL.
    arguments.emplace_back(text.substr(at, end - at).c_str());
    check_values(arguments.back());
    at = end + 1;
  }
  check_line(parse(arguments));
}

std::vector<Seed> command_line_seeds() {
  const auto line = [](std::string_view text) { return Giver().give_text(text).done(); };
  return {
      {"help", line("--help")},
      {"values", line("1GiB\n18446744073709551615\n0x10\n-1\n10ms\n922337203s\nblackout-delay=5s")},
      {"demo",
       line("demo\n--guest\nprocess\n--memory\n64MiB\n--populated\n32MiB\n--working-set\n8MiB\n"
            "--vcpus\n2\n--workload\nzipf-write\n--rate\n1MiB\n--mode\nprecopy\n--timeout\n5s\n"
            "--inject\nstale-page\n--json")},
      {"migrate",
       line("migrate\n--control\ns\n--to\ntcp:[::1]:1\n--max-rounds\n3\n--downtime-limit\n1ms\n"
            "--on-no-convergence\nfail\n--congestion\nreno\n--max-bandwidth\n1GiB\n--prealloc")},
      {"receive",
       line("receive\n--control\ns\n--listen\ntcp:0\n--memory\n1TiB\n--backing\nmemfd\n"
            "--inject-drop-page\n1:2")},
      {"run", line("run\n--control=s\n--fill\nzero\n--seed\n9")},
  };
}

}  // namespace godwit::fuzz
