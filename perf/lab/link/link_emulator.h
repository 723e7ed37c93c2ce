#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <thread>

#include "godwit/base/fd.h"
#include "godwit/base/result.h"

#include "link/link_spec.h"

namespace godwit::lab {

/// A TUN device's descriptor: packets that the namespace sends are read from it, and what is
/// written to it arrives there. Each packet has a virtio_net_hdr in front. Source:
/// Documentation/networking/tuntap.rst
struct LinkEnds {
  Fd source;
  Fd target;
};

/// What happened to packets so far, both directions.
struct LinkCounts {
  std::uint64_t delivered = 0;
  std::uint64_t dropped = 0;  ///< no room in the buffer of the bottleneck
  std::uint64_t lost = 0;
  std::uint64_t cut = 0;
  std::uint64_t refused = 0;  ///< the kernel did not take a packet at its end
};

/// Carries packets between two TUN devices as a LinkModel says, on a thread of its own. Waits in
/// the kernel, the last part of a wait spinning: packets are late by tens of microseconds at most
/// where a core is free. Packets reordered by it: none.
class LinkEmulator {
 public:
  /// Errors: kIo when no thread is to be had.
  static Result<std::unique_ptr<LinkEmulator>> start(LinkEnds ends,
                                                     const LinkSpec& spec,
                                                     std::uint64_t seed);
  LinkEmulator(const LinkEmulator&) = delete;
  LinkEmulator& operator=(const LinkEmulator&) = delete;
  /// Packets under way are gone, and both devices with their descriptors.
  ~LinkEmulator();
  /// Thread: any.
  [[nodiscard]] LinkCounts counts() const;

 private:
  struct Counters {
    std::atomic<std::uint64_t> delivered{0}, dropped{0}, lost{0}, cut{0}, refused{0};
  };
  class Direction;
  class Loop;
  explicit LinkEmulator(EventFd stop);

  EventFd stop_;  ///< wakes the thread for stop_source_
  std::stop_source stop_source_;
  Counters counters_;
  std::unique_ptr<Loop> loop_;
  std::jthread thread_;
};

}  // namespace godwit::lab
