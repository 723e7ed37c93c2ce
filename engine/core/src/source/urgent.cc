#include "source/urgent.h"

#include <chrono>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/thread.h"

#include "link/handshake.h"

namespace godwit::engine {
namespace {

/// Requests that may wait at once: more vCPUs than any guest has fault at the same time.
constexpr std::size_t kMaxQueuedRequests = 65536;
/// In one frame. Few, so that the page of another vCPU does not wait long behind it.
constexpr std::uint32_t kPagesInARow = 16;

}  // namespace

SourceUrgent::SourceUrgent(SourcePlane& plane,
                           Transport& transport,
                           std::unique_ptr<Channel> channel,
                           wire::Hello hello,
                           SourceNotes notes)
    : plane_(plane),
      transport_(transport),
      channel_(
          std::make_unique<FrameChannel>(std::move(channel), wire::kMaxControlBody, kReadAhead)),
      hello_(std::move(hello)),
      notes_(std::move(notes)),
      builder_(plane.memory, plane.options) {}

Status SourceUrgent::start() {
  GODWIT_TRY_ASSIGN(loop_, transport_.make_loop());
  GODWIT_TRY(channel_->attach(
      *loop_,
      {.on_frame = [this](const wire::FrameView& frame) { return on_frame(frame); },
       .on_sent = [this] { pump(); },
       .on_error =
           [this](const Error& error) {
             // acquire: pairs with stop(), which may have caused the error.
             if (!stopping_.load(std::memory_order_acquire)) {
               notes_.failed(error);
             }
           }}));
  channel_->send(wire::MessageType::kHello, hello_);
  GODWIT_TRY_ASSIGN(thread_,
                    try_start_thread("godwit-urgent", ThreadRole::kUrgent, [this] { run(); }));
  return {};
}

void SourceUrgent::stop() {
  if (thread_.joinable()) {
    // release: pairs with the loads in the thread.
    stopping_.store(true, std::memory_order_release);
    loop_->wake();
    thread_.join();
  }
}

void SourceUrgent::run() {
  while (!stopping_.load(std::memory_order_acquire)) {
    if (auto ran = loop_->run_once(Deadline::never()); !ran) {
      notes_.failed(ran.error());
      return;
    }
  }
}

Status SourceUrgent::on_frame(const wire::FrameView& frame) {
  switch (frame.header.type) {
    case wire::MessageType::kWelcome: {
      GODWIT_TRY(take_welcome(frame.body, hello_, *channel_, answered_));
      // release: pairs with is_open().
      open_.store(true, std::memory_order_release);
      notes_.progressed();
      return {};
    }
    case wire::MessageType::kRefuse: {
      GODWIT_TRY_ASSIGN(const auto refuse, wire::decode_refuse(frame.body));
      notes_.refused(refuse);
      return {};
    }
    case wire::MessageType::kPageRequest: {
      GODWIT_TRY_ASSIGN(auto request, wire::decode_page_request(frame.body));
      return on_request(request);
    }
    default:
      return fail(ErrorCode::kProtocol, "urgent channel", "a message that does not belong here");
  }
}

Status SourceUrgent::on_request(const wire::PageRequest& request) {
  if (!switched_.load(std::memory_order_acquire)) {
    return fail(ErrorCode::kProtocol, "page request", "a page was requested before the switch");
  }
  const auto& sizes = plane_.ledger.region_pages();
  for (const auto page : request.pages) {
    if (page.region >= sizes.size() || page.index >= sizes[page.region]) {
      return fail(
          ErrorCode::kProtocol,
          "page request",
          fmt::format(
              "region {} page {} lies outside the guest's memory", page.region, page.index));
    }
    const auto mask = 1ULL << (page.index % 64);
    if (plane_.ledger.claim(page.region, page.index / 64, mask) != 0) {
      demand_.fetch_add(1, std::memory_order_relaxed);
      plane_.goes_after_switch(page.region, page.index);
    } else if (plane_.ledger.in_flight(page)) {
      // The background stream holds it but has not handed it over yet: overtake. The target drops
      // the later copy.
      overtaken_.fetch_add(1, std::memory_order_relaxed);
    } else {
      continue;  // it is in the socket already, ahead of anything that could be sent now
    }
    if (queue_.size() >= kMaxQueuedRequests) {
      return fail(ErrorCode::kProtocol, "page request", "too many requests at once");
    }
    queue_.push_back(page);
    plane_.scheduler.hint(page);
  }
  pump();
  return {};
}

void SourceUrgent::pump() {
  if (queue_.empty() || !channel_->idle()) {
    return;
  }
  PageBatchPlan plan;
  plan.region = queue_.front().region;
  // Pages in a row were asked for together, as a huge page is: a frame each would be all overhead.
  const auto first = queue_.front().index;
  while (plan.count < kPagesInARow && !queue_.empty() &&
         queue_.front() == PageId{plan.region, first + plan.count}) {
    plan.pages[plan.count++] = queue_.front().index;
    queue_.pop_front();
  }
  builder_.build(plan, wire::PagePhase::kUrgent, false);
  builder_.note_zero_pages(plane_.sent_as_zero);
  // relaxed: a figure, read when this thread has ended.
  payload_bytes_.fetch_add(std::uint64_t{builder_.data_pages()} * kPageBytes,
                           std::memory_order_relaxed);
  plane_.counters.urgent_frame_bytes.fetch_add(builder_.body_length(), std::memory_order_relaxed);
  channel_->send_pages(builder_.parts(),
                       builder_.body_length(),
                       builder_.body_hash(),
                       plane_.options.checksum ? 0 : wire::kNoBodyHash);
}

}  // namespace godwit::engine
