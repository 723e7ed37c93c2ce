#pragma once

#include <cstdint>

#include "godwit/json/json.h"

#include "qemu/guest_options.h"
#include "qemu/qemu_peer.h"

namespace godwit::lab {

/// A mode of QEMU and the options of a point, and what they mean for each other.
struct QemuPlan {
  QemuMode mode;
  GuestOptions options;

  /// Whether the target's memory is populated beforehand: post-copy throws away what the target has
  /// before it starts.
  [[nodiscard]] bool prealloc() const { return options.prealloc && !mode.postcopy; }
  /// Whether the guest dirties memory.
  [[nodiscard]] bool writes() const;
  /// The pass after which post-copy begins. A guest that does not write converges at the end of its
  /// first pass, before any command: for a post-copy to happen it must come before.
  [[nodiscard]] std::uint64_t switch_after() const {
    return writes() ? options.switch_after_rounds : 0;
  }
  /// The largest gap that pre-copy may aim at. In post-copy the least, so that pre-copy does not
  /// converge before its turn is over. (With 0 QEMU 7.2 stops the guest after the first pass,
  /// without another look at what is dirty.)
  [[nodiscard]] std::int64_t downtime_limit_ms() const;
  /// For both ends: arguments of migrate-set-parameters and of migrate-set-capabilities.
  [[nodiscard]] Json parameters() const;
  [[nodiscard]] Json capabilities() const;
};

}  // namespace godwit::lab
