#include "link/greeter.h"

#include <utility>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"
#include "godwit/engine/states.h"
#include "godwit/wire/frame.h"
#include "godwit/wire/frame_reader.h"

#include "policy/timeouts.h"

namespace godwit::engine {
namespace {

constexpr std::size_t kHelloBody = 4096;

Result<wire::Hello> read_hello(Channel& channel, Deadline deadline) {
  wire::FrameReader reader(kHelloBody, wire::kHeaderBytes);
  while (true) {
    const auto space = reader.exact_space();
    GODWIT_TRY(channel.receive_exact(space, deadline));
    reader.commit(space.size());
    GODWIT_TRY_ASSIGN(auto frame, reader.next());
    if (frame) {
      if (frame->header.type != wire::MessageType::kHello) {
        return fail(ErrorCode::kProtocol, "hello", "the first message is no HELLO");
      }
      return wire::decode_hello(frame->body);
    }
  }
}

}  // namespace

void refuse_stranger(Channel& channel, const Error& error) {
  wire::FrameWriter writer;
  const auto frame = writer.frame(
      wire::MessageType::kRefuse,
      wire::encode(wire::Refuse{
          error.code, static_cast<std::uint16_t>(TargetState::kListening), error.message()}));
  [[maybe_unused]] const auto sent = channel.send_exact(frame, Deadline::after_ns(kRefusalNs));
  channel.shut_down();
}

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
  auto hello = read_hello(*stranger.channel, Deadline::after_ns(patience_ns_));
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
