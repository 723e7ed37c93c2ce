#include "qemu/qmp.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace godwit::lab {
namespace {

constexpr std::size_t kEventsMax = 4096;

tl::unexpected<Error> broken(const std::string& what) {
  return fail(ErrorCode::kProtocol, "QMP", what);
}

std::optional<QmpMessage> message_of(const Json& json) {
  QmpMessage message;
  if (!json.is_object()) {
    return std::nullopt;
  }
  if (json.contains("QMP")) {
    message.kind = QmpMessage::Kind::kGreeting;
    message.body = json.at("QMP");
  } else if (json.contains("return")) {
    message.kind = QmpMessage::Kind::kReturn;
    message.body = json.at("return");
  } else if (json.contains("error")) {
    message.kind = QmpMessage::Kind::kError;
    message.name = text_at(json, "/error/class");
    message.text = text_at(json, "/error/desc");
  } else if (json.contains("event")) {
    message.kind = QmpMessage::Kind::kEvent;
    message.name = text_at(json, "/event");
    message.body = json.value("data", Json::object());
  } else {
    return std::nullopt;
  }
  return message;
}

}  // namespace

Result<std::optional<QmpMessage>> QmpParser::next() {
  for (;;) {
    const auto end = buffer_.find('\n');
    if (end == std::string::npos) {
      if (buffer_.size() > kLineBytesMax) {
        return broken("a line without end");
      }
      return std::nullopt;
    }
    const auto line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    if (line.find_first_not_of(" \r\t") == std::string::npos) {
      continue;
    }
    auto message = message_of(parse_json(line));
    if (!message) {
      return broken(fmt::format("no message: {}", line.substr(0, 200)));
    }
    return message;
  }
}

Result<Qmp> Qmp::start(Fd socket, const Watched& watched, Deadline deadline) {
  Qmp qmp(std::move(socket), watched);
  GODWIT_TRY_ASSIGN(auto greeting, qmp.read(deadline));
  if (greeting.kind != QmpMessage::Kind::kGreeting) {
    return broken("it does not begin with a greeting");
  }
  qmp.greeting_ = std::move(greeting.body);
  GODWIT_TRY(qmp.execute("qmp_capabilities", Json::object(), deadline));
  return qmp;
}

Result<QmpMessage> Qmp::read(Deadline deadline) {
  for (;;) {
    GODWIT_TRY_ASSIGN(auto message, parser_.next());
    if (message) {
      message->stamp_ns = monotonic_ns();
      return std::move(*message);
    }
    GODWIT_TRY(wait_readable(socket_.get(), watched_, deadline));
    std::array<char, 16384> bytes;
    const auto got = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (got == 0) {
      return fail(ErrorCode::kClosed, "QMP", "QEMU has closed its monitor");
    }
    if (got < 0 && errno != EAGAIN && errno != EINTR) {
      return fail_errno(errno, "QMP");
    }
    if (got > 0) {
      parser_.feed({bytes.data(), static_cast<std::size_t>(got)});
    }
  }
}

Result<Json> Qmp::execute(const std::string& command, const Json& arguments, Deadline deadline) {
  Json json;
  json["execute"] = command;
  if (!arguments.empty()) {
    json["arguments"] = arguments;
  }
  // Commands are short and answered one by one: they fit the socket's buffer.
  const auto line = json_text(json) + "\n";
  if (::send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(line.size())) {
    return fail_errno(errno, "QMP", command);
  }
  for (;;) {
    GODWIT_TRY_ASSIGN(auto message, read(deadline));
    switch (message.kind) {
      case QmpMessage::Kind::kReturn:
        return std::move(message.body);
      case QmpMessage::Kind::kError:
        return fail(ErrorCode::kRefused, "QMP", fmt::format("{}: {}", command, message.text));
      case QmpMessage::Kind::kEvent:
        if (events_.size() == kEventsMax) {
          return broken("more events than anybody reads");
        }
        events_.push_back(std::move(message));
        break;
      case QmpMessage::Kind::kGreeting:
        return broken("a second greeting");
    }
  }
}

Result<QmpMessage> Qmp::event(Deadline deadline) {
  if (!events_.empty()) {
    auto first = std::move(events_.front());
    events_.pop_front();
    return first;
  }
  GODWIT_TRY_ASSIGN(auto message, read(deadline));
  if (message.kind != QmpMessage::Kind::kEvent) {
    return broken("an answer that nobody asked for");
  }
  return message;
}

}  // namespace godwit::lab
