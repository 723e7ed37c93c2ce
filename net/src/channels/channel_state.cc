#include "channels/channel_state.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/check.h"

#include "loops/wait_fd.h"

namespace godwit::net {
namespace {

// A completion's result is an int; nobody receives that much at once.
constexpr std::size_t kMaxReceiveBytes = 1 * kGiB;

}  // namespace

bool is_lost_connection(int sys_errno) {
  // The last five come from keepalive and retransmission: nobody answered, or a router said no.
  switch (sys_errno) {
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
    case ECONNABORTED:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
      return true;
    default:
      return false;
  }
}

Status ChannelState::attach(const std::shared_ptr<ChannelState>& self,
                            EventLoop& loop,
                            engine::ChannelHandler& handler) {
  if (attached_) {
    return fail(ErrorCode::kState, "attach", "the channel has a loop already");
  }
  GODWIT_TRY(join(self, loop));
  attached_ = true;
  handler_ = &handler;
  start_receive();
  return {};
}

Status ChannelState::receive_exact(std::span<std::byte> bytes, Deadline deadline) {
  if (attached_) {
    return fail(ErrorCode::kState, "receive_exact", "the channel has a loop already");
  }
  while (!bytes.empty()) {
    const auto got = ::recv(fd(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got > 0) {
      received_.fetch_add(static_cast<std::uint64_t>(got), std::memory_order_relaxed);
      bytes = bytes.subspan(static_cast<std::size_t>(got));
      continue;
    }
    if (got == 0) {
      return fail(error_of(0, "recv"));
    }
    if (errno == EINTR) {
      continue;
    }
    if (errno != EAGAIN) {
      return fail(error_of(errno, "recv"));
    }
    GODWIT_TRY_ASSIGN(const bool ready, wait_fd(fd(), POLLIN, deadline));
    if (!ready) {
      return fail(
          ErrorCode::kTimeout, "recv", fmt::format("the peer still owes {} bytes", bytes.size()));
    }
  }
  return {};
}

Status ChannelState::send_exact(std::span<const std::byte> bytes, Deadline deadline) {
  if (attached_) {
    return fail(ErrorCode::kState, "send_exact", "the channel has a loop already");
  }
  while (!bytes.empty()) {
    const auto put = ::send(fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put >= 0) {
      sent_.fetch_add(static_cast<std::uint64_t>(put), std::memory_order_relaxed);
      bytes = bytes.subspan(static_cast<std::size_t>(put));
      continue;
    }
    if (errno == EINTR) {
      continue;
    }
    if (errno != EAGAIN) {
      return fail(error_of(errno, "send"));
    }
    GODWIT_TRY_ASSIGN(const bool ready, wait_fd(fd(), POLLOUT, deadline));
    if (!ready) {
      return fail(ErrorCode::kTimeout,
                  "send",
                  fmt::format("the peer does not take {} bytes", bytes.size()));
    }
  }
  return {};
}

Status ChannelState::start_send(std::span<const iovec> parts) {
  if (!attached_) {
    return fail(ErrorCode::kState, "send", "the channel has no loop yet");
  }
  if (handler_ == nullptr || loop_gone()) {
    return fail(ErrorCode::kClosed, "send", "the channel is dead");
  }
  if (sending_) {
    return fail(ErrorCode::kState, "send", "the last send is still under way");
  }
  if (parts.empty() || parts.size() > parts_.size()) {
    return fail(ErrorCode::kInvalidArgument,
                "send",
                fmt::format("{} parts; 1 to {} are possible", parts.size(), parts_.size()));
  }
  std::copy(parts.begin(), parts.end(), parts_.begin());
  left_ = 0;
  for (const auto& part : parts) {
    left_ += part.iov_len;
  }
  message_ = {};
  message_.msg_iov = parts_.data();
  message_.msg_iovlen = parts.size();
  sending_ = true;
  submit_send(false);
  return {};
}

void ChannelState::shut_down() {
  // relaxed: only words an error message; the kernel orders the shutdown itself.
  shut_.store(true, std::memory_order_relaxed);
  ::shutdown(fd(), SHUT_RDWR);
}

void ChannelState::start_receive() {
  space_ = handler_->receive_space();
  GODWIT_CHECK(!space_.empty());
  space_ = space_.first(std::min(space_.size(), kMaxReceiveBytes));
  submit_receive();
}

void ChannelState::on_receive(std::int64_t result) {
  if (handler_ == nullptr) {
    return;
  }
  if (result == -EINTR || result == -EAGAIN) {
    submit_receive();
    return;
  }
  if (result <= 0) {
    die(error_of(static_cast<int>(-result), "recv"));
    return;
  }
  received_.fetch_add(static_cast<std::uint64_t>(result), std::memory_order_relaxed);
  handler_->on_received(static_cast<std::size_t>(result));
  // The handler may have destroyed the channel.
  if (handler_ != nullptr) {
    start_receive();
  }
}

void ChannelState::on_send(std::int64_t result) {
  if (handler_ == nullptr) {
    return;
  }
  if (result == -EINTR || result == -EAGAIN) {
    submit_send(true);
    return;
  }
  if (result < 0 || (result == 0 && left_ != 0)) {
    die(error_of(result == 0 ? EPIPE : static_cast<int>(-result), "send"));
    return;
  }
  sent_.fetch_add(static_cast<std::uint64_t>(result), std::memory_order_relaxed);
  if (advance(static_cast<std::size_t>(result))) {
    submit_send(true);
    return;
  }
  sending_ = false;
  handler_->on_sent();
}

bool ChannelState::advance(std::size_t bytes) {
  left_ -= bytes;
  while (message_.msg_iovlen > 0 && bytes >= message_.msg_iov->iov_len) {
    bytes -= message_.msg_iov->iov_len;
    ++message_.msg_iov;
    --message_.msg_iovlen;
  }
  if (bytes > 0) {
    message_.msg_iov->iov_base = static_cast<std::byte*>(message_.msg_iov->iov_base) + bytes;
    message_.msg_iov->iov_len -= bytes;
  }
  return left_ != 0;
}

Error ChannelState::error_of(int sys_errno, const char* operation) const {
  // relaxed: pairs with shut_down(); an error that came first may keep its own words.
  if (shut_.load(std::memory_order_relaxed)) {
    return make_error(ErrorCode::kClosed, operation, "the connection was shut down on this side");
  }
  if (sys_errno == 0) {
    return make_error(ErrorCode::kClosed, operation, "the peer closed the connection");
  }
  auto error = errno_error(sys_errno, operation);
  if (is_lost_connection(sys_errno)) {
    error.code = ErrorCode::kClosed;
  }
  return error;
}

void ChannelState::die(Error error) {
  // First the kernel lets go of the handler's memory: after on_error() it may be freed while the
  // channel lives on.
  auto* handler = handler_;
  detach();
  handler->on_error(error);
}

void ChannelState::detach() {
  handler_ = nullptr;
  sending_ = false;
  // Ends what is under way even where a cancellation comes too late to.
  ::shutdown(fd(), SHUT_RDWR);
  if (!loop_gone()) {
    leave();
  }
}

void ChannelState::close() {
  if (attached_) {
    detach();
  }
}

}  // namespace godwit::net
