#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "godwit/base/fd.h"

namespace godwit::test {

/// A TCP relay on 127.0.0.1: what connects to it is connected to a port, and bytes go both ways until
/// a test breaks the link. Thread: its own, and the test's for all below.
class Relay {
 public:
  explicit Relay(std::uint16_t to);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  [[nodiscard]] std::string address() const;
  /// Bytes and connections wait, and nobody hears why: a link that fails without a word.
  void set_silent(bool silent) { silent_.store(silent); }
  /// Breaks all connections that there are.
  void cut() { cut_.store(true); }

 private:
  void run();
  const std::uint16_t to_;
  Fd listening_;
  std::uint16_t port_ = 0;
  std::atomic<bool> silent_{false};
  std::atomic<bool> cut_{false};
  std::atomic<bool> stop_{false};
  std::jthread thread_;
};

}  // namespace godwit::test
