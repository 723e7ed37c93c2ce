#include "channels/poll_channel.h"

#include <cerrno>
#include <utility>

#include "godwit/net/poll_loop.h"

#include "loops/poller.h"

namespace godwit::net {
namespace {

/// How often one channel receives before the others of its loop have their turn. A frame takes at
/// least two: its header, and its body where it belongs.
constexpr int kReceivesPerTurn = 8;

std::int64_t result_of(ssize_t returned) {
  return returned < 0 ? -errno : returned;
}

/// MSG_DONTWAIT on every call and not O_NONBLOCK on the socket: sockets are then the same for both
/// kinds of loops.
class PollChannelState final : public ChannelState, public PollSource {
 public:
  using ChannelState::ChannelState;

 private:
  Status join(const std::shared_ptr<ChannelState>& self, EventLoop& loop) override {
    auto* poll_loop = dynamic_cast<PollLoop*>(&loop);
    if (poll_loop == nullptr) {
      return fail(ErrorCode::kInvalidArgument, "attach", "the loop is of another transport");
    }
    poller_ = poll_loop->poller();
    poller_->add(std::shared_ptr<PollSource>(self, this));
    return {};
  }
  void leave() override { poller_->remove(*this); }
  [[nodiscard]] bool loop_gone() const override { return poller_->closed(); }
  /// Nothing to do: a channel that is alive always has space, and poll() is level-triggered.
  void submit_receive() override {}
  void submit_send(bool again) override {
    full_ = again;
    if (!again) {
      poller_->make_due(*this);
    }
  }

  [[nodiscard]] int poll_fd() const override { return fd(); }
  [[nodiscard]] short wanted() const override {
    return static_cast<short>(full_ ? POLLIN | POLLOUT : POLLIN);
  }
  void ready(short events) override {
    constexpr short kEnded = POLLERR | POLLHUP | POLLNVAL;
    // Receiving first: what a peer said before it closed is heard before a send fails for it.
    if ((events & (POLLIN | kEnded)) != 0) {
      receive();
    }
    if (alive() && full_ && (events & (POLLOUT | kEnded)) != 0) {
      send();
    }
  }
  void due() override { send(); }

  void receive() {
    for (int turn = 0; turn < kReceivesPerTurn && alive(); ++turn) {
      const auto size = space().size();
      const auto got = result_of(::recv(fd(), space().data(), size, MSG_DONTWAIT));
      if (got == -EAGAIN) {
        return;
      }
      on_receive(got);
      if (got < static_cast<std::int64_t>(size)) {
        return;  // the socket is empty, or the channel dead
      }
    }
  }

  void send() {
    full_ = false;
    on_send(result_of(::sendmsg(fd(), &message(), MSG_DONTWAIT | MSG_NOSIGNAL)));
  }

  std::shared_ptr<Poller> poller_;
  bool full_ = false;  ///< a send waits for room in the socket
};

}  // namespace

std::shared_ptr<ChannelState> make_poll_channel_state(Fd socket) {
  return std::make_shared<PollChannelState>(std::move(socket));
}

}  // namespace godwit::net
