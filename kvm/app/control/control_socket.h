#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "godwit/base/clock.h"
#include "godwit/base/fd.h"
#include "godwit/base/result.h"
#include "godwit/json/json.h"
#include "godwit/net/unix_listener.h"

namespace godwit::app {

/// One end of a control connection: JSON values, one a line.
/// Thread: send() from any; next() from one.
class ControlConnection {
 public:
  explicit ControlConnection(Fd fd) : fd_(std::move(fd)) {}

  /// Connects to the process that serves `path`. Errors: kIo, kUnsupported (nobody is there).
  static Result<std::unique_ptr<ControlConnection>> connect(const std::string& path);

  /// Errors: kClosed when the other side is gone.
  Status send(const Json& json);
  /// Sends what nobody misses, unless much is unread there: a client that does not read loses
  /// progress, and there is room for the answer that follows. Errors: as send().
  Status offer(const Json& json);
  /// Sends a request, whose answer next() gives. One that is turned away is answered before it was
  /// sent: then it is no error here that nobody reads it.
  Status ask(const Json& request);
  /// The next value. Errors: kClosed at the end; kProtocol (no JSON, or a line over 16 MiB);
  /// kCancelled when `interrupt_fd` (-1: none) became readable first; kTimeout.
  Result<Json> next(int interrupt_fd = -1, Deadline deadline = Deadline::never());
  /// Nothing more is received: next() of another thread returns. Answers can still be sent.
  void stop_receiving();

 private:
  Fd fd_;
  std::mutex send_mutex_;
  std::string received_;
};

/// The source's trace, which follows its report. Errors: those of ControlConnection::next();
/// kProtocol for anything else.
Result<Json> next_trace(ControlConnection& source, int interrupt_fd);

/// Serves a Unix stream socket: one thread accepts, one thread a connection.
/// Guarantees: only this user may connect; the socket file is removed at the end, unless another
/// has taken its place.
class ControlServer {
 public:
  /// Answers one request, by any number of lines. Thread: the connection's.
  using Handler = std::function<void(const Json& request, ControlConnection& connection)>;

  /// The socket file of a dead process is replaced. Errors: kInvalidArgument (path too long, or
  /// there is something that is no socket), kState (a live process serves it), kIo.
  static Result<std::unique_ptr<ControlServer>> start(const std::string& path, Handler handler);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  struct Client {
    explicit Client(Fd fd) : connection(std::move(fd)) {}
    ControlConnection connection;
    bool ended = false;      // guarded by mutex_
    bool busy = false;       // the same: a request of it is being answered
    bool dismissed = false;  // the same: it made room for another
    std::jthread thread;
  };
  ControlServer(net::UnixListener listener, Fd spare, EventFd wake, Handler handler);
  void accept_loop();
  void accept_one();
  void turn_away();
  /// Ends the connection that has been silent for longest; false when all of them are being answered.
  /// Requires: mutex_.
  bool make_room();
  void serve(Client& client);
  void remove_ended();

  std::optional<net::UnixListener> listener_;  ///< none at the end
  Fd spare_;      ///< given up for a moment to tell a client that no descriptor is left
  EventFd wake_;  ///< a client has ended, or the server shall
  Handler handler_;
  std::mutex mutex_;
  std::list<Client> clients_;
  bool stopping_ = false;  // guarded by mutex_
  std::jthread thread_;
};

}  // namespace godwit::app
