#include "godwit/net/ring_loop.h"

#include <poll.h>

#include <utility>

#include <fmt/format.h>

#include "loops/ring.h"

namespace godwit::net {

/// One watched descriptor: a one-shot poll, armed again after each callback. The kernel looks at
/// the descriptor when it arms, so what is still readable fires again: level-triggered.
class WatchOp final : public RingOp {
 public:
  WatchOp(Ring& ring, int fd, std::function<void()> on_readable)
      : ring_(ring), fd_(fd), on_readable_(std::move(on_readable)) {}

  void prepare(io_uring_sqe& entry) override { io_uring_prep_poll_add(&entry, fd_, POLLIN); }

  void complete(int result) override {
    if (result < 0) {
      ring_.report(errno_error(-result, "poll", fmt::format("watched descriptor {}", fd_)));
      return;
    }
    on_readable_();
    if (active_) {
      ring_.start(*this);
    }
  }

  void deactivate() { active_ = false; }

 private:
  Ring& ring_;
  int fd_;
  bool active_ = true;
  std::function<void()> on_readable_;
};

Result<std::unique_ptr<RingLoop>> RingLoop::create(RingMode mode) {
  GODWIT_TRY_ASSIGN(auto ring, Ring::create(mode));
  GODWIT_TRY_ASSIGN(auto wake, EventFd::create());
  std::unique_ptr<RingLoop> loop(new RingLoop(std::move(ring), std::move(wake)));
  GODWIT_TRY(loop->watch(loop->wake_.fd(), [raw = loop.get()] { raw->wake_.clear(); }));
  return loop;
}

RingLoop::RingLoop(std::shared_ptr<Ring> ring, EventFd wake)
    : wake_(std::move(wake)), ring_(std::move(ring)) {}

RingLoop::~RingLoop() {
  ring_->close();
}

Status RingLoop::watch(int fd, std::function<void()> on_readable) {
  auto op = std::make_shared<WatchOp>(*ring_, fd, std::move(on_readable));
  if (!watches_.emplace(fd, op).second) {
    return fail(ErrorCode::kState, "watch", fmt::format("descriptor {} is watched already", fd));
  }
  ring_->add(*op, op);
  ring_->start(*op);
  return {};
}

void RingLoop::unwatch(int fd) {
  const auto found = watches_.find(fd);
  if (found == watches_.end()) {
    return;
  }
  const auto op = std::move(found->second);
  watches_.erase(found);
  op->deactivate();
  ring_->release(*op);
}

Status RingLoop::run_once(Deadline deadline) {
  return ring_->run_once(deadline);
}

void RingLoop::wake() {
  wake_.signal();
}

Status probe_uring() {
  GODWIT_TRY_ASSIGN(const auto loop, RingLoop::create());
  GODWIT_TRY(loop->ring()->check_operations());
  // A filter may let rings be made and not used.
  if (auto ran = loop->run_once(Deadline{0}); !ran) {
    auto error = ran.error();
    error.detail =
        "rings can be made here but not used; allow io_uring_enter and io_uring_register in the "
        "seccomp filter";
    return fail(std::move(error));
  }
  return {};
}

}  // namespace godwit::net
