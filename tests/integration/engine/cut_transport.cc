#include "cut_transport.h"

#include <chrono>
#include <thread>
#include <utility>

#include "godwit/wire/frame.h"

namespace godwit::test {
namespace {

using engine::Channel;

class CutChannel final : public Channel, private engine::ChannelHandler {
 public:
  CutChannel(std::unique_ptr<Channel> inside,
             std::shared_ptr<CutTransport::Links> links,
             bool judged)
      : inside_(std::move(inside)), links_(std::move(links)), judged_(judged) {
    const std::lock_guard lock(links_->mutex);
    links_->open.push_back(inside_.get());
  }
  ~CutChannel() override {
    const std::lock_guard lock(links_->mutex);
    std::erase(links_->open, inside_.get());
  }

  Status attach(EventLoop& loop, ChannelHandler& handler) override {
    handler_ = &handler;
    return inside_->attach(loop, *this);
  }
  Status receive_exact(std::span<std::byte> bytes, Deadline deadline) override {
    return inside_->receive_exact(bytes, deadline);
  }
  Status send_exact(std::span<const std::byte> bytes, Deadline deadline) override {
    return inside_->send_exact(bytes, deadline);
  }
  Status start_send(std::span<const iovec> parts) override {
    const auto& first = parts.front();
    after_ = judge(links_->sent, {static_cast<const std::byte*>(first.iov_base), first.iov_len});
    if (after_ == Fate::kIsLostWithTheLink) {
      lost_ = true;
      links_->cut();
      return {};
    }
    return inside_->start_send(parts);
  }
  [[nodiscard]] bool sending() const override { return lost_ || inside_->sending(); }
  void shut_down() override { inside_->shut_down(); }
  [[nodiscard]] std::uint64_t bytes_sent() const override { return inside_->bytes_sent(); }
  [[nodiscard]] std::uint64_t bytes_received() const override { return inside_->bytes_received(); }

 private:
  Fate judge(const CutTransport::Judge& judge, std::span<const std::byte> bytes) const {
    if (!judged_ || !judge || bytes.size() < wire::kHeaderBytes) {
      return Fate::kPasses;
    }
    const auto header = wire::parse_header(bytes.first<wire::kHeaderBytes>());
    return header ? judge(header->type) : Fate::kPasses;
  }

  std::span<std::byte> receive_space() override { return space_ = handler_->receive_space(); }
  void on_received(std::size_t bytes) override {
    const auto fate = judge(links_->received, space_.first(bytes));
    lost_ = lost_ || fate == Fate::kIsLostWithTheLink;
    if (fate == Fate::kIsLostWithTheLink) {
      links_->cut();
    }
    if (!lost_ && fate != Fate::kIsLost) {
      handler_->on_received(bytes);
    }
    if (fate == Fate::kPassesAndThenTheLinkIsLost) {
      links_->cut();
    }
  }
  void on_sent() override {
    handler_->on_sent();
    if (std::exchange(after_, Fate::kPasses) == Fate::kPassesAndThenTheLinkIsLost) {
      links_->cut();
    }
  }
  void on_error(const Error& error) override { handler_->on_error(error); }

  std::unique_ptr<Channel> inside_;
  std::shared_ptr<CutTransport::Links> links_;
  const bool judged_;
  engine::ChannelHandler* handler_ = nullptr;
  std::span<std::byte> space_;
  Fate after_ = Fate::kPasses;
  bool lost_ = false;
};

}  // namespace

void CutTransport::Links::cut() {
  const std::lock_guard lock(mutex);
  for (auto* channel : open) {
    channel->shut_down();
  }
}

Result<std::unique_ptr<Channel>> CutTransport::connect(engine::ChannelKind kind,
                                                       Deadline deadline) {
  if (down_.load()) {
    refused_.fetch_add(1);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return fail(ErrorCode::kTimeout, "connect", "the link is down");
  }
  GODWIT_TRY_ASSIGN(auto channel, inside_.connect(kind, deadline));
  return std::unique_ptr<Channel>(std::make_unique<CutChannel>(
      std::move(channel), links_, kind == engine::ChannelKind::kControl));
}

}  // namespace godwit::test
