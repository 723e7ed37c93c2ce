#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "godwit/engine/ports/transport.h"

namespace godwit::test {

/// What becomes of a frame that a test looks at.
enum class Fate { kPasses, kIsLost, kIsLostWithTheLink, kPassesAndThenTheLinkIsLost };

/// The source's transport, over which a test loses the link: at any moment, or with a frame.
/// Thread: any.
class CutTransport final : public engine::Transport {
 public:
  /// Judges frames of the control channel as they leave the source, or arrive there. Called from its
  /// thread.
  using Judge = std::function<Fate(wire::MessageType)>;

  explicit CutTransport(engine::Transport& inside) : links_(std::make_shared<Links>()), inside_(inside) {}

  /// Breaks every connection that there is.
  void cut() { links_->cut(); }
  /// While it is down nobody is reached.
  void set_down(bool down) { down_.store(down); }
  [[nodiscard]] unsigned attempts_while_down() const { return refused_.load(); }
  void judge_sent(Judge judge) { links_->sent = std::move(judge); }          ///< before the session
  void judge_received(Judge judge) { links_->received = std::move(judge); }  ///< the same

  Result<std::unique_ptr<EventLoop>> make_loop() override { return inside_.make_loop(); }
  Result<std::unique_ptr<engine::Channel>> connect(engine::ChannelKind kind,
                                                   Deadline deadline) override;
  void interrupt() override { inside_.interrupt(); }
  [[nodiscard]] std::string name() const override { return inside_.name(); }
  [[nodiscard]] std::string congestion() const override { return inside_.congestion(); }

  /// The connections that are open.
  struct Links {
    std::mutex mutex;
    std::vector<engine::Channel*> open;
    Judge sent;
    Judge received;
    void cut();
  };

 private:
  std::shared_ptr<Links> links_;
  engine::Transport& inside_;
  std::atomic<bool> down_{false};
  std::atomic<unsigned> refused_{0};
};

}  // namespace godwit::test
