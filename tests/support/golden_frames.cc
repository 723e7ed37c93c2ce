#include "support/golden_frames.h"

#include <cstring>
#include <string_view>
#include <utility>

#include "godwit/wire/codec.h"
#include "godwit/wire/frame.h"
#include "godwit/wire/page_batch.h"

namespace godwit::wire {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

SessionId session_id() {
  SessionId id{};
  for (std::size_t i = 0; i < id.size(); ++i) {
    id[i] = static_cast<std::byte>(0xa0 + i);
  }
  return id;
}

class Collector {
 public:
  void add(std::string name,
           MessageType type,
           const std::vector<std::byte>& body,
           std::uint32_t flags = 0) {
    FrameWriter writer;
    writer.set_epoch(3);
    frames_.push_back({std::move(name), type, writer.frame(type, body, flags)});
  }
  template <typename Message>
  void add(MessageType type, const Message& message) {
    add(std::string(message_type_name(type)), type, encode(message));
  }
  std::vector<GoldenFrame> take() { return std::move(frames_); }

 private:
  std::vector<GoldenFrame> frames_;
};

std::vector<std::byte> pages_body(RegionIndex region,
                                  PagePhase phase,
                                  std::span<const PageBatchRun> runs) {
  std::vector<std::byte> body(kMaxPagePrefix);
  body.resize(encode_page_prefix(body, region, phase, runs));
  for (const auto& run : runs) {
    if (run.kind == PageKind::kData) {
      body.resize(body.size() + run.count * kPageBytes, std::byte{0x5a});
    }
  }
  return body;
}

void add_setup(Collector& out) {
  Hello hello;
  hello.versions_offered = {kProtocolVersion};
  hello.features_offered = kFeatureBodyHash | kFeatureZeroRuns | kFeaturePostcopy;
  hello.features_required = kFeatureBodyHash;
  hello.session_id = session_id();
  hello.channel_kind = ChannelKind::kBulk;
  hello.channel_index = 2;
  hello.session_epoch = 3;
  out.add(MessageType::kHello, hello);

  Welcome welcome;
  welcome.version = kProtocolVersion;
  welcome.features = kFeatureBodyHash | kFeatureZeroRuns;
  welcome.session_id = session_id();
  welcome.session_epoch = 3;
  out.add(MessageType::kWelcome, welcome);

  out.add(MessageType::kRefuse, Refuse{ErrorCode::kVersion, 2, "no common version"});

  Describe describe;
  describe.prealloc = true;
  describe.vcpus = 4;
  describe.kind = "kvm";
  describe.regions = {{0, 786432}, {0x100000000, 262144}};
  describe.config = {{"workload", 0, 1, true, bytes_of("{}")}};
  out.add(MessageType::kDescribe, describe);
  out.add(MessageType::kAccept, Accept{1500000, true, "uffd-copy"});
}

void add_pages(Collector& out) {
  const PageBatchRun zero[] = {{512, 64, PageKind::kZero}, {1024, 1, PageKind::kZero}};
  out.add("PAGES zero", MessageType::kPages, pages_body(0, PagePhase::kPrecopy, zero));
  const PageBatchRun data[] = {{600, 1, PageKind::kData}, {601, 7, PageKind::kZero}};
  out.add("PAGES data", MessageType::kPages, pages_body(1, PagePhase::kUrgent, data));
  out.add("PAGES unhashed",
          MessageType::kPages,
          pages_body(1, PagePhase::kBackground, zero),
          kNoBodyHash);
  out.add(MessageType::kStale, Stale{{{0, 512, 2}, {1, 7, 1}}});
  out.add(MessageType::kPageRequest, PageRequest{{{0, 513}, {1, 7}}});
  out.add(MessageType::kBackgroundEnd, BackgroundEnd{});
}

void add_handover(Collector& out) {
  out.add(MessageType::kBarrier, Barrier{1});
  out.add(MessageType::kBarrierAck, BarrierAck{1});
  out.add(MessageType::kFinalSync, FinalSync{3, 0x1122334455667788});
  State state;
  state.sections = {{"vcpu", 0, 2, true, bytes_of("abcd")}, {"hint", 1, 1, false, {}}};
  out.add(MessageType::kState, state);
  out.add(MessageType::kReady, Ready{});
  out.add(MessageType::kCommit, Commit{});
  out.add(MessageType::kRunning, Running{120000, 30000});
  out.add(MessageType::kNotStarted, NotStarted{ErrorCode::kRefused, "unknown section"});
}

void add_end(Collector& out) {
  Complete complete;
  complete.installed = 3;
  complete.retracted = 2;
  complete.retracted_at_switch = 1;
  complete.cpu_ns = 250000000;
  complete.first_run_ns = 5000000000;
  complete.run_ended_ns = 4999900000;
  complete.fault_max_ns = 1000;
  complete.boot_id = "boot";
  complete.fault_buckets = {{60, 2}, {111, 1}};
  out.add(MessageType::kComplete, complete);
  out.add(MessageType::kFinish, Finish{});
  out.add(MessageType::kCancel, Cancel{"operator"});
  out.add(MessageType::kCancelAck, CancelAck{});
  out.add(MessageType::kAbort, Abort{ErrorCode::kNoMemory, 4, "out of memory"});
}

void add_recovery(Collector& out) {
  out.add(MessageType::kMissing, Missing{{{0, 512, 2}, {1, 7, 1}}});
  out.add(MessageType::kMissingEnd, MissingEnd{3, 0x1122334455667788});
}

template <typename Message>
Result<std::vector<std::byte>> again(const Result<Message>& message) {
  if (!message) {
    return fail(message.error());
  }
  return encode(*message);
}

Result<std::vector<std::byte>> reencode_pages(std::span<const std::byte> body) {
  GODWIT_TRY_ASSIGN(const auto view, decode_page_batch(body));
  std::vector<std::byte> out(kMaxPagePrefix);
  out.resize(encode_page_prefix(out, view.region(), view.phase(), view.runs()));
  for (std::size_t i = 0; i < view.runs().size(); ++i) {
    if (const auto* data = view.data(i); data != nullptr) {
      out.insert(out.end(), data, data + view.runs()[i].count * kPageBytes);
    }
  }
  return out;
}

}  // namespace

