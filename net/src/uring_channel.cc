#include "uring_channel.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/check.h"

#include "ring.h"

namespace godwit::net {
namespace {

// A completion's result is an int; nobody receives that much at once.
constexpr std::size_t kMaxReceiveBytes = 1 * kGiB;

}  // namespace

/// What must outlive the channel while the ring knows its operations.
class ChannelState final {
 public:
  explicit ChannelState(Fd socket) : socket_(std::move(socket)), receive_(*this), send_(*this) {}

  Status attach(const std::shared_ptr<ChannelState>& self,
                std::shared_ptr<Ring> ring,
                engine::ChannelHandler& handler);
  Status receive_exact(std::span<std::byte> bytes, Deadline deadline);
  Status send_exact(std::span<const std::byte> bytes, Deadline deadline);
  Status start_send(std::span<const iovec> parts);
  void shut_down();
  /// Ends everything; no call to the handler follows.
  void close();

  [[nodiscard]] bool sending() const { return sending_; }
  [[nodiscard]] int fd() const { return socket_.get(); }
  // relaxed: counters for reports and rates, they publish nothing else.
  [[nodiscard]] std::uint64_t sent() const { return sent_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t received() const { return received_.load(std::memory_order_relaxed); }

 private:
  class ReceiveOp final : public RingOp {
   public:
    explicit ReceiveOp(ChannelState& channel) : channel_(channel) {}
    void prepare(io_uring_sqe& entry) override {
      io_uring_prep_recv(&entry, channel_.fd(), channel_.space_.data(), channel_.space_.size(), 0);
    }
    void complete(int result) override { channel_.on_receive(result); }

   private:
    ChannelState& channel_;
  };

  class SendOp final : public RingOp {
   public:
    explicit SendOp(ChannelState& channel) : channel_(channel) {}
    void prepare(io_uring_sqe& entry) override {
      io_uring_prep_sendmsg(&entry, channel_.fd(), &channel_.message_, MSG_WAITALL | MSG_NOSIGNAL);
    }
    void complete(int result) override { channel_.on_send(result); }

   private:
    ChannelState& channel_;
  };

  void start_receive();
  void on_receive(int result);
  void on_send(int result);
  /// Drops `bytes` from the front of what is to be sent; returns whether any is left.
  bool advance(std::size_t bytes);
  void die(const Error& error);
  [[nodiscard]] Error error_of(int sys_errno, const char* operation) const;
  void detach();

  Fd socket_;
  ReceiveOp receive_;
  SendOp send_;
  std::shared_ptr<Ring> ring_;
  engine::ChannelHandler* handler_ =
      nullptr;  ///< null before attach() and once the channel is dead
  std::span<std::byte> space_;
  std::array<iovec, engine::kMaxSendParts> parts_{};
  msghdr message_{};
  std::size_t left_ = 0;  ///< bytes of the present send still to go
  bool sending_ = false;
  std::atomic<bool> shut_{false};
  std::atomic<std::uint64_t> sent_{0};
  std::atomic<std::uint64_t> received_{0};
};

Status ChannelState::attach(const std::shared_ptr<ChannelState>& self,
                            std::shared_ptr<Ring> ring,
                            engine::ChannelHandler& handler) {
  if (ring_ != nullptr) {
    return fail(ErrorCode::kState, "attach", "the channel has a loop already");
  }
  if (ring->closed()) {
    return fail(ErrorCode::kState, "attach", "the loop is gone");
  }
  ring_ = std::move(ring);
  handler_ = &handler;
  ring_->add(receive_, self);
  ring_->add(send_, self);
  start_receive();
  return {};
}

Status ChannelState::receive_exact(std::span<std::byte> bytes, Deadline deadline) {
  if (ring_ != nullptr) {
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
    const auto left_ns = deadline.left_ns();
    timespec timeout{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
    pollfd poll_for{fd(), POLLIN, 0};
    const int ready = ::ppoll(&poll_for, 1, left_ns == INT64_MAX ? nullptr : &timeout, nullptr);
    if (ready == 0) {
      return fail(
          ErrorCode::kTimeout, "recv", fmt::format("the peer still owes {} bytes", bytes.size()));
    }
    if (ready < 0 && errno != EINTR) {
      return fail_errno(errno, "poll");
    }
  }
  return {};
}

Status ChannelState::send_exact(std::span<const std::byte> bytes, Deadline deadline) {
  if (ring_ != nullptr) {
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
    const auto left_ns = deadline.left_ns();
    timespec timeout{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
    pollfd poll_for{fd(), POLLOUT, 0};
    const int ready = ::ppoll(&poll_for, 1, left_ns == INT64_MAX ? nullptr : &timeout, nullptr);
    if (ready == 0) {
      return fail(ErrorCode::kTimeout,
                  "send",
                  fmt::format("the peer does not take {} bytes", bytes.size()));
    }
    if (ready < 0 && errno != EINTR) {
      return fail_errno(errno, "poll");
    }
  }
  return {};
}

Status ChannelState::start_send(std::span<const iovec> parts) {
  if (handler_ == nullptr || ring_->closed()) {
    return ring_ == nullptr ? fail(ErrorCode::kState, "send", "the channel has no loop yet")
                            : fail(ErrorCode::kClosed, "send", "the channel is dead");
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
  ring_->start(send_);
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
  ring_->start(receive_);
}

void ChannelState::on_receive(int result) {
  if (handler_ == nullptr) {
    return;
  }
  if (result == -EINTR || result == -EAGAIN) {
    ring_->start(receive_);
    return;
  }
  if (result <= 0) {
    die(error_of(-result, "recv"));
    return;
  }
  received_.fetch_add(static_cast<std::uint64_t>(result), std::memory_order_relaxed);
  handler_->on_received(static_cast<std::size_t>(result));
  // The handler may have destroyed the channel.
  if (handler_ != nullptr) {
    start_receive();
  }
}

void ChannelState::on_send(int result) {
  if (handler_ == nullptr) {
    return;
  }
  if (result == -EINTR || result == -EAGAIN) {
    ring_->start(send_);
    return;
  }
  if (result < 0 || (result == 0 && left_ != 0)) {
    die(error_of(result == 0 ? EPIPE : -result, "send"));
    return;
  }
  sent_.fetch_add(static_cast<std::uint64_t>(result), std::memory_order_relaxed);
  if (advance(static_cast<std::size_t>(result))) {
    ring_->start(send_);
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
  if (shut_.load(std::memory_order_relaxed)) {
    return make_error(ErrorCode::kClosed, operation, "the connection was shut down on this side");
  }
  if (sys_errno == 0) {
    return make_error(ErrorCode::kClosed, operation, "the peer closed the connection");
  }
  return errno_error(sys_errno, operation);
}

void ChannelState::die(const Error& error) {
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
  if (!ring_->closed()) {
    ring_->release(receive_);
    ring_->release(send_);
  }
}

void ChannelState::close() {
  if (ring_ != nullptr) {
    detach();
  }
}

UringChannel::UringChannel(Fd socket) : state_(std::make_shared<ChannelState>(std::move(socket))) {}

UringChannel::~UringChannel() {
  state_->close();
}

Status UringChannel::attach(EventLoop& loop, engine::ChannelHandler& handler) {
  auto* ring_loop = dynamic_cast<RingLoop*>(&loop);
  if (ring_loop == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "attach", "the loop is of another transport");
  }
  return state_->attach(state_, ring_loop->ring(), handler);
}

Status UringChannel::send_exact(std::span<const std::byte> bytes, Deadline deadline) {
  return state_->send_exact(bytes, deadline);
}

Status UringChannel::receive_exact(std::span<std::byte> bytes, Deadline deadline) {
  return state_->receive_exact(bytes, deadline);
}

Status UringChannel::start_send(std::span<const iovec> parts) {
  return state_->start_send(parts);
}

bool UringChannel::sending() const {
  return state_->sending();
}

void UringChannel::shut_down() {
  state_->shut_down();
}

std::uint64_t UringChannel::bytes_sent() const {
  return state_->sent();
}

std::uint64_t UringChannel::bytes_received() const {
  return state_->received();
}

int UringChannel::fd() const {
  return state_->fd();
}

}  // namespace godwit::net
