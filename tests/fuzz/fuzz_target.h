#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace godwit::fuzz {

using Bytes = std::span<const std::byte>;

/// One input of the committed corpus.
struct Seed {
  std::string name;
  std::vector<std::byte> bytes;
};

/// Code that reads what another process wrote, with what must hold whatever that was.
struct Target {
  std::string_view name;
  /// Guarantees: returns, or ends the process where a promise is broken. Throws nothing.
  void (*run)(Bytes input);
  /// The inputs a fuzzer starts from: each reaches far into the code.
  std::vector<Seed> (*seeds)();
};

/// All targets; corpus/<name> holds the inputs of each.
std::span<const Target> targets();

/// Takes an input apart. Past the end everything reads zero, so that every input means something.
class Taker {
 public:
  explicit Taker(Bytes input) : rest_(input) {}

  template <typename T>
  T take() {
    static_assert(std::is_integral_v<T>);
    T value{};
    const auto bytes = take_bytes(sizeof(T));
    if (!bytes.empty()) {
      std::memcpy(&value, bytes.data(), bytes.size());
    }
    return value;
  }
  /// At most `count` bytes.
  Bytes take_bytes(std::size_t count) {
    const auto bytes = rest_.first(count < rest_.size() ? count : rest_.size());
    rest_ = rest_.subspan(bytes.size());
    return bytes;
  }
  std::string take_text(std::size_t count) {
    const auto bytes = take_bytes(count);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  [[nodiscard]] Bytes rest() const { return rest_; }

 private:
  Bytes rest_;
};

/// Puts an input together, field by field as a Taker takes it.
class Giver {
 public:
  template <typename T>
  Giver& give(T value) {
    static_assert(std::is_integral_v<T>);
    const auto bytes = std::as_bytes(std::span<const T, 1>(&value, 1));
    return give_bytes(bytes);
  }
  Giver& give_bytes(Bytes bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Giver& give_text(std::string_view text) {
    return give_bytes(std::as_bytes(std::span(text.data(), text.size())));
  }
  [[nodiscard]] std::vector<std::byte> done() { return std::move(out_); }

 private:
  std::vector<std::byte> out_;
};

void run_frame_stream(Bytes input);
std::vector<Seed> frame_stream_seeds();
void run_message(Bytes input);
std::vector<Seed> message_seeds();
void run_page_batch(Bytes input);
std::vector<Seed> page_batch_seeds();
void run_negotiation(Bytes input);
std::vector<Seed> negotiation_seeds();
void run_guest_config(Bytes input);
std::vector<Seed> guest_config_seeds();
void run_control_line(Bytes input);
std::vector<Seed> control_line_seeds();
void run_command_line(Bytes input);
std::vector<Seed> command_line_seeds();

}  // namespace godwit::fuzz