std::vector<GoldenFrame> golden_frames() {
  Collector out;
  add_setup(out);
  add_pages(out);
  add_handover(out);
  add_end(out);
  add_recovery(out);
  return out.take();
}

Result<std::vector<std::byte>> reencode(MessageType type, std::span<const std::byte> body) {
  switch (type) {
    case MessageType::kHello:
      return again(decode_hello(body));
    case MessageType::kWelcome:
      return again(decode_welcome(body));
    case MessageType::kRefuse:
      return again(decode_refuse(body));
    case MessageType::kDescribe:
      return again(decode_describe(body));
    case MessageType::kAccept:
      return again(decode_accept(body));
    case MessageType::kPages:
      return reencode_pages(body);
    case MessageType::kStale:
      return again(decode_stale(body));
    case MessageType::kBarrier:
      return again(decode_barrier(body));
    case MessageType::kBarrierAck:
      return again(decode_barrier_ack(body));
    case MessageType::kFinalSync:
      return again(decode_final_sync(body));
    case MessageType::kState:
      return again(decode_state(body));
    case MessageType::kReady:
      return again(decode_ready(body));
    case MessageType::kCommit:
      return again(decode_commit(body));
    case MessageType::kRunning:
      return again(decode_running(body));
    case MessageType::kNotStarted:
      return again(decode_not_started(body));
    case MessageType::kPageRequest:
      return again(decode_page_request(body));
    case MessageType::kBackgroundEnd:
      return again(decode_background_end(body));
    case MessageType::kComplete:
      return again(decode_complete(body));
    case MessageType::kFinish:
      return again(decode_finish(body));
    case MessageType::kCancel:
      return again(decode_cancel(body));
    case MessageType::kCancelAck:
      return again(decode_cancel_ack(body));
    case MessageType::kAbort:
      return again(decode_abort(body));
    case MessageType::kMissing:
      return again(decode_missing(body));
    case MessageType::kMissingEnd:
      return again(decode_missing_end(body));
  }
  return fail(ErrorCode::kInvalidArgument, "reencode", "no such type");
}

}  // namespace godwit::wire
