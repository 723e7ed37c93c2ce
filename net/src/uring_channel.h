#pragma once

#include <memory>

#include "godwit/base/fd.h"
#include "godwit/engine/ports.h"

namespace godwit::net {

class ChannelState;

/// One TCP connection on a ring: at most one receive and one send under way.
/// Ownership: the socket. Guarantees: once the destructor has returned, the kernel touches no
/// memory that a handler or a sender handed in. Thread: destroy on the loop's thread, or on any
/// once that thread has ended.
class UringChannel final : public engine::Channel {
 public:
  explicit UringChannel(Fd socket);
  ~UringChannel() override;
  UringChannel(const UringChannel&) = delete;
  UringChannel& operator=(const UringChannel&) = delete;

  Status attach(EventLoop& loop, engine::ChannelHandler& handler) override;
  Status receive_exact(std::span<std::byte> bytes, Deadline deadline) override;
  Status send_exact(std::span<const std::byte> bytes, Deadline deadline) override;
  Status start_send(std::span<const iovec> parts) override;
  [[nodiscard]] bool sending() const override;
  void shut_down() override;
  [[nodiscard]] std::uint64_t bytes_sent() const override;
  [[nodiscard]] std::uint64_t bytes_received() const override;
  [[nodiscard]] int fd() const;

 private:
  std::shared_ptr<ChannelState> state_;
};

}  // namespace godwit::net
