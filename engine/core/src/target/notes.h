#pragma once

#include <functional>

#include "godwit/base/error.h"

namespace godwit::engine {

/// What the bulk and urgent threads tell the control thread. Thread: any.
struct TargetNotes {
  std::function<void(const Error&)> failed;
  std::function<void()> opened;      ///< the channel is attached and answered
  std::function<void()> progressed;  ///< pages came; perhaps all are present now
};

}  // namespace godwit::engine
