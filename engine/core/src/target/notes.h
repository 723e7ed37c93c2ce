#pragma once

#include <functional>

#include "godwit/base/error.h"

namespace godwit::engine {

/// What the lanes and the urgent loop tell the control thread. Thread: any.
struct TargetNotes {
  std::function<void(const Error&)> failed;
  std::function<void()> progressed;  ///< a thread runs, or pages came: perhaps all are present now
};

}  // namespace godwit::engine
