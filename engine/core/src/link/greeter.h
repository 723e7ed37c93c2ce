#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "godwit/engine/ports/transport.h"
#include "godwit/wire/codec.h"

namespace godwit::engine {

/// Hears the first frame of connections that nobody knows yet, each on a thread of its own: a
/// stranger that connects and says nothing, or says it a byte at a time, delays nobody else.
/// Thread: the control thread's, except the callback.
class Greeter {
 public:
  struct Greeted {
    std::unique_ptr<Channel> channel;
    wire::Hello hello;
  };
  /// A stranger has `patience_ns` for its HELLO. `heard` is called from a stranger's thread
  /// whenever take() has something to do.
  Greeter(std::int64_t patience_ns, std::function<void()> heard);
  /// Turns away who has not spoken yet.
  ~Greeter();
  Greeter(const Greeter&) = delete;
  Greeter& operator=(const Greeter&) = delete;

  /// Guarantees: at most kStrangersMax wait at once; the oldest makes room for a new one.
  void add(std::unique_ptr<Channel> channel);
  /// Connections that have said HELLO since the last call, in the order of their arrival.
  std::vector<Greeted> take();

  /// All channels of a migration may come at once, and as many strangers.
  static constexpr std::size_t kStrangersMax = 2 * (wire::kMaxBulkChannels + 2);

 private:
  struct Stranger {
    std::unique_ptr<Channel> channel;
    std::optional<wire::Hello> hello;  ///< absent after `done`: turned away
    bool done = false;
    std::jthread thread;
  };
  void listen_to(Stranger& stranger);
  void make_room();

  const std::int64_t patience_ns_;
  const std::function<void()> heard_;
  std::mutex mutex_;               ///< guards hello and done of every stranger
  std::list<Stranger> strangers_;  ///< the list itself is the control thread's
};

}  // namespace godwit::engine
