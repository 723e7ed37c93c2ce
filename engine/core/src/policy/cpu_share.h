#pragma once

#include <cstdint>

#include "godwit/base/thread.h"
#include "godwit/engine/options.h"

namespace godwit::engine {

/// What a lane knows of itself.
struct CpuSample {
  std::int64_t now_ns = 0;
  std::int64_t waited_ns = 0;  ///< for a processor, since the lane began
  bool guest_waits = false;    ///< after the switch: what the guest touches is still to come
  bool shrinks = true;         ///< what is left became less in the last round
};

/// Decides the rank of one lane while the guest runs. kAuto is fair. A lane goes ahead, for good,
/// when it waits for a processor for more than a quarter of its time although the guest waits for it
/// or its rounds do not make the rest smaller; and when it gets less than half of the time that it
/// asks for over kPatienceNs: so many others want the processors that a fair share leads nowhere.
/// Sans-IO: the caller samples and takes the rank.
class CpuShare {
 public:
  /// Shorter windows say little: the kernel gives a thread 3 ms at once.
  static constexpr std::int64_t kWindowNs = 20'000'000;
  static constexpr std::int64_t kPatienceNs = 500'000'000;

  explicit CpuShare(CpuPriority priority) : priority_(priority) {}
  /// At most once a window; what comes sooner is left out.
  CpuRank on_sample(const CpuSample& sample);
  [[nodiscard]] bool due(std::int64_t now_ns) const { return now_ns - began_ns_ >= kWindowNs; }
  [[nodiscard]] CpuRank rank(bool guest_waits) const;
  [[nodiscard]] bool raised() const { return raised_; }

 private:
  CpuPriority priority_;
  bool raised_ = false;
  std::int64_t began_ns_ = 0;    ///< of the window
  std::int64_t waited_ns_ = 0;   ///< until then
  std::int64_t starved_ns_ = 0;  ///< windows in a row in which it waited for more than half
};

}  // namespace godwit::engine
