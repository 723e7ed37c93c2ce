#include "target/urgent.h"

#include <algorithm>
#include <array>

#include "godwit/base/clock.h"
#include "godwit/base/thread.h"

namespace godwit::engine {
namespace {

constexpr std::size_t kFaultBatch = 64;

}  // namespace

TargetUrgent::TargetUrgent(TargetPlane& plane,
                           FaultService* faults,
                           Transport& transport,
                           std::unique_ptr<Channel> channel,
                           wire::Welcome welcome,
                           TargetNotes notes,
                           std::size_t trace_faults)
    : plane_(plane),
      faults_(faults),
      transport_(transport),
      first_(std::move(channel)),
      welcome_(std::move(welcome)),
      notes_(std::move(notes)),
      log_(trace_faults) {}

Status TargetUrgent::start() {
  GODWIT_TRY_ASSIGN(loop_, transport_.make_loop());
  GODWIT_TRY(attach(std::move(first_), welcome_, 0));
  if (faults_ != nullptr) {
    GODWIT_TRY(loop_->watch(faults_->fd(), [this] { on_faults(); }));
  }
  GODWIT_TRY_ASSIGN(thread_,
                    try_start_thread("godwit-fault", ThreadRole::kUrgent, [this] { run(); }));
  return {};
}

Status TargetUrgent::attach(std::unique_ptr<Channel> channel,
                            const wire::Welcome& welcome,
                            std::uint64_t link) {
  channel_ =
      std::make_unique<FrameChannel>(std::move(channel), wire::kMaxControlBody, kReadAhead, 1);
  channel_->agree(welcome);
  GODWIT_TRY(channel_->attach(
      *loop_,
      {.on_frame = [this](const wire::FrameView& frame) { return on_frame(frame); },
       .on_sent = [this] { send_requests(); },
       .on_error =
           [this, link](const Error& error) {
             // acquire: pairs with drop_channel(), after which the end of that link is no news.
             if (link == link_.load(std::memory_order_acquire)) {
               fail_unless_stopping(error);
             }
           }}));
  channel_->send(wire::MessageType::kWelcome, welcome);
  return {};
}

void TargetUrgent::drop_channel() {
  {
    const std::lock_guard lock(news_mutex_);
    // release, both: pair with the loads of the channel's events, and with is_open().
    link_.fetch_add(1, std::memory_order_release);
    open_.store(false, std::memory_order_release);
    dropped_ = true;
    adopted_.reset();
  }
  loop_->wake();
}

void TargetUrgent::adopt(std::unique_ptr<Channel> channel, const wire::Welcome& welcome) {
  {
    const std::lock_guard lock(news_mutex_);
    adopted_ = std::move(channel);
    adopted_welcome_ = welcome;
  }
  loop_->wake();
}

void TargetUrgent::take_news() {
  std::unique_ptr<Channel> adopted;
  wire::Welcome welcome;
  std::uint64_t link = 0;
  {
    const std::lock_guard lock(news_mutex_);
    if (std::exchange(dropped_, false)) {
      channel_.reset();
    }
    adopted = std::move(adopted_);
    welcome = adopted_welcome_;
    link = link_.load(std::memory_order_relaxed);
  }
  if (!adopted) {
    return;
  }
  if (auto attached = attach(std::move(adopted), welcome, link); !attached) {
    fail_unless_stopping(attached.error());
    return;
  }
  ask_again();
  {
    const std::lock_guard lock(news_mutex_);
    if (dropped_) {
      return;  // this link is lost as well
    }
    // release: pairs with is_open().
    open_.store(true, std::memory_order_release);
  }
  notes_.progressed();
}

void TargetUrgent::ask_again() {
  wanted_.clear();
  plane_.states().for_each_absent(nullptr, [this](PageId page) { wanted_.push_back(page); });
  send_requests();
}

void TargetUrgent::stop() {
  if (thread_.joinable()) {
    // release: pairs with the loads in the thread.
    stopping_.store(true, std::memory_order_release);
    loop_->wake();
    thread_.join();
  }
}

void TargetUrgent::fail_unless_stopping(const Error& error) {
  // acquire: pairs with stop(), which may have caused the error.
  if (!stopping_.load(std::memory_order_acquire)) {
    notes_.failed(error);
  }
}

void TargetUrgent::run() {
  // release: pairs with is_open().
  open_.store(true, std::memory_order_release);
  notes_.progressed();
  while (!stopping_.load(std::memory_order_acquire)) {
    take_news();
    if (auto ran = loop_->run_once(Deadline::never()); !ran) {
      fail_unless_stopping(ran.error());
      break;
    }
  }
  if (faults_ != nullptr) {
    loop_->unwatch(faults_->fd());
  }
}

void TargetUrgent::on_faults() {
  std::array<PageFault, kFaultBatch> batch;
  auto count = faults_->read(batch);
  if (!count) {
    fail_unless_stopping(count.error());
    return;
  }
  const auto read_ns = monotonic_ns();
  for (std::size_t i = 0; i < *count; ++i) {
    const auto page = batch[i].page;
    if (plane_.states().blocks() != nullptr) {
      if (auto served = plane_.fault_on_block(page, read_ns, wanted_, log_); !served) {
        fail_unless_stopping(served.error());
        return;
      }
      continue;
    }
    // Opened before the decision: a page that another thread publishes in between then finds the
    // stamp.
    plane_.open_faults().open(page, read_ns);
    switch (plane_.states().on_fault(page)) {
      case FaultDecision::kRequest:
        wanted_.push_back(page);
        break;
      case FaultDecision::kWait:
        break;
      case FaultDecision::kMap:
        if (auto mapped = plane_.map_around(page); !mapped) {
          // The other faults of this batch are read and have nobody else.
          fail_unless_stopping(mapped.error());
          break;
        }
        if (plane_.open_faults().close(page) != 0) {
          log_.note(page, read_ns, monotonic_ns());
        }
        break;
    }
  }
  send_requests();
}

void TargetUrgent::send_requests() {
  if (wanted_.empty() || !channel_ || !channel_->idle()) {
    return;
  }
  wire::PageRequest request;
  const auto count = std::min(wanted_.size(), wire::kMaxRequestPages);
  request.pages.assign(wanted_.begin(), wanted_.begin() + static_cast<std::ptrdiff_t>(count));
  wanted_.erase(wanted_.begin(), wanted_.begin() + static_cast<std::ptrdiff_t>(count));
  channel_->send(wire::MessageType::kPageRequest, request);
}

Status TargetUrgent::on_frame(const wire::FrameView& frame) {
  if (frame.header.type != wire::MessageType::kPages) {
    return fail(ErrorCode::kProtocol, "urgent channel", "a message that does not belong here");
  }
  GODWIT_TRY_ASSIGN(auto batch, wire::decode_page_batch(frame.body));
  GODWIT_TRY(plane_.receive(batch, PageOwner::kUrgent, log_));
  if (plane_.states().absent_pages() == 0) {
    notes_.progressed();
  }
  return {};
}

}  // namespace godwit::engine
