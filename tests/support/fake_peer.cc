#include "support/fake_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "godwit/base/units.h"
#include "godwit/wire/page_batch.h"

namespace godwit::test {

std::optional<Line::Frame> Line::receive() {
  while (true) {
    const auto space = reader_.exact_space();
    if (::recv(fd_, space.data(), space.size(), MSG_WAITALL) !=
        static_cast<ssize_t>(space.size())) {
      return std::nullopt;
    }
    reader_.commit(space.size());
    auto frame = reader_.next();
    if (!frame) {
      return std::nullopt;
    }
    if (*frame) {
      const auto body = (*frame)->body;
      return Frame{(*frame)->header.type, {body.begin(), body.end()}};
    }
  }
}

std::optional<Line::Frame> Line::await(wire::MessageType type) {
  auto frame = receive();
  while (frame && frame->type != type) {
    frame = receive();
  }
  return frame;
}

void Line::raw(std::span<const std::byte> bytes) const {
  [[maybe_unused]] const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

void Line::close() const {
  ::shutdown(fd_, SHUT_RDWR);
}

std::vector<std::byte> damaged(std::vector<std::byte> frame, std::size_t at) {
  frame.at(at) ^= std::byte{0x10};
  return frame;
}

std::vector<std::byte> oversized(wire::MessageType type) {
  wire::FrameHeader header;
  header.type = type;
  header.epoch = 1;
  header.body_length = UINT32_MAX;
  wire::seal_header(header);
  const auto bytes = wire::header_bytes(header);
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> pages_body(std::uint32_t region, std::uint64_t first, std::uint32_t count) {
  wire::PageBatchHeader header;
  header.region = region;
  header.phase = wire::PagePhase::kPrecopy;
  header.run_count = 1;
  header.data_pages = count;
  wire::PageBatchRunWire run;
  run.first = first;
  run.count = count;
  run.kind = wire::PageKind::kData;
  std::vector<std::byte> body(wire::page_prefix_bytes(1) + count * kPageBytes, std::byte{7});
  std::fill_n(body.begin(), wire::page_prefix_bytes(1), std::byte{0});
  std::memcpy(body.data(), &header, sizeof header);
  std::memcpy(body.data() + sizeof header, &run, sizeof run);
  return body;
}

FakeTarget::FakeTarget(Script script)
    : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      ::listen(listener_.get(), 8) == 0) {
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
  }
  thread_ = std::jthread([this, script = std::move(script)] { script(*this); });
}

FakeTarget::~FakeTarget() {
  ::shutdown(listener_.get(), SHUT_RDWR);
  const std::lock_guard lock(mutex_);
  for (const auto& fd : connections_) {
    ::shutdown(fd.get(), SHUT_RDWR);
  }
}

Line FakeTarget::accept() {
  Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const std::lock_guard lock(mutex_);
  return Line(connections_.emplace_back(std::move(fd)).get());
}

wire::Welcome FakeTarget::welcome() {
  wire::Welcome welcome;
  welcome.version = wire::kProtocolVersion;
  welcome.features = wire::kFeatureBodyHash | wire::kFeatureZeroRuns | wire::kFeaturePostcopy;
  welcome.session_id[0] = std::byte{1};
  welcome.session_epoch = 1;
  return welcome;
}

Line FakeTarget::negotiate() {
  auto control = accept();
  control.await(wire::MessageType::kHello);
  control.send(wire::MessageType::kWelcome, welcome());
  control.writer().set_epoch(1);
  return control;
}

Line FakeTarget::asked() {
  auto control = negotiate();
  control.await(wire::MessageType::kDescribe);
  return control;
}

Line FakeTarget::described() {
  auto control = asked();
  control.send(wire::MessageType::kAccept, wire::Accept{0, false, "alias"});
  return control;
}

Lines FakeTarget::opened() {
  auto control = described();
  auto bulk = page_channel();
  auto urgent = page_channel();
  return {std::move(control), std::move(bulk), std::move(urgent)};
}

Lines FakeTarget::receiving() {
  auto lines = opened();
  lines.bulk.receive();
  return lines;
}

Lines FakeTarget::switched() {
  auto lines = opened();
  lines.bulk.await(wire::MessageType::kBarrier);
  lines.bulk.send(wire::MessageType::kBarrierAck, wire::BarrierAck{1});
  return lines;
}

void FakeTarget::stop_listening() {
  ::shutdown(listener_.get(), SHUT_RDWR);
}

Line FakeSource::connect() {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port_);
  [[maybe_unused]] const int connected =
      ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  return Line(connections_.emplace_back(std::move(fd)).get());
}

wire::Hello FakeSource::hello(wire::ChannelKind kind) const {
  wire::Hello hello;
  hello.versions_offered = {wire::kProtocolVersion};
  hello.features_offered = wire::kFeatureBodyHash | wire::kFeatureZeroRuns | wire::kFeaturePostcopy;
  hello.session_id = welcome_.session_id;
  hello.session_epoch = welcome_.session_epoch;
  hello.channel_kind = kind;
  return hello;
}

Line FakeSource::negotiate() {
  auto control = connect();
  control.send(wire::MessageType::kHello, hello());
  if (const auto answer = control.await(wire::MessageType::kWelcome)) {
    welcome_ = *wire::decode_welcome(answer->body);
  }
  control.writer().set_epoch(welcome_.session_epoch);
  return control;
}

Line FakeSource::page_channel(wire::ChannelKind kind) {
  auto line = connect();
  line.send(wire::MessageType::kHello, hello(kind));
  line.writer().set_epoch(welcome_.session_epoch);
  line.await(wire::MessageType::kWelcome);
  return line;
}

Line FakeSource::described(const wire::Describe& describe) {
  auto control = negotiate();
  control.send(wire::MessageType::kDescribe, describe);
  control.await(wire::MessageType::kAccept);
  return control;
}

Lines FakeSource::opened(const wire::Describe& describe) {
  auto control = described(describe);
  auto bulk = page_channel(wire::ChannelKind::kBulk);
  auto urgent = page_channel(wire::ChannelKind::kUrgent);
  return {std::move(control), std::move(bulk), std::move(urgent)};
}

}  // namespace godwit::test
