#include "target/lane.h"

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/thread.h"

namespace godwit::engine {

TargetLane::TargetLane(TargetPlane& plane,
                       std::unique_ptr<EventLoop> loop,
                       wire::Welcome welcome,
                       TargetNotes notes,
                       Options options)
    : plane_(plane),
      loop_(std::move(loop)),
      welcome_(std::move(welcome)),
      notes_(std::move(notes)),
      options_(options),
      log_(options.trace_faults),
      rank_(options.cpu_priority) {}

Status TargetLane::add_channel(std::unique_ptr<Channel> channel, std::uint32_t index) {
  // Read ahead only the header and the shortest prefix of pages: the rest of the body is then
  // received in place and never moved.
  auto& slot = *slots_.emplace_back(std::make_unique<Slot>(
      Slot{std::make_unique<FrameChannel>(
               std::move(channel),
               wire::kMaxControlBody,
               wire::kHeaderBytes + wire::kMinPagePrefix,
               1),
           index}));
  slot.channel->agree(welcome_);
  slot.channel->set_places(
      [this](std::span<const std::byte> prefix) { return plane_.place_of(prefix); });
  return slot.channel->attach(
      *loop_,
      {.on_frame = [this, &slot](const wire::FrameView& frame) { return on_frame(slot, frame); },
       .on_sent = nullptr,
       .on_error = [this](const Error& error) { fail_unless_stopping(error); }});
}

Status TargetLane::start() {
  for (auto& slot : slots_) {
    slot->channel->send(wire::MessageType::kWelcome, welcome_);
  }
  GODWIT_TRY_ASSIGN(thread_, try_start_thread("godwit-bulk", ThreadRole::kBulk, [this] { run(); }));
  return {};
}

void TargetLane::shut_down() {
  for (auto& slot : slots_) {
    slot->channel->channel().shut_down();
  }
}

std::uint64_t TargetLane::bytes_received() const {
  std::uint64_t sum = 0;
  for (const auto& slot : slots_) {
    sum += slot->channel->channel().bytes_received();
  }
  return sum;
}

void TargetLane::fail_unless_stopping(const Error& error) {
  // acquire: pairs with stop(), which may have caused the error.
  if (!stopping_.load(std::memory_order_acquire)) {
    notes_.failed(error);
  }
}

void TargetLane::wake() {
  loop_->wake();
}

void TargetLane::stop() {
  if (thread_.joinable()) {
    // release: pairs with the loads in the thread.
    stopping_.store(true, std::memory_order_release);
    loop_->wake();
    thread_.join();
  }
}

void TargetLane::run() {
  // release: pairs with is_open().
  open_.store(true, std::memory_order_release);
  notes_.progressed();
  bool swept = !options_.sweeps;
  while (!stopping_.load(std::memory_order_acquire)) {
    const bool sweep = !swept && plane_.sweeps();
    if (auto ran = loop_->run_once(sweep ? Deadline{0} : Deadline::never()); !ran) {
      fail_unless_stopping(ran.error());
      return;
    }
    rank_.work(monotonic_ns(), plane_.switched(), true);
    if (sweep) {
      auto some = plane_.sweep_some();
      if (!some) {
        fail_unless_stopping(some.error());
      }
      swept = !some || !*some;
    }
  }
}

Status TargetLane::on_frame(Slot& slot, const wire::FrameView& frame) {
  switch (frame.header.type) {
    case wire::MessageType::kPages:
      return on_pages(slot, frame);
    case wire::MessageType::kStale: {
      GODWIT_TRY_ASSIGN(const auto stale, wire::decode_stale(frame.body));
      for (const auto& run : stale.runs) {
        GODWIT_TRY(check_chunk(slot, run));
      }
      return plane_.announce(stale.runs, false);
    }
    case wire::MessageType::kBarrier: {
      GODWIT_TRY_ASSIGN(const auto barrier, wire::decode_barrier(frame.body));
      GODWIT_TRY(plane_.prepare_guest());
      slot.channel->send(wire::MessageType::kBarrierAck, wire::BarrierAck{barrier.id});
      return {};
    }
    case wire::MessageType::kBackgroundEnd:
      return {};
    default:
      return fail(ErrorCode::kProtocol, "bulk channel", "a message that does not belong here");
  }
}

Status TargetLane::on_pages(Slot& slot, const wire::FrameView& frame) {
  GODWIT_TRY_ASSIGN(const auto batch, wire::decode_page_batch(frame.body, frame.placed));
  if (!plane_.switched()) {
    for (const auto& run : batch.runs()) {
      GODWIT_TRY(check_chunk(slot, {batch.region(), run.first, run.count}));
    }
  }
  GODWIT_TRY(plane_.receive(batch, PageOwner::kBulk, log_));
  if (plane_.switched() && plane_.states().absent_pages() == 0) {
    notes_.progressed();
  }
  return {};
}

/// Before the switch a page has one channel: on another it could overtake its own announcement.
Status TargetLane::check_chunk(const Slot& slot, PageRun run) const {
  if (options_.channels == 1) {
    return {};
  }
  const bool one_chunk = run.first / wire::kChunkPages == (run.end() - 1) / wire::kChunkPages;
  if (!one_chunk || wire::channel_of({run.region, run.first}, options_.channels) != slot.index) {
    return fail(ErrorCode::kProtocol,
                "bulk channel",
                fmt::format("region {} pages {}+{} do not belong on channel {} of {}",
                            run.region,
                            run.first,
                            run.count,
                            slot.index,
                            options_.channels));
  }
  return {};
}

}  // namespace godwit::engine
