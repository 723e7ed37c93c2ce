#include "channels/uring_channel.h"

#include <utility>

#include "godwit/net/ring_loop.h"

#include "loops/ring.h"

namespace godwit::net {
namespace {

class UringChannelState final : public ChannelState {
 public:
  explicit UringChannelState(Fd socket)
      : ChannelState(std::move(socket)), receive_(*this), send_(*this) {}

 private:
  class ReceiveOp final : public RingOp {
   public:
    explicit ReceiveOp(UringChannelState& channel) : channel_(channel) {}
    void prepare(io_uring_sqe& entry) override {
      const auto space = channel_.space();
      io_uring_prep_recv(&entry, channel_.fd(), space.data(), space.size(), 0);
    }
    void complete(int result) override { channel_.on_receive(result); }

   private:
    UringChannelState& channel_;
  };

  class SendOp final : public RingOp {
   public:
    explicit SendOp(UringChannelState& channel) : channel_(channel) {}
    void prepare(io_uring_sqe& entry) override {
      io_uring_prep_sendmsg(&entry, channel_.fd(), &channel_.message(), MSG_WAITALL | MSG_NOSIGNAL);
    }
    void complete(int result) override { channel_.on_send(result); }

   private:
    UringChannelState& channel_;
  };

  Status join(const std::shared_ptr<ChannelState>& self, EventLoop& loop) override {
    auto* ring_loop = dynamic_cast<RingLoop*>(&loop);
    if (ring_loop == nullptr) {
      return fail(ErrorCode::kInvalidArgument, "attach", "the loop is of another transport");
    }
    ring_ = ring_loop->ring();
    ring_->add(receive_, self);
    ring_->add(send_, self);
    return {};
  }
  void leave() override {
    ring_->release(receive_);
    ring_->release(send_);
  }
  [[nodiscard]] bool loop_gone() const override { return ring_->closed(); }
  void submit_receive() override { ring_->start(receive_); }
  void submit_send(bool) override { ring_->start(send_); }

  ReceiveOp receive_;
  SendOp send_;
  std::shared_ptr<Ring> ring_;
};

}  // namespace

std::shared_ptr<ChannelState> make_uring_channel_state(Fd socket) {
  return std::make_shared<UringChannelState>(std::move(socket));
}

}  // namespace godwit::net
