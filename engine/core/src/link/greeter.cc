#include "link/greeter.h"

#include <utility>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"

#include "link/handshake.h"

namespace godwit::engine {

Greeter::Greeter(std::int64_t patience_ns, std::function<void()> heard)
    : patience_ns_(patience_ns), heard_(std::move(heard)) {}

Greeter::~Greeter() {
  for (auto& stranger : strangers_) {
    stranger.channel->shut_down();
  }
}

void Greeter::add(std::unique_ptr<Channel> channel) {
  make_room();
  auto& stranger = strangers_.emplace_back();
  stranger.channel = std::move(channel);
  auto thread = try_start_thread(
      "godwit-hello", ThreadRole::kUrgent, [this, &stranger] { listen_to(stranger); });
  if (!thread) {
    log_warn("target: a connection was turned away: {}", thread.error().message());
    refuse_stranger(*stranger.channel, thread.error());
    strangers_.pop_back();
    return;
  }
  stranger.thread = std::move(*thread);
}

void Greeter::make_room() {
  if (strangers_.size() < kStrangersMax) {
    return;
  }
  log_warn("target: {} connections say nothing; the oldest is closed", strangers_.size());
  strangers_.front().channel->shut_down();
  strangers_.pop_front();  // joins: its thread's wait has ended with the connection
}

void Greeter::listen_to(Stranger& stranger) {
  auto hello = hear_hello(*stranger.channel, Deadline::after_ns(patience_ns_));
  if (!hello) {
    log_warn("target: a connection was turned away: {}", hello.error().message());
    refuse_stranger(*stranger.channel, hello.error());
  }
  {
    const std::lock_guard lock(mutex_);
    if (hello) {
      stranger.hello = std::move(*hello);
    }
    stranger.done = true;
  }
  heard_();
}

std::vector<Greeter::Greeted> Greeter::take() {
  std::list<Stranger> ended;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = strangers_.begin(); it != strangers_.end();) {
      const auto next = std::next(it);
      if (it->done) {
        ended.splice(ended.end(), strangers_, it);
      }
      it = next;
    }
  }
  std::vector<Greeted> greeted;
  for (auto& stranger : ended) {
    stranger.thread.join();
    if (stranger.hello) {
      greeted.push_back({std::move(stranger.channel), std::move(*stranger.hello)});
    }
  }
  return greeted;
}

}  // namespace godwit::engine
