#pragma once

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "godwit/base/fd.h"
#include "godwit/engine/ports/transport.h"

namespace godwit::net {

/// What a channel is, whatever waits for its socket: the contract of engine::Channel over one
/// receive and one send at a time. A derived class gives these two to its kind of loop and brings
/// the results back. It is shared with the loop, which may still know it when the channel is gone.
class ChannelState {
 public:
  explicit ChannelState(Fd socket) : socket_(std::move(socket)) {}
  virtual ~ChannelState() = default;
  ChannelState(const ChannelState&) = delete;
  ChannelState& operator=(const ChannelState&) = delete;

  Status attach(const std::shared_ptr<ChannelState>& self,
                EventLoop& loop,
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

 protected:
  /// Makes the loop know this channel. Errors: kInvalidArgument when it is of another kind; kState
  /// when it is gone.
  virtual Status join(const std::shared_ptr<ChannelState>& self, EventLoop& loop) = 0;
  /// Undoes join(): on return the loop neither calls nor touches memory that handlers or senders
  /// gave. Requires: joined.
  virtual void leave() = 0;
  /// Whether the loop that was joined has ended.
  [[nodiscard]] virtual bool loop_gone() const = 0;
  /// Has bytes received into space(); on_receive() follows from the loop, once.
  virtual void submit_receive() = 0;
  /// Has message() sent, or a part of it; on_send() follows from the loop, once. `again`: the
  /// socket took only a part, or nothing, just now.
  virtual void submit_send(bool again) = 0;

  /// `result`: as the system call returned it, or -errno.
  void on_receive(std::int64_t result);
  void on_send(std::int64_t result);

  /// There is a handler to serve.
  [[nodiscard]] bool alive() const { return handler_ != nullptr; }
  [[nodiscard]] std::span<std::byte> space() const { return space_; }
  [[nodiscard]] msghdr& message() { return message_; }

 private:
  void start_receive();
  /// Drops `bytes` from the front of what is to be sent; returns whether any is left.
  bool advance(std::size_t bytes);
  void die(Error error);
  void detach();
  [[nodiscard]] Error error_of(int sys_errno, const char* operation) const;

  Fd socket_;
  bool attached_ = false;
  /// Null before attach() and once the channel is dead.
  engine::ChannelHandler* handler_ = nullptr;
  std::span<std::byte> space_;
  std::array<iovec, engine::kMaxSendParts> parts_{};
  msghdr message_{};
  std::size_t left_ = 0;  ///< bytes of the present send still to go
  bool sending_ = false;
  std::atomic<bool> shut_{false};
  std::atomic<std::uint64_t> sent_{0};
  std::atomic<std::uint64_t> received_{0};
};

/// Whether an established connection's error says that the peer cannot be reached any more, rather
/// than that this side did something wrong.
bool is_lost_connection(int sys_errno);

}  // namespace godwit::net
