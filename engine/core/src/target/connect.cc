#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"

#include "target/session_impl.h"

namespace godwit::engine {

void TargetSession::Impl::watch_listener() {
  if (listening_) {
    return;
  }
  auto watched = runner_.loop()->watch(listener_.fd(), [this] { accept_one(); });
  listening_ = watched.has_value();
  if (watched) {
    return;
  }
  if (may_resume()) {
    // A guest that runs here is not held for want of a way back that it may never need.
    log_warn("target: a lost link could not be taken up again: {}", watched.error().message());
    return;
  }
  runner_.note_error(watched.error());
  runner_.push(TargetEvent::kLocalError);
}

void TargetSession::Impl::stop_listening() {
  if (listening_) {
    runner_.loop()->unwatch(listener_.fd());
    listening_ = false;
  }
}

void TargetSession::Impl::accept_one() {
  auto accepted = listener_.accept();
  if (!accepted) {
    log_warn("target: a connection could not be accepted: {}", accepted.error().message());
    return;
  }
  if (*accepted) {
    greeter_.add(std::move(*accepted));
  }
}

void TargetSession::Impl::take_greeted() {
  for (auto& greeted : greeter_.take()) {
    if (auto taken = take_channel(std::move(greeted.channel), greeted.hello); !taken) {
      log_warn("target: a connection was turned away: {}", taken.error().message());
    }
  }
}

Status TargetSession::Impl::take_channel(std::unique_ptr<Channel> channel,
                                         const wire::Hello& hello) {
  if (auto admitted = handshake_.admit(hello, door()); !admitted) {
    refuse_stranger(*channel, admitted.error());
    return fail(admitted.error());
  }
  listener_.tune(*channel, hello.channel_kind);
  return hello.channel_kind == ChannelKind::kControl ? take_control(std::move(channel))
                                                     : take_pages(std::move(channel), hello);
}

TargetHandshake::Door TargetSession::Impl::door() const {
  const auto state = runner_.state();
  return {.waits_for_pages =
              !all_open_ && (state == TargetState::kSetup || state == TargetState::kReady ||
                             state == TargetState::kResync),
          .may_resume = may_resume()};
}

Status TargetSession::Impl::take_control(std::unique_ptr<Channel> channel) {
  if (may_resume()) {
    if (std::exchange(resumed_, std::move(channel)) == nullptr) {
      runner_.push(TargetEvent::kResumed);
    }
    return {};  // of two that came at once the newest counts
  }
  control_ = std::make_unique<FrameChannel>(std::move(channel), wire::kMaxStateBody, kReadAhead, 1);
  control_->agree(handshake_.session());
  GODWIT_TRY(control_->attach(
      *runner_.loop(),
      {.on_frame = [this](const wire::FrameView& frame) { return on_control(frame); },
       .on_sent = nullptr,
       .on_error = [this](const Error& error) { on_link_error(error); }}));
  runner_.push(TargetEvent::kHello);
  return {};
}

Status TargetSession::Impl::take_pages(std::unique_ptr<Channel> channel, const wire::Hello& hello) {
  runner_.progressed();
  auto opened = hello.channel_kind == ChannelKind::kBulk
                    ? lanes_->add_channel(std::move(channel), hello.channel_index)
                    : open_urgent(std::move(channel));
  if (!opened) {
    // Not the peer's fault: it is told at once, and does not wait for the deadline.
    runner_.note_error(opened.error());
    runner_.push(TargetEvent::kLocalError);
  }
  return opened;
}

Status TargetSession::Impl::open_urgent(std::unique_ptr<Channel> channel) {
  if (urgent_) {
    urgent_->adopt(std::move(channel), handshake_.session());
    return {};
  }
  urgent_ = std::make_unique<TargetUrgent>(*plane_,
                                           machine_parts_.faults.get(),
                                           transport_,
                                           std::move(channel),
                                           handshake_.session(),
                                           notes(),
                                           options_.trace_faults);
  return urgent_->start();
}

TargetNotes TargetSession::Impl::notes() {
  return {.failed = [this](const Error& error) { runner_.fail(error); },
          .progressed = [this] { runner_.wake(); }};
}

void TargetSession::Impl::note_open_channels() {
  if (door().waits_for_pages && lanes_ && lanes_->all_open() && urgent_ && urgent_->is_open()) {
    all_open_ = true;
    if (runner_.state() == TargetState::kResync) {
      runner_.forget_error();
    }
    runner_.push(TargetEvent::kChannelsOpen);
  }
}

void TargetSession::Impl::on_link_error(const Error& error) {
  if (runner_.state() == TargetState::kCompleted) {
    return;
  }
  if (runner_.state() == TargetState::kRunning && plane_->states().absent_pages() == 0) {
    runner_.push(TargetEvent::kAllPresent);
    return;  // a link that closes after the last page is no failure
  }
  // What was damaged on the way can be asked for again, like what was lost on it.
  const bool link = error.code == ErrorCode::kClosed || error.code == ErrorCode::kIo ||
                    (error.code == ErrorCode::kChecksum && handshake_.recovers() && may_resume());
  runner_.note_error(error);
  runner_.push(link ? TargetEvent::kLinkLost : TargetEvent::kLocalError);
}

Status TargetSession::Impl::on_control(const wire::FrameView& frame) {
  runner_.progressed();
  using wire::MessageType;
  switch (frame.header.type) {
    case MessageType::kDescribe: {
      GODWIT_TRY_ASSIGN(auto describe, wire::decode_describe(frame.body));
      if (runner_.state() != TargetState::kNegotiating ||
          described_.load(std::memory_order_relaxed)) {
        return fail(ErrorCode::kProtocol, "describe", "a second description");
      }
      accept_description(std::move(describe));
      return {};
    }
    case MessageType::kStale: {
      GODWIT_TRY_ASSIGN(auto stale, wire::decode_stale(frame.body));
      if (!plane_) {
        return fail(ErrorCode::kProtocol, "stale", "an announcement before the description");
      }
      return plane_->announce(stale.runs, true);
    }
    case MessageType::kFinalSync: {
      GODWIT_TRY_ASSIGN(auto sync, wire::decode_final_sync(frame.body));
      // The source has heard from all threads of the page channels; this one perhaps not yet.
      note_open_channels();
      if (runner_.state() != TargetState::kReceiving &&
          !(runner_.state() == TargetState::kSetup && all_open_)) {
        return fail(ErrorCode::kProtocol, "final sync", "out of place");
      }
      return final_sync(sync);
    }
    case MessageType::kState: {
      GODWIT_TRY_ASSIGN(auto state, wire::decode_state(frame.body));
      if (!plane_ || !plane_->switched()) {
        return fail(ErrorCode::kProtocol, "state", "machine state before the final sync");
      }
      sections_ = std::move(state.sections);
      runner_.push(TargetEvent::kFinalSync);
      return {};
    }
    case MessageType::kCommit:
      if (frame.header.epoch != handshake_.session().session_epoch) {
        return fail(ErrorCode::kProtocol, "commit", "COMMIT of another epoch");
      }
      runner_.push(TargetEvent::kCommit);
      return {};
    case MessageType::kCancel: {
      GODWIT_TRY_ASSIGN(auto cancel, wire::decode_cancel(frame.body));
      runner_.keep_error({make_error(ErrorCode::kCancelled, "source", cancel.text),
                          "source",
                          std::string(to_string(runner_.state()))});
      runner_.push(TargetEvent::kCancel);
      return {};
    }
    case MessageType::kAbort: {
      GODWIT_TRY_ASSIGN(auto abort, wire::decode_abort(frame.body));
      runner_.note_error(make_error(abort.code, "source", abort.text), "source");
      runner_.push(TargetEvent::kPeerAbort);
      return {};
    }
    case MessageType::kFinish:
      runner_.push(TargetEvent::kFinish);
      return {};
    default:
      return fail(ErrorCode::kProtocol, "control channel", "a message that does not belong here");
  }
}

void TargetSession::Impl::accept_description(wire::Describe describe) {
  MachineDescription description;
  std::vector<std::uint64_t> pages;
  for (const auto& region : describe.regions) {
    description.regions.push_back({region.gpa, region.page_count});
    pages.push_back(region.page_count);
  }
  description.vcpus = describe.vcpus;
  description.kind = describe.kind;
  description.config = std::move(describe.config);
  auto created = create_machine(description, describe);
  if (!created) {
    runner_.note_error(created.error());
    machine_parts_ = {};
    runner_.push(TargetEvent::kRefused);
    return;
  }
  runner_.push(TargetEvent::kDescribed);
}

Status TargetSession::Impl::create_machine(const MachineDescription& description,
                                           const wire::Describe& describe) {
  GODWIT_TRY_ASSIGN(
      machine_parts_,
      host_.create(description,
                   {.postcopy = describe.postcopy_possible, .prealloc = describe.prealloc}));
  std::vector<std::uint64_t> pages;
  for (const auto& region : machine_parts_.guest->memory().regions) {
    pages.push_back(region.page_count);
  }
  for (std::size_t i = 0; i < describe.regions.size(); ++i) {
    if (pages.size() != describe.regions.size() || pages[i] != describe.regions[i].page_count) {
      return fail(ErrorCode::kRefused, "describe", "the memory layout differs from the source's");
    }
  }
  bulk_channels_ = describe.bulk_channels;
  handshake_.expect(bulk_channels_);
  const auto block = machine_parts_.faults ? machine_parts_.faults->block_pages() : 1;
  GODWIT_TRY_ASSIGN(auto states,
                    PageStates::create(pages, machine_parts_.placer->placing(), block));
  plane_ = std::make_unique<TargetPlane>(machine_parts_, std::move(states));
  make_lanes();
  if (machine_parts_.faults) {
    GODWIT_TRY(machine_parts_.faults->arm());
  }
  described_.store(true, std::memory_order_release);
  return {};
}

void TargetSession::Impl::make_lanes() {
  lanes_ =
      std::make_unique<TargetLanes>(*plane_,
                                    transport_,
                                    handshake_.session(),
                                    notes(),
                                    TargetLanes::Options{.channels = bulk_channels_,
                                                         .trace_faults = options_.trace_faults,
                                                         .cpu_priority = options_.cpu_priority});
}

}  // namespace godwit::engine
