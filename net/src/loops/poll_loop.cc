#include "godwit/net/poll_loop.h"

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "loops/poller.h"

namespace godwit::net {

/// One watched descriptor.
class PollWatch final : public PollSource {
 public:
  PollWatch(Poller& poller, int fd, std::function<void()> on_readable)
      : poller_(poller), fd_(fd), on_readable_(std::move(on_readable)) {}

  [[nodiscard]] int poll_fd() const override { return fd_; }
  [[nodiscard]] short wanted() const override { return POLLIN; }
  void ready(short events) override {
    if ((events & POLLNVAL) != 0) {
      // Said once; the descriptor is left out until it is watched again.
      poller_.report(errno_error(EBADF, "poll", fmt::format("watched descriptor {}", fd_)));
      fd_ = -1;
      return;
    }
    on_readable_();
  }

 private:
  Poller& poller_;
  int fd_;
  std::function<void()> on_readable_;
};

Result<std::unique_ptr<PollLoop>> PollLoop::create() {
  GODWIT_TRY_ASSIGN(auto wake, EventFd::create());
  std::unique_ptr<PollLoop> loop(new PollLoop(std::move(wake)));
  GODWIT_TRY(loop->watch(loop->wake_.fd(), [raw = loop.get()] { raw->wake_.clear(); }));
  return loop;
}

PollLoop::PollLoop(EventFd wake) : wake_(std::move(wake)), poller_(std::make_shared<Poller>()) {}

PollLoop::~PollLoop() {
  poller_->close();
}

Status PollLoop::watch(int fd, std::function<void()> on_readable) {
  auto source = std::make_shared<PollWatch>(*poller_, fd, std::move(on_readable));
  if (!watches_.emplace(fd, source).second) {
    return fail(ErrorCode::kState, "watch", fmt::format("descriptor {} is watched already", fd));
  }
  poller_->add(std::move(source));
  return {};
}

void PollLoop::unwatch(int fd) {
  const auto found = watches_.find(fd);
  if (found == watches_.end()) {
    return;
  }
  const auto source = std::move(found->second);
  watches_.erase(found);
  poller_->remove(*source);
}

Status PollLoop::run_once(Deadline deadline) {
  return poller_->run_once(deadline);
}

void PollLoop::wake() {
  wake_.signal();
}

}  // namespace godwit::net
