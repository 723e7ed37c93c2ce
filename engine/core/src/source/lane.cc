#include "source/lane.h"

#include <algorithm>
#include <utility>

#include "godwit/base/clock.h"
#include "godwit/base/thread.h"

#include "link/handshake.h"
#include "link/page_run_writer.h"

namespace godwit::engine {
namespace {

/// So often at least something is sent in pre-copy; more often where the time-out is short, which
/// the target's is likely to be too.
std::int64_t heard_ns(const SourceOptions& options) {
  constexpr std::int64_t kHeardNs = 500'000'000;
  return std::min(kHeardNs, options.timeout_ns / 4);
}

}  // namespace

SourceLane::Slot::Slot(SourceLane& lane,
                       std::unique_ptr<FrameChannel> frame_channel,
                       std::uint32_t number)
    : channel(std::move(frame_channel)),
      index(number),
      cursor(lane.lanes_.plane_.ledger, number, lane.lanes_.plane_.options.channels),
      frames{BatchBuilder(lane.lanes_.plane_.memory, lane.lanes_.plane_.options),
             BatchBuilder(lane.lanes_.plane_.memory, lane.lanes_.plane_.options)} {}

SourceLane::SourceLane(SourceLanes& lanes, std::unique_ptr<EventLoop> loop)
    : lanes_(lanes), loop_(std::move(loop)), rank_(lanes.plane_.options.cpu_priority) {}

Status SourceLane::add_channel(std::unique_ptr<Channel> channel,
                               std::uint32_t index,
                               Deadline deadline) {
  auto& slot = *slots_.emplace_back(std::make_unique<Slot>(
      *this,
      std::make_unique<FrameChannel>(std::move(channel), wire::kMaxControlBody, kReadAhead),
      index));
  // The target does not wait long for a connection that says nothing.
  auto hello = lanes_.hello_;
  hello.channel_index = static_cast<std::uint16_t>(index);
  GODWIT_TRY(slot.channel->greet(hello, deadline));
  GODWIT_TRY(slot.channel->attach(
      *loop_,
      {.on_frame = [this, &slot](const wire::FrameView& frame) { return on_frame(slot, frame); },
       .on_sent = [this, &slot] { on_sent(slot); },
       .on_error = [this](const Error& error) { fail_unless_stopping(error); }}));
  return {};
}

Status SourceLane::start(const std::string& name) {
  progress_ns_.store(monotonic_ns(), std::memory_order_relaxed);
  GODWIT_TRY_ASSIGN(thread_, try_start_thread(name, ThreadRole::kBulk, [this] { run(); }));
  return {};
}

void SourceLane::stop() {
  if (thread_.joinable()) {
    // release: pairs with the loads in the thread.
    stopping_.store(true, std::memory_order_release);
    loop_->wake();
    thread_.join();
  }
}

void SourceLane::shut_down() {
  for (auto& slot : slots_) {
    slot->channel->channel().shut_down();
  }
}

std::uint64_t SourceLane::bytes_moved() const {
  std::uint64_t sum = 0;
  for (const auto& slot : slots_) {
    sum += slot->channel->channel().bytes_sent() + slot->channel->channel().bytes_received();
  }
  return sum;
}

void SourceLane::fail_unless_stopping(const Error& error) {
  // acquire: pairs with stop(), which may have caused the error.
  if (!stopping_.load(std::memory_order_acquire)) {
    lanes_.notes_.failed(error);
  }
}

// ------------------------------------------------------------------------------------------ orders

void SourceLane::give(const SourceLanes::Order& order,
                      std::vector<std::vector<PageRun>>& stale_by_channel) {
  {
    const std::lock_guard lock(order_mutex_);
    next_order_ = order;
    for (auto& slot : slots_) {
      slot->stale = std::exchange(stale_by_channel[slot->index], {});
    }
  }
  // release: pairs with run().
  news_.store(true, std::memory_order_release);
  loop_->wake();
}

void SourceLane::take_order() {
  news_.store(false, std::memory_order_relaxed);  // before the look
  {
    const std::lock_guard lock(order_mutex_);
    if (!next_order_) {
      return;
    }
    order_ = *std::exchange(next_order_, std::nullopt);
    for (auto& slot : slots_) {
      announce(*slot);
    }
  }
  using Work = SourceLanes::Work;
  cost_from_ns_ = monotonic_ns();
  hold_rank(cost_from_ns_);
  barriers_out_ = 0;
  for (auto& slot : slots_) {
    slot->finished = false;
    slot->cursor.restart();
    if (order_.work == Work::kBarrier) {
      slot->channel->send(wire::MessageType::kBarrier, wire::Barrier{order_.barrier_id});
      ++barriers_out_;
    }
  }
}

void SourceLane::hold_rank(std::int64_t now_ns) {
  using Work = SourceLanes::Work;
  // With the guest stopped, or about to be, it waits for this lane.
  if (order_.work == Work::kBarrier || (order_.work == Work::kRound && !order_.live)) {
    rank_.hurry();
  } else {
    rank_.work(now_ns, streaming(), lanes_.plane_.shrinks.load(std::memory_order_relaxed));
  }
}

void SourceLane::announce(Slot& slot) {
  StaleWriter stale(*slot.channel);
  for (const auto run : slot.stale) {
    stale.add(run);
  }
  slot.stale.clear();
}

void SourceLane::complete_order() {
  if (limited()) {  // not in a blackout: to look costs a read of a proc file
    waited_ns_.store(rank_.waited_ns(), std::memory_order_relaxed);
    raised_.store(rank_.raised(), std::memory_order_relaxed);
  }
  order_ = {};
  // release: pairs with orders_done().
  done_.fetch_add(1, std::memory_order_release);
  lanes_.notes_.progressed();
}

// ------------------------------------------------------------------------------------------ thread

void SourceLane::run() {
  while (!stopping_.load(std::memory_order_acquire)) {
    take_order();
    const bool more = pump();
    // pump() lets the loop run too. A wake-up that it took is not seen by the wait below.
    const bool now =
        more || news_.load(std::memory_order_acquire) || stopping_.load(std::memory_order_acquire);
    const auto wait_ns = now ? 0 : paced_until_ns_ != 0 ? paced_until_ns_ : INT64_MAX;
    if (auto ran = loop_->run_once(Deadline{wait_ns}); !ran) {
      fail_unless_stopping(ran.error());
      return;
    }
  }
}

Status SourceLane::on_frame(Slot& slot, const wire::FrameView& frame) {
  progress_ns_.store(monotonic_ns(), std::memory_order_relaxed);
  switch (frame.header.type) {
    case wire::MessageType::kWelcome: {
      GODWIT_TRY(take_welcome(frame.body, lanes_.hello_, *slot.channel, slot.open));
      // release: pairs with all_open().
      lanes_.open_.fetch_add(1, std::memory_order_release);
      lanes_.notes_.progressed();
      return {};
    }
    case wire::MessageType::kBarrierAck: {
      GODWIT_TRY_ASSIGN(const auto ack, wire::decode_barrier_ack(frame.body));
      if (order_.work != SourceLanes::Work::kBarrier || slot.finished) {
        return fail(ErrorCode::kProtocol, "barrier", "an acknowledgement that nobody waits for");
      }
      if (ack.id != order_.barrier_id) {
        return fail(ErrorCode::kProtocol, "barrier", "acknowledgement of another barrier");
      }
      slot.finished = true;
      if (--barriers_out_ == 0) {
        complete_order();
      }
      return {};
    }
    case wire::MessageType::kRefuse: {
      GODWIT_TRY_ASSIGN(const auto refuse, wire::decode_refuse(frame.body));
      lanes_.notes_.refused(refuse);
      return {};
    }
    default:
      return fail(ErrorCode::kProtocol, "bulk channel", "a message that does not belong here");
  }
}

void SourceLane::on_sent(Slot& slot) {
  const auto now = monotonic_ns();
  progress_ns_.store(now, std::memory_order_relaxed);
  if (slot.on_the_way == nullptr) {
    return;
  }
  hold_rank(now);
  note_cost(*slot.on_the_way, now);
  const auto& plan = std::exchange(slot.on_the_way, nullptr)->plan();
  for (std::uint32_t i = 0; i < plan.count; ++i) {
    lanes_.plane_.ledger.landed(plan.region, plan.pages[i] / 64, 1ULL << (plan.pages[i] % 64));
  }
}

// ------------------------------------------------------------------------------------------ pages

bool SourceLane::round_is_cut() const {
  // acquire: pairs with the request; the pages that are left stay pending.
  return order_.live && lanes_.plane_.switch_requested.load(std::memory_order_acquire);
}

/// Keeps the channels busy; returns whether there is more to do right now.
bool SourceLane::pump() {
  using Work = SourceLanes::Work;
  const bool was_paced = std::exchange(paced_until_ns_, 0) != 0;
  if (was_paced) {
    cost_from_ns_ = monotonic_ns();
  }
  // acquire: pairs with halt().
  if ((order_.work != Work::kRound && order_.work != Work::kStream) ||
      lanes_.halted_.load(std::memory_order_acquire)) {
    return false;
  }
  bool sent = false;
  for (auto& slot : slots_) {
    sent = feed(*slot) || sent;
  }
  // The sockets work on these frames while the next are copied and hashed. Not so after the switch:
  // there a page is claimed only when the socket can take it, so that a demand request seldom finds
  // its page in a waiting frame.
  if (sent && order_.work == Work::kRound) {
    if (auto ran = loop_->run_once(Deadline{0}); !ran) {
      fail_unless_stopping(ran.error());
      return false;
    }
    for (auto& slot : slots_) {
      if (!slot->have_next && !slot->finished && !round_is_cut()) {
        prepare(*slot);
      }
    }
  }
  bool all_done = true;
  bool more = false;
  for (const auto& slot : slots_) {
    all_done = all_done && slot->finished && slot->channel->idle();
    more = more || (!slot->finished && slot->channel->idle());
  }
  if (all_done) {
    complete_order();
    return false;
  }
  return more && paced_until_ns_ == 0;
}

/// Whether the limit of bandwidth acts at all: nobody limits a blackout.
bool SourceLane::limited() const {
  return order_.live || streaming();
}

/// Whether the limit of bandwidth lets nothing be sent now.
bool SourceLane::is_paced(std::int64_t now) {
  if (!limited()) {
    return false;
  }
  {
    const std::lock_guard lock(lanes_.pacer_mutex_);
    if (lanes_.pacer_.may_send(now)) {
      return false;
    }
    paced_until_ns_ = lanes_.pacer_.next_ns();
  }
  progress_ns_.store(now, std::memory_order_relaxed);
  if (order_.live) {
    stay_heard(now);
  }
  return true;
}

/// The target ends a migration that brings nothing for too long, and does not know of the limit: an
/// announcement of no pages now and then tells it that the source is there.
void SourceLane::stay_heard(std::int64_t now) {
  const auto heard = heard_ns(lanes_.plane_.options);
  paced_until_ns_ = std::min(paced_until_ns_, std::max(spoke_ns_, now - heard) + heard);
  if (now - spoke_ns_ < heard) {
    return;
  }
  spoke_ns_ = now;
  for (auto& slot : slots_) {
    if (slot->channel->idle()) {
      slot->channel->send(wire::MessageType::kStale, wire::Stale{});
      return;
    }
  }
}

/// Sends the next frame of one channel if the socket can take it; returns whether it did.
bool SourceLane::feed(Slot& slot) {
  if (slot.finished || !slot.channel->idle()) {
    return false;
  }
  const auto now = monotonic_ns();
  if (streaming() && is_paced(now)) {
    return false;  // a page that waits is not claimed: see docs/adr/0003-claim-at-hand-over.md
  }
  if ((round_is_cut() && !slot.have_next) || (!slot.have_next && !prepare(slot))) {
    if (streaming()) {
      slot.channel->send(wire::MessageType::kBackgroundEnd, wire::BackgroundEnd{});
    }
    slot.finished = true;
    return false;
  }
  if (!streaming() && is_paced(now)) {
    return false;
  }
  if (limited()) {
    const std::lock_guard lock(lanes_.pacer_mutex_);
    lanes_.pacer_.spent(slot.frames[slot.next_frame].body_length(), now);
  }
  spoke_ns_ = now;
  send_next(slot);
  return true;
}

bool SourceLane::prepare(Slot& slot) {
  PageBatchPlan plan;
  if (limited()) {
    plan.limit = lanes_.pacer_.frame_pages(wire::kMaxBatchPages);
  }
  slot.have_next =
      streaming() ? lanes_.plane_.scheduler.next_background(plan) : slot.cursor.next(plan);
  if (slot.have_next) {
    slot.frames[slot.next_frame].build(
        plan, streaming() ? wire::PagePhase::kBackground : wire::PagePhase::kPrecopy, order_.live);
  }
  return slot.have_next;
}

void SourceLane::send_next(Slot& slot) {
  auto& frame = slot.frames[slot.next_frame];
  slot.channel->send_pages(frame.parts(),
                           frame.body_length(),
                           frame.body_hash(),
                           lanes_.plane_.options.checksum ? 0 : wire::kNoBodyHash);
  slot.on_the_way = &frame;
  slot.next_frame ^= 1U;
  slot.have_next = false;
  account(frame);
}

/// The time of a lane goes to what it sent meanwhile: copying, hashing, and waiting for the socket,
/// but not for the limit of bandwidth.
void SourceLane::note_cost(const BatchBuilder& frame, std::int64_t now) {
  if (streaming()) {
    return;
  }
  auto& counters = lanes_.plane_.counters;
  const bool data = frame.data_pages() != 0;
  auto& pages = data ? counters.data_pages : counters.zero_pages;
  auto& ns = data ? counters.data_ns : counters.zero_ns;
  pages.fetch_add(data ? frame.data_pages() : frame.zero_pages(), std::memory_order_relaxed);
  ns.fetch_add(now - cost_from_ns_, std::memory_order_relaxed);
  cost_from_ns_ = now;
}

void SourceLane::account(const BatchBuilder& frame) {
  auto& counters = lanes_.plane_.counters;
  const auto add = [](std::atomic<std::uint64_t>& counter, std::uint64_t value) {
    counter.fetch_add(value, std::memory_order_relaxed);  // published by complete_order()
  };
  const auto pages = frame.data_pages() + frame.zero_pages();
  frame.note_zero_pages(lanes_.plane_.sent_as_zero);
  add(counters.payload_bytes, std::uint64_t{frame.data_pages()} * kPageBytes);
  add(counters.frame_bytes, frame.body_length());
  if (!streaming()) {
    add(counters.precopy_pages, pages);
    return;
  }
  add(counters.background_pages, pages);
  add(counters.prefetched_pages, frame.plan().prefetched);
  for (std::uint32_t i = 0; i < frame.plan().count; ++i) {
    lanes_.plane_.goes_after_switch(frame.plan().region, frame.plan().pages[i]);
  }
}

}  // namespace godwit::engine
