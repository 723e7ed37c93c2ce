#pragma once

#include <memory>
#include <utility>

#include "godwit/engine/ports/transport.h"

#include "channels/channel_state.h"

namespace godwit::net {

/// One connection on a loop of either kind: at most one receive and one send under way.
/// Ownership: the socket. Guarantees: once the destructor has returned, nobody touches memory that
/// a handler or a sender handed in. Thread: destroy on the loop's thread, or on any once that
/// thread has ended.
class SocketChannel final : public engine::Channel {
 public:
  explicit SocketChannel(std::shared_ptr<ChannelState> state) : state_(std::move(state)) {}
  ~SocketChannel() override { state_->close(); }
  SocketChannel(const SocketChannel&) = delete;
  SocketChannel& operator=(const SocketChannel&) = delete;

  Status attach(EventLoop& loop, engine::ChannelHandler& handler) override {
    return state_->attach(state_, loop, handler);
  }
  Status receive_exact(std::span<std::byte> bytes, Deadline deadline) override {
    return state_->receive_exact(bytes, deadline);
  }
  Status send_exact(std::span<const std::byte> bytes, Deadline deadline) override {
    return state_->send_exact(bytes, deadline);
  }
  Status start_send(std::span<const iovec> parts) override { return state_->start_send(parts); }
  [[nodiscard]] bool sending() const override { return state_->sending(); }
  void shut_down() override { state_->shut_down(); }
  [[nodiscard]] std::uint64_t bytes_sent() const override { return state_->sent(); }
  [[nodiscard]] std::uint64_t bytes_received() const override { return state_->received(); }
  [[nodiscard]] int fd() const { return state_->fd(); }

 private:
  std::shared_ptr<ChannelState> state_;
};

}  // namespace godwit::net
