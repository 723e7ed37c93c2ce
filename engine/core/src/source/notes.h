#pragma once

#include <functional>

#include "godwit/base/error.h"
#include "godwit/wire/codec.h"

namespace godwit::engine {

/// What the lanes and the urgent loop tell the migration thread. Thread: any.
struct SourceNotes {
  std::function<void(const Error&)> failed;
  std::function<void(const wire::Refuse&)> refused;  ///< the target does not want the channel
  std::function<void()> progressed;                  ///< a channel is open, or an order done
};

}  // namespace godwit::engine
