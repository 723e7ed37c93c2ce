#pragma once

#include <cstdint>

#include "godwit/base/result.h"

namespace godwit::net {

/// The one thread that a loop belongs to: the first that runs it. Thread: its own only, except
/// that nobody may be inside bind() at the same time.
class OwnerThread {
 public:
  /// Makes the caller the owner if there is none. Errors: kState when another thread is.
  Status bind();
  [[nodiscard]] bool bound() const { return number_ != 0; }
  [[nodiscard]] bool is_caller() const;

 private:
  std::uint64_t number_ = 0;  ///< 0 = nobody yet
};

}  // namespace godwit::net
