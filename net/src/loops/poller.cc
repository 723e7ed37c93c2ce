#include "loops/poller.h"

#include <algorithm>
#include <utility>

#include "godwit/base/check.h"

#include "loops/wait_fd.h"

namespace godwit::net {

void Poller::add(std::shared_ptr<PollSource> source) {
  source->added_ = true;
  sources_.push_back(std::move(source));
}

void Poller::remove(PollSource& source) {
  const auto found = std::find_if(sources_.begin(), sources_.end(), [&source](const auto& known) {
    return known.get() == &source;
  });
  if (found == sources_.end()) {
    return;
  }
  source.added_ = false;
  if (source.due_) {
    std::erase(due_, &source);
    source.due_ = false;
  }
  // The caller may be the source itself, called back from below.
  auto keep = std::move(*found);
  sources_.erase(found);
  if (running_) {
    removed_.push_back(std::move(keep));
  }
}

void Poller::make_due(PollSource& source) {
  GODWIT_CHECK(source.added_);
  if (!source.due_) {
    source.due_ = true;
    due_.push_back(&source);
  }
}

void Poller::report(Error error) {
  if (reported_) {
    reported_ = fail(std::move(error));
  }
}

bool Poller::run_due() {
  // Taken out first: what callbacks make due waits for the next iteration, so that two ends that
  // always have something to send cannot keep the loop here.
  due_now_.swap(due_);
  const bool any = !due_now_.empty();
  for (auto* source : due_now_) {
    // What was removed meanwhile is kept in removed_, so the pointer is good.
    if (source->added_) {
      source->due_ = false;
      source->due();
    }
  }
  due_now_.clear();
  return any;
}

Status Poller::wait_and_dispatch(Deadline deadline) {
  fds_.clear();
  polled_.clear();
  for (const auto& source : sources_) {
    fds_.push_back({source->poll_fd(), source->wanted(), 0});
    polled_.push_back(source.get());
  }
  GODWIT_TRY_ASSIGN(auto ready, wait_fds(fds_.data(), fds_.size(), deadline));
  for (std::size_t i = 0; i < fds_.size() && ready > 0; ++i) {
    if (fds_[i].revents == 0) {
      continue;
    }
    --ready;
    if (polled_[i]->added_) {
      polled_[i]->ready(fds_[i].revents);
    }
  }
  return {};
}

Status Poller::run_once(Deadline deadline) {
  if (running_) {
    return fail(ErrorCode::kState, "run_once", "called from a callback of the same loop");
  }
  GODWIT_TRY(owner_.bind());
  running_ = true;
  const bool did = run_due();
  auto waited = wait_and_dispatch(did ? Deadline{0} : deadline);
  running_ = false;
  removed_.clear();
  if (!waited) {
    return waited;
  }
  return std::exchange(reported_, Status{});
}

void Poller::close() {
  closed_ = true;
  due_.clear();
  // Moved out first: what is freed here may look at the poller again.
  const auto sources = std::exchange(sources_, {});
  for (const auto& source : sources) {
    source->added_ = false;
    source->due_ = false;
  }
}

}  // namespace godwit::net
