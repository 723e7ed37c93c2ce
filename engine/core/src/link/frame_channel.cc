#include "link/frame_channel.h"

#include <utility>

namespace godwit::engine {

FrameChannel::FrameChannel(std::unique_ptr<Channel> channel,
                           std::size_t max_body,
                           std::size_t read_ahead,
                           std::uint64_t first_sequence)
    : reader_(max_body, read_ahead), channel_(std::move(channel)) {
  reader_.expect_sequence(first_sequence);
}

Status FrameChannel::greet(const wire::Hello& hello, Deadline deadline) {
  return channel_->send_exact(writer_.frame(wire::MessageType::kHello, wire::encode(hello)),
                              deadline);
}

Status FrameChannel::attach(EventLoop& loop, Events events) {
  events_ = std::move(events);
  return channel_->attach(loop, *this);
}

void FrameChannel::agree(const wire::Welcome& welcome) {
  writer_.set_version(welcome.version);
  writer_.set_epoch(welcome.session_epoch);
  reader_.set_version(welcome.version);
  reader_.set_features(welcome.features);
}

void FrameChannel::send(wire::MessageType type,
                        std::span<const std::byte> body,
                        std::uint32_t flags) {
  if (broken_) {
    return;
  }
  queue_.push_back(writer_.frame(type, body, flags));
  start_next();
}

void FrameChannel::start_next() {
  if (queue_.empty() || channel_->sending()) {
    return;
  }
  const iovec part{queue_.front().data(), queue_.front().size()};
  queued_sending_ = true;
  if (auto started = channel_->start_send({&part, 1}); !started) {
    on_error(started.error());
  }
}

void FrameChannel::send_pages(std::span<const iovec> body,
                              std::uint32_t body_length,
                              std::uint64_t body_hash,
                              std::uint32_t flags) {
  gather_header_ = writer_.header_for(wire::MessageType::kPages, body_length, body_hash, flags);
  gather_.assign(1, iovec{&gather_header_, sizeof gather_header_});
  gather_.insert(gather_.end(), body.begin(), body.end());
  if (auto started = channel_->start_send(gather_); !started) {
    on_error(started.error());
  }
}

std::span<std::byte> FrameChannel::receive_space() {
  return broken_ ? std::span<std::byte>(scratch_) : reader_.space();
}

void FrameChannel::on_received(std::size_t bytes) {
  if (broken_) {
    return;
  }
  reader_.commit(bytes);
  while (!broken_) {
    auto frame = reader_.next();
    if (!frame) {
      on_error(frame.error());
      return;
    }
    if (!*frame) {
      return;
    }
    if (auto handled = events_.on_frame(**frame); !handled) {
      on_error(handled.error());
      return;
    }
  }
}

void FrameChannel::on_sent() {
  if (std::exchange(queued_sending_, false)) {
    queue_.pop_front();
  }
  start_next();
  if (idle() && events_.on_sent) {
    events_.on_sent();
  }
}

void FrameChannel::on_error(const Error& error) {
  // The connection itself is left to the session: it may still have to say on another channel why
  // this one broke.
  if (std::exchange(broken_, true)) {
    return;
  }
  if (events_.on_error) {
    events_.on_error(error);
  }
}

}  // namespace godwit::engine
