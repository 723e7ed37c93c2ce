#include "link/link_emulator.h"

#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "godwit/base/clock.h"
#include "godwit/base/thread.h"

#include "link/link_model.h"

namespace godwit::lab {
namespace {

/// struct virtio_net_hdr, whose kernel header no C++ compiler takes. Source: virtio 1.2, 5.1.6
struct VnetHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;  ///< 0: one packet
  std::uint16_t header_bytes = 0;
  std::uint16_t gso_size = 0;  ///< payload of each segment
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
};
static_assert(sizeof(VnetHeader) == 10);

constexpr std::size_t kPacketMax = sizeof(VnetHeader) + 65536;
constexpr int kBatch = 64;  ///< packets of one direction before the other has its turn
/// A wait in the kernel ends late by about as much on a busy host.
constexpr std::int64_t kSpinNs = 60'000;
constexpr std::int64_t kNsPerS = 1'000'000'000;

/// Bytes that a packet takes on the link. One that the kernel has not cut into segments yet (GSO)
/// takes the headers of each.
std::uint64_t link_bytes(std::span<const std::byte> packet) {
  VnetHeader header;
  if (packet.size() < sizeof header + 20) {
    return packet.size();
  }
  std::memcpy(&header, packet.data(), sizeof header);
  const auto ip = packet.subspan(sizeof header);
  if (header.gso_type == 0 || header.gso_size == 0) {
    return ip.size();
  }
  const auto ip_header = (std::to_integer<std::size_t>(ip[0]) & 0xFU) * 4;
  if (ip.size() < ip_header + 20) {
    return ip.size();
  }
  const auto headers = ip_header + (std::to_integer<std::size_t>(ip[ip_header + 12]) >> 4U) * 4;
  const auto payload = ip.size() - std::min(headers, ip.size());
  const auto segments = std::max<std::size_t>(1, (payload + header.gso_size - 1) / header.gso_size);
  return ip.size() + (segments - 1) * headers;
}

void count(std::atomic<std::uint64_t>& counter) {
  // relaxed: a figure for counts(), which orders nothing
  counter.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

/// One way: from the device that is read to the one that is written.
class LinkEmulator::Direction {
 public:
  Direction(int from, int to, const LinkSpec& spec, std::uint64_t seed, Counters& counters)
      : from_(from), to_(to), model_(spec, seed), counters_(counters) {}

  /// Takes packets in; whether there were any. `began_ns` is set by the first packet of the link.
  bool take(std::optional<std::int64_t>& began_ns) {
    for (int i = 0; i < kBatch; ++i) {
      const auto got = ::read(from_, packet_.data(), packet_.size());
      if (got <= 0) {
        return i > 0;
      }
      const std::span<const std::byte> packet(packet_.data(), static_cast<std::size_t>(got));
      const auto now = monotonic_ns();
      began_ns = began_ns.value_or(now);
      const auto passage = model_.offer(now - *began_ns, link_bytes(packet));
      switch (passage.fate) {
        case Passage::Fate::kDelivered:
          under_way_.push_back({*began_ns + passage.at_ns, {packet.begin(), packet.end()}});
          break;
        case Passage::Fate::kQueueFull:
          count(counters_.dropped);
          break;
        case Passage::Fate::kLost:
          count(counters_.lost);
          break;
        case Passage::Fate::kCut:
          count(counters_.cut);
          break;
      }
    }
    return true;
  }
  /// Delivers what is due; whether there was anything.
  bool deliver() {
    bool any = false;
    while (!under_way_.empty() && under_way_.front().at_ns <= monotonic_ns()) {
      const auto& bytes = under_way_.front().bytes;
      const bool taken =
          ::write(to_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
      count(taken ? counters_.delivered : counters_.refused);
      under_way_.pop_front();
      any = true;
    }
    return any;
  }
  [[nodiscard]] std::int64_t next_ns() const {
    return under_way_.empty() ? INT64_MAX : under_way_.front().at_ns;
  }

 private:
  struct UnderWay {
    std::int64_t at_ns;
    std::vector<std::byte> bytes;
  };
  int from_;
  int to_;
  LinkModel model_;
  Counters& counters_;
  std::deque<UnderWay> under_way_;
  std::vector<std::byte> packet_ = std::vector<std::byte>(kPacketMax);
};

class LinkEmulator::Loop {
 public:
  Loop(LinkEnds ends, const LinkSpec& spec, std::uint64_t seed, Counters& counters, int stop_fd)
      : ends_(std::move(ends)),
        stop_fd_(stop_fd),
        there_(ends_.source.get(), ends_.target.get(), spec, seed, counters),
        back_(ends_.target.get(), ends_.source.get(), spec, ~seed, counters) {}

  void run(const std::stop_token& stop) {
    ::prctl(PR_SET_TIMERSLACK, 1UL);
    while (!stop.stop_requested()) {
      bool any = there_.take(began_ns_);
      any = back_.take(began_ns_) || any;
      any = there_.deliver() || any;
      any = back_.deliver() || any;
      if (!any) {
        wait();
      }
    }
  }

 private:
  void wait() const {
    const auto next = std::min(there_.next_ns(), back_.next_ns());
    timespec time{};
    if (next != INT64_MAX) {
      const auto left = next - monotonic_ns() - kSpinNs;
      if (left <= 0) {
        return;  // spins
      }
      time = {left / kNsPerS, left % kNsPerS};
    }
    std::array<pollfd, 3> polled{
        {{ends_.source.get(), POLLIN, 0}, {ends_.target.get(), POLLIN, 0}, {stop_fd_, POLLIN, 0}}};
    // Whatever woke it, the loop looks at everything again.
    (void)::ppoll(polled.data(), polled.size(), next == INT64_MAX ? nullptr : &time, nullptr);
  }

  LinkEnds ends_;
  int stop_fd_;
  Direction there_;
  Direction back_;
  std::optional<std::int64_t> began_ns_;
};

LinkEmulator::LinkEmulator(EventFd stop) : stop_(std::move(stop)) {}

Result<std::unique_ptr<LinkEmulator>> LinkEmulator::start(LinkEnds ends,
                                                          const LinkSpec& spec,
                                                          std::uint64_t seed) {
  GODWIT_TRY_ASSIGN(auto stop, EventFd::create());
  std::unique_ptr<LinkEmulator> emulator(new LinkEmulator(std::move(stop)));
  emulator->loop_ = std::make_unique<Loop>(
      std::move(ends), spec, seed, emulator->counters_, emulator->stop_.fd());
  // The body's own token: start_thread()'s threads know none.
  auto* loop = emulator->loop_.get();
  auto token = emulator->stop_source_.get_token();
  GODWIT_TRY_ASSIGN(emulator->thread_, try_start_thread("link", ThreadRole::kUrgent, [loop, token] {
                      loop->run(token);
                    }));
  return emulator;
}

LinkEmulator::~LinkEmulator() {
  stop_source_.request_stop();
  stop_.signal();
  if (thread_.joinable()) {
    thread_.join();
  }
}

LinkCounts LinkEmulator::counts() const {
  // relaxed: pairs with count(); each figure stands for itself
  constexpr auto kRelaxed = std::memory_order_relaxed;
  return {counters_.delivered.load(kRelaxed),
          counters_.dropped.load(kRelaxed),
          counters_.lost.load(kRelaxed),
          counters_.cut.load(kRelaxed),
          counters_.refused.load(kRelaxed)};
}

}  // namespace godwit::lab
