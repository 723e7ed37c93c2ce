#include <sys/random.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"
#include "godwit/engine/target_session.h"
#include "godwit/wire/negotiate.h"

#include "link/figures_codec.h"
#include "link/frame_channel.h"
#include "link/greeter.h"
#include "machine/target_machine.h"
#include "target/threads.h"

namespace godwit::engine {
namespace {

constexpr std::size_t kControlReadAhead = 8192;
constexpr std::int64_t kHelloNs = 2'000'000'000;
constexpr std::int64_t kFlushNs = 1'000'000'000;

}  // namespace

// The control thread. It accepts channels until all are open, runs the machine
// (target_machine.h) on what the source says, and loads and starts the guest. Pages and faults are
// other threads' (target_threads.h).
class TargetSession::Impl {
 public:
  Impl(TargetHost& host, Listener& listener, Transport& transport, TargetOptions options)
      : host_(host), listener_(listener), transport_(transport), options_(std::move(options)) {}
  ~Impl() {
    abandon();
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  void start() {
    auto thread = try_start_thread("godwit-control", ThreadRole::kUrgent, [this] { run(); });
    if (!thread) {
      note_error(thread.error(), "target");
      push(TargetEvent::kLocalError);
      fire_all();
      finish();
      return;
    }
    thread_ = std::move(*thread);
  }
  TargetState wait() {
    if (thread_.joinable()) {
      thread_.join();
    }
    return state();
  }
  [[nodiscard]] bool ended() const { return ended_.load(std::memory_order_acquire); }
  [[nodiscard]] TargetState state() const { return state_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t missing_pages() const {
    // acquire: pairs with the release in accept_description(), after which plane_ stays.
    return described_.load(std::memory_order_acquire) ? plane_->states().absent_pages() : 0;
  }
  [[nodiscard]] std::optional<EndError> error() const { return ended() ? error_ : std::nullopt; }
  [[nodiscard]] const TargetTrace& trace() const { return trace_; }
  [[nodiscard]] TargetGuest* guest() const {
    return described_.load(std::memory_order_acquire) ? machine_parts_.guest.get() : nullptr;
  }
  std::unique_ptr<TargetGuest> take_guest() { return std::move(machine_parts_.guest); }
  void abandon() {
    abandoned_.store(true, std::memory_order_release);
    {
      const std::lock_guard lock(mutex_);
      if (loop_ != nullptr) {
        loop_->wake();
      }
    }
    if (ended() && machine_parts_.faults) {
      stop_threads();
      [[maybe_unused]] const auto disarmed = machine_parts_.faults->disarm();
    }
  }

 private:
  void run() {
    auto loop = transport_.make_loop();
    if (!loop) {
      note_error(loop.error(), "target");
      push(TargetEvent::kLocalError);
    } else {
      const std::lock_guard lock(mutex_);
      loop_ = std::move(*loop);
    }
    if (loop_) {
      watch_listener();
    }
    progress_ns_ = monotonic_ns();
    while (true) {
      take_greeted();
      take_notes();
      fire_all();
      if (machine_.ended()) {
        break;
      }
      look_around();
      if (!events_.empty()) {
        continue;
      }
      if (auto ran = loop_->run_once(deadline()); !ran) {
        note_error(ran.error(), "target");
        push(TargetEvent::kLocalError);
      }
    }
    finish();
  }

  [[nodiscard]] bool timed() const {
    const auto state = machine_.state();
    return state != TargetState::kListening && state != TargetState::kRunning &&
           state != TargetState::kReady;
  }
  [[nodiscard]] Deadline deadline() const {
    return timed() ? Deadline{last_progress() + options_.timeout_ns + 1} : Deadline::never();
  }
  [[nodiscard]] std::int64_t last_progress() const { return progress_ns_; }

  void look_around() {
    if (abandoned_.load(std::memory_order_acquire)) {
      note_error(make_error(ErrorCode::kCancelled, "stop", "the target was told to stop"),
                 "target");
      push(TargetEvent::kLocalError);
      return;
    }
    // Progress of the bulk channel is read only when the time has come, so that its thread stamps
    // nothing a page.
    if (timed() && monotonic_ns() - last_progress() > options_.timeout_ns) {
      const auto received = bulk_received();
      if (received != seen_bulk_bytes_) {
        seen_bulk_bytes_ = received;
        progress_ns_ = monotonic_ns();
        return;
      }
      note_error(make_error(ErrorCode::kTimeout,
                            "deadline",
                            fmt::format("no progress for {} ms in phase {}",
                                        options_.timeout_ns / 1'000'000,
                                        to_string(machine_.state()))),
                 "target");
      push(TargetEvent::kTimeout);
    }
  }

  [[nodiscard]] std::uint64_t bulk_received() const {
    std::uint64_t sum = 0;
    for (const auto& lane : lanes_) {
      sum += lane->bytes_received();
    }
    return sum;
  }

  void push(TargetEvent event) { events_.push_back(event); }

  void note_error(const Error& error, const char* side) {
    if (!error_) {
      error_ = EndError{error, side, std::string(to_string(machine_.state()))};
      log_error("target: {} in phase {}", error.message(), to_string(machine_.state()));
    }
  }

  void fire(TargetEvent event) {
    const auto before = machine_.state();
    const auto* transition = machine_.on(event);
    if (transition == nullptr) {
      const bool from_peer = event == TargetEvent::kFinalSync || event == TargetEvent::kCommit ||
                             event == TargetEvent::kHello || event == TargetEvent::kDescribed;
      if (from_peer) {
        note_error(
            make_error(
                ErrorCode::kProtocol,
                "message",
                fmt::format("{} is not legal in phase {}", to_string(event), to_string(before))),
            "target");
        push(TargetEvent::kLocalError);
      }
      return;
    }
    state_.store(machine_.state(), std::memory_order_release);
    log_debug(
        "target: {} + {} -> {}", to_string(before), to_string(event), to_string(machine_.state()));
    progress_ns_ = monotonic_ns();
    const bool nobody_came = before == TargetState::kListening && machine_.ended();
    if (machine_.state() != before && !nobody_came) {
      trace_.states.push_back({to_string(machine_.state()), progress_ns_});
    }
    perform(transition->actions);
  }

  void fire_all() {
    while (!events_.empty() && !machine_.ended()) {
      const auto event = events_.front();
      events_.pop_front();
      fire(event);
    }
  }

  void perform(std::uint32_t actions) {
    if ((actions & kTgtWelcome) != 0) {
      control_->send(wire::MessageType::kWelcome, welcome_);
    }
    if ((actions & kTgtAccept) != 0) {
      control_->send(wire::MessageType::kAccept,
                     wire::Accept{static_cast<std::uint64_t>(machine_parts_.prealloc_ns),
                                  machine_parts_.placer->placing() == Placing::kMaps,
                                  machine_parts_.placer->name()});
    }
    if ((actions & kTgtRefuse) != 0) {
      control_->send(wire::MessageType::kRefuse,
                     wire::Refuse{error_->error.code,
                                  static_cast<std::uint16_t>(TargetState::kNegotiating),
                                  error_->error.message()});
    }
    if ((actions & kTgtLoad) != 0) {
      load();
    }
    if ((actions & kTgtSendReady) != 0) {
      control_->send(wire::MessageType::kReady, wire::Ready{});
    }
    if ((actions & kTgtRun) != 0) {
      run_guest();
    }
    if ((actions & kTgtComplete) != 0) {
      complete();
    }
    if ((actions & kTgtAckCancel) != 0) {
      control_->send(wire::MessageType::kCancelAck, wire::CancelAck{});
    }
    if ((actions & kTgtSendAbort) != 0 && control_ && !control_->broken() && error_) {
      control_->send(wire::MessageType::kAbort,
                     wire::Abort{error_->error.code,
                                 static_cast<std::uint16_t>(phase_before_end_),
                                 error_->error.message()});
    }
    if ((actions & kTgtHold) != 0) {
      log_error("target: holding: memory is kept; the guest {}",
                machine_.state() == TargetState::kSuspended ? "runs on what it has" : "waits");
    }
    phase_before_end_ = machine_.state();
  }

  // ------------------------------------------------------------------------------------- accepting
  void watch_listener() {
    if (auto watched = loop_->watch(listener_.fd(), [this] { accept_one(); }); !watched) {
      note_error(watched.error(), "target");
      push(TargetEvent::kLocalError);
    }
    listening_ = true;
  }
  void stop_listening() {
    if (listening_) {
      loop_->unwatch(listener_.fd());
      listening_ = false;
    }
  }

  /// Takes one connection. Its first frame says what it is; the greeter waits for it.
  void accept_one() {
    auto accepted = listener_.accept();
    if (!accepted) {
      log_warn("target: a connection could not be accepted: {}", accepted.error().message());
      return;
    }
    if (*accepted) {
      greeter_.add(std::move(*accepted));
    }
  }

  void take_greeted() {
    for (auto& greeted : greeter_.take()) {
      if (auto taken = take_channel(std::move(greeted.channel), greeted.hello); !taken) {
        log_warn("target: a connection was turned away: {}", taken.error().message());
      }
    }
  }

  Status take_channel(std::unique_ptr<Channel> channel, const wire::Hello& hello) {
    static constexpr std::uint16_t kVersions[] = {wire::kProtocolVersion};
    auto welcome = wire::negotiate(hello, kVersions, wire::kKnownFeatures, 0);
    if (!welcome) {
      refuse_stranger(*channel, welcome.error());
      return fail(welcome.error());
    }
    const bool first = hello.channel_kind == wire::ChannelKind::kControl;
    const bool legal = first ? !control_
                             : (control_ && machine_.state() == TargetState::kSetup &&
                                hello.session_id == welcome_.session_id &&
                                hello.session_epoch == welcome_.session_epoch);
    if (!legal || hello.role != wire::Role::kSource) {
      const auto error = make_error(ErrorCode::kRefused,
                                    "hello",
                                    first ? "this target has a migration already"
                                          : "the channel belongs to no session that waits for one");
      refuse_stranger(*channel, error);
      return fail(error);
    }
    if (first) {
      return take_control(std::move(channel), *welcome);
    }
    return take_data(std::move(channel), hello);
  }

  Status take_control(std::unique_ptr<Channel> channel, const wire::Welcome& negotiated) {
    listener_.tune(*channel, ChannelKind::kControl);
    welcome_ = negotiated;
    welcome_.session_epoch = 1;
    if (::getrandom(welcome_.session_id.data(), welcome_.session_id.size(), 0) !=
        static_cast<ssize_t>(welcome_.session_id.size())) {
      return fail_errno(errno, "getrandom");
    }
    control_ = std::make_unique<FrameChannel>(
        std::move(channel), wire::kMaxStateBody, kControlReadAhead, 1);
    control_->agree(welcome_);
    control_->set_epoch(welcome_.session_epoch);
    GODWIT_TRY(control_->attach(
        *loop_,
        {.on_frame = [this](const wire::FrameView& frame) { return on_control(frame); },
         .on_sent = nullptr,
         .on_error = [this](const Error& error) { on_link_error(error); }}));
    push(TargetEvent::kHello);
    return {};
  }

  Status take_data(std::unique_ptr<Channel> channel, const wire::Hello& hello) {
    const bool bulk = hello.channel_kind == wire::ChannelKind::kBulk;
    const std::uint32_t index = hello.channel_index;
    std::optional<Error> error;
    if (index >= (bulk ? bulk_channels_.size() : 1)) {
      error = make_error(ErrorCode::kRefused,
                         "hello",
                         fmt::format("channel {} is more than were described", index));
    } else if (bulk ? (bulk_channels_[index] != nullptr || !lanes_.empty()) : urgent_ != nullptr) {
      error = make_error(ErrorCode::kRefused, "hello", "this channel is open already");
    }
    if (error) {
      refuse_stranger(*channel, *error);
      return fail(*error);
    }
    listener_.tune(*channel, static_cast<ChannelKind>(hello.channel_kind));
    progress_ns_ = monotonic_ns();
    auto opened = bulk ? open_bulk(std::move(channel), index) : open_urgent(std::move(channel));
    if (!opened) {
      // Not the peer's fault: it is told at once, and does not wait for the deadline.
      note_error(opened.error(), "target");
      push(TargetEvent::kLocalError);
    }
    return opened;
  }

  Status open_bulk(std::unique_ptr<Channel> channel, std::uint32_t index) {
    bulk_channels_[index] = std::move(channel);
    // The lanes start, and answer, when all their channels are here.
    return std::ranges::all_of(bulk_channels_, [](const auto& one) { return one != nullptr; })
               ? start_lanes()
               : Status{};
  }

  Status open_urgent(std::unique_ptr<Channel> channel) {
    urgent_ = std::make_unique<TargetUrgent>(*plane_,
                                             machine_parts_.faults.get(),
                                             transport_,
                                             std::move(channel),
                                             welcome_,
                                             notes(),
                                             options_.trace_faults);
    return urgent_->start();
  }

  TargetNotes notes() {
    return {.failed = [this](const Error& error) { note_from_thread(error); },
            .opened = [this] { count_opened(); },
            .progressed = [this] { wake(); }};
  }

  Status start_lanes() {
    const auto channels = static_cast<std::uint32_t>(bulk_channels_.size());
    const auto lanes = target_lanes(channels);
    for (std::uint32_t i = 0; i < lanes; ++i) {
      GODWIT_TRY_ASSIGN(auto loop, transport_.make_loop());
      lanes_.push_back(std::make_unique<TargetBulk>(
          *plane_,
          std::move(loop),
          welcome_,
          notes(),
          TargetBulk::Options{
              .channels = channels, .sweeps = i == 0, .trace_faults = options_.trace_faults}));
    }
    for (std::uint32_t i = 0; i < channels; ++i) {
      GODWIT_TRY(lanes_[i % lanes]->add_channel(std::move(bulk_channels_[i]), i));
    }
    for (auto& lane : lanes_) {
      GODWIT_TRY(lane->start());
    }
    return {};
  }

  // -------------------------------------------------------------------------- notes of the threads
  void wake() {
    const std::lock_guard lock(mutex_);
    if (loop_ != nullptr) {
      loop_->wake();
    }
  }
  void note_from_thread(const Error& error) {
    {
      const std::lock_guard lock(mutex_);
      if (!thread_error_) {
        thread_error_ = error;
      }
    }
    wake();
  }
  void count_opened() {
    opened_.fetch_add(1, std::memory_order_release);
    wake();
  }
  [[nodiscard]] bool all_open() const {
    // acquire: pairs with count_opened().
    return !lanes_.empty() && urgent_ &&
           opened_.load(std::memory_order_acquire) == static_cast<int>(lanes_.size()) + 1;
  }
  void take_notes() {
    if (machine_.state() == TargetState::kSetup && all_open()) {
      stop_listening();
      push(TargetEvent::kChannelsOpen);
    }
    if (machine_.state() == TargetState::kRunning && plane_->states().absent_pages() == 0) {
      push(TargetEvent::kAllPresent);
      return;  // a link that closes after the last page is no failure
    }
    std::optional<Error> error;
    {
      const std::lock_guard lock(mutex_);
      error.swap(thread_error_);
    }
    if (error) {
      const bool link = error->code == ErrorCode::kClosed || error->code == ErrorCode::kIo;
      note_error(*error, "target");
      push(link ? TargetEvent::kLinkLost : TargetEvent::kLocalError);
    }
  }

  void on_link_error(const Error& error) {
    if (machine_.state() == TargetState::kCompleted) {
      return;
    }
    if (machine_.state() == TargetState::kRunning && plane_->states().absent_pages() == 0) {
      push(TargetEvent::kAllPresent);
      return;  // a link that closes after the last page is no failure
    }
    note_error(error, "target");
    push(error.code == ErrorCode::kClosed || error.code == ErrorCode::kIo
             ? TargetEvent::kLinkLost
             : TargetEvent::kLocalError);
  }

  // -------------------------------------------------------------------------------------- messages
  Status on_control(const wire::FrameView& frame) {
    progress_ns_ = monotonic_ns();
    using wire::MessageType;
    switch (frame.header.type) {
      case MessageType::kDescribe: {
        GODWIT_TRY_ASSIGN(auto describe, wire::decode_describe(frame.body));
        if (machine_.state() != TargetState::kNegotiating ||
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
        // All lanes counted themselves open before they answered the source, which waits for every
        // answer.
        take_notes();
        fire_all();
        if (machine_.state() != TargetState::kReceiving) {
          return fail(ErrorCode::kProtocol, "final sync", "out of place");
        }
        return final_sync(sync);
      }
      case MessageType::kState: {
        GODWIT_TRY_ASSIGN(auto state, wire::decode_state(frame.body));
        if (!plane_ || !plane_->switched()) {
          return fail(ErrorCode::kProtocol, "state", "machine state before the final sync");
        }
        sections_ = from_wire(std::move(state.sections));
        push(TargetEvent::kFinalSync);
        return {};
      }
      case MessageType::kCommit:
        if (frame.header.epoch != welcome_.session_epoch) {
          return fail(ErrorCode::kProtocol, "commit", "COMMIT of another epoch");
        }
        push(TargetEvent::kCommit);
        return {};
      case MessageType::kCancel: {
        GODWIT_TRY_ASSIGN(auto cancel, wire::decode_cancel(frame.body));
        if (!error_) {
          error_ = EndError{make_error(ErrorCode::kCancelled, "source", cancel.text),
                            "source",
                            std::string(to_string(machine_.state()))};
        }
        push(TargetEvent::kCancel);
        return {};
      }
      case MessageType::kAbort: {
        GODWIT_TRY_ASSIGN(auto abort, wire::decode_abort(frame.body));
        note_error(make_error(abort.code, "source", abort.text), "source");
        push(TargetEvent::kPeerAbort);
        return {};
      }
      case MessageType::kFinish:
        finished_ = true;
        return {};
      default:
        return fail(ErrorCode::kProtocol, "control channel", "a message that does not belong here");
    }
  }

  void accept_description(wire::Describe describe) {
    MachineDescription description;
    std::vector<std::uint64_t> pages;
    for (const auto& region : describe.regions) {
      description.regions.push_back({region.gpa, region.page_count});
      pages.push_back(region.page_count);
    }
    description.vcpus = describe.vcpus;
    description.kind = describe.kind;
    description.config = from_wire(std::move(describe.config));
    auto created = create_machine(description, describe);
    if (!created) {
      note_error(created.error(), "target");
      machine_parts_ = {};
      push(TargetEvent::kRefused);
      return;
    }
    push(TargetEvent::kDescribed);
  }

  Status create_machine(const MachineDescription& description, const wire::Describe& describe) {
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
    bulk_channels_.resize(describe.bulk_channels);
    const auto block = machine_parts_.faults ? machine_parts_.faults->block_pages() : 1;
    GODWIT_TRY_ASSIGN(auto states,
                      PageStates::create(pages, machine_parts_.placer->placing(), block));
    plane_ = std::make_unique<TargetPlane>(machine_parts_, std::move(states), options_.injection);
    if (machine_parts_.faults) {
      GODWIT_TRY(machine_parts_.faults->arm());
    }
    described_.store(true, std::memory_order_release);
    return {};
  }

  Status final_sync(const wire::FinalSync& sync) {
    auto& states = plane_->states();
    if (states.absent_pages() != sync.pending_pages || states.absent_hash() != sync.pending_hash) {
      return fail(ErrorCode::kProtocol,
                  "final sync",
                  fmt::format("the source has {} pages to send, the target misses {}",
                              sync.pending_pages,
                              states.absent_pages()));
    }
    if (!machine_parts_.faults && sync.pending_pages != 0) {
      return fail(ErrorCode::kProtocol,
                  "final sync",
                  "pages are to follow, though the description said that none would");
    }
    plane_->switch_over();
    for (auto& lane : lanes_) {
      lane->wake();  // one of them maps what is valid from now on
    }
    return {};
  }

  // --------------------------------------------------------------------------------------- running
  void load() {
    trace_.load_began_ns = monotonic_ns();
    auto loaded = machine_parts_.guest->load_state(sections_);
    trace_.load_ended_ns = monotonic_ns();
    if (!loaded) {
      note_error(loaded.error(), "target");
      push(TargetEvent::kLoadFailed);
      return;
    }
    push(TargetEvent::kLoaded);
  }

  void run_guest() {
    trace_.run_began_ns = monotonic_ns();
    if (auto running = machine_parts_.guest->run(); !running) {
      note_error(running.error(), "target");
      push(TargetEvent::kLocalError);
      return;
    }
    trace_.run_ended_ns = monotonic_ns();
    control_->send(
        wire::MessageType::kRunning,
        wire::Running{
            static_cast<std::uint64_t>(load_ns()), static_cast<std::uint64_t>(resume_ns()), 0});
  }

  [[nodiscard]] std::int64_t load_ns() const { return trace_.load_ended_ns - trace_.load_began_ns; }
  [[nodiscard]] std::int64_t resume_ns() const { return trace_.run_ended_ns - trace_.run_began_ns; }

  void complete() {
    // The connections stay open until the source has heard of it: closing them first would look
    // like a lost link.
    stop_threads();
    if (machine_parts_.faults) {
      if (auto disarmed = machine_parts_.faults->disarm(); !disarmed) {
        log_warn("target: userfaultfd could not be unregistered: {}", disarmed.error().message());
      }
      // The memory goes to others now: nothing of ours may touch its registration again.
      machine_parts_.faults.reset();
    }
    TargetFigures figures;
    figures.faults = latencies_;
    figures.installed = plane_->installed_after_switch();
    figures.overtaken = plane_->overtaken();
    figures.scheduling_degraded = scheduling_degraded();
    figures.retracted = plane_->retracted();
    figures.retracted_at_switch = plane_->retracted_at_switch();
    figures.cpu_ns = process_cpu_ns();
    trace_.first_run_ns = machine_parts_.guest->run_edge().first_ns;
    figures.first_run_ns = trace_.first_run_ns;
    figures.run_ended_ns = trace_.run_ended_ns;
    figures.load_ns = load_ns();
    figures.resume_ns = resume_ns();
    figures.prealloc_ns = machine_parts_.prealloc_ns;
    figures.placement = machine_parts_.placer->name();
    figures.boot_id = boot_id();
    control_->send(wire::MessageType::kComplete, wire::Complete{encode_figures(figures)});
  }

  void stop_threads() {
    if (urgent_) {
      urgent_->stop();
      take_log(urgent_->log());
    }
    for (auto& lane : lanes_) {
      lane->stop();
      take_log(lane->log());
    }
  }

  void take_log(const FaultLog& log) {
    latencies_.merge(log.latencies());
    kept_faults_.push_back(log.kept());
  }

  /// After the last message: nobody waits for it. Requires: stop_threads(), and the threads' logs.
  void trace_faults() {
    for (const auto& kept : kept_faults_) {
      trace_.faults.insert(trace_.faults.end(), kept.begin(), kept.end());
    }
    keep_earliest(trace_.faults, options_.trace_faults);
    trace_.faults_dropped = latencies_.count() - trace_.faults.size();
  }

  void close_channels() {
    urgent_.reset();
    lanes_.clear();
    bulk_channels_.clear();
  }

  // --------------------------------------------------------------------------------------- the end
  void finish() {
    trace_.ended_ns = monotonic_ns();
    const bool completed = machine_.state() == TargetState::kCompleted;
    const auto flush = Deadline::after_ns(kFlushNs);
    const auto pending = [&] { return !control_->idle() || (completed && !finished_); };
    while (control_ && !control_->broken() && pending() && !flush.passed()) {
      if (!loop_->run_once(flush)) {
        break;
      }
    }
    if (loop_) {
      stop_listening();
    }
    const bool held =
        machine_.state() == TargetState::kSuspended || machine_.state() == TargetState::kInDoubt;
    if (held && urgent_) {
      // The link is gone, the fault service stays: pages that are here are still mapped when the
      // guest touches them.
      for (auto& lane : lanes_) {
        lane->shut_down();
      }
      urgent_->shut_down();
    } else {
      if (!completed) {
        stop_threads();
        if (machine_parts_.faults) {
          [[maybe_unused]] const auto disarmed = machine_parts_.faults->disarm();
        }
      }
      trace_faults();
      close_channels();
    }
    {
      const std::lock_guard lock(mutex_);
      control_.reset();
      loop_.reset();
    }
    ended_.store(true, std::memory_order_release);
  }

  TargetHost& host_;
  Listener& listener_;
  Transport& transport_;
  const TargetOptions options_;
  TargetMachine machine_;
  std::deque<TargetEvent> events_;
  wire::Welcome welcome_;
  TargetHost::Machine machine_parts_;
  std::unique_ptr<TargetPlane> plane_;
  std::vector<StateSection> sections_;
  Histogram latencies_;
  std::vector<std::span<const TraceFault>> kept_faults_;  ///< of the threads' logs
  std::optional<EndError> error_;
  TargetState phase_before_end_ = TargetState::kListening;
  bool finished_ = false;
  bool listening_ = false;
  std::uint64_t seen_bulk_bytes_ = 0;
  std::int64_t progress_ns_ = 0;
  TargetTrace trace_;

  // Guards thread_error_, and the lifetime of loop_ against wake(); never taken on the page path.
  std::mutex mutex_;
  std::unique_ptr<EventLoop> loop_;
  std::optional<Error> thread_error_;
  std::unique_ptr<FrameChannel> control_;
  std::vector<std::unique_ptr<Channel>> bulk_channels_;  // by index, until the lanes start
  std::vector<std::unique_ptr<TargetBulk>> lanes_;
  std::unique_ptr<TargetUrgent> urgent_;

  std::atomic<TargetState> state_{TargetState::kListening};
  std::atomic<bool> ended_{false};
  std::atomic<bool> described_{false};
  std::atomic<bool> abandoned_{false};
  std::atomic<int> opened_{0};
  Greeter greeter_{std::min(kHelloNs, options_.timeout_ns), [this] { wake(); }};
  std::jthread thread_;
};

TargetSession::TargetSession(TargetHost& host,
                             Listener& listener,
                             Transport& transport,
                             TargetOptions options)
    : impl_(std::make_unique<Impl>(host, listener, transport, std::move(options))) {}
TargetSession::~TargetSession() = default;
void TargetSession::start() {
  impl_->start();
}
TargetState TargetSession::wait() {
  return impl_->wait();
}
bool TargetSession::ended() const {
  return impl_->ended();
}
TargetState TargetSession::state() const {
  return impl_->state();
}
std::uint64_t TargetSession::missing_pages() const {
  return impl_->missing_pages();
}
std::optional<EndError> TargetSession::error() const {
  return impl_->error();
}
const TargetTrace& TargetSession::trace() const {
  return impl_->trace();
}
TargetGuest* TargetSession::guest() const {
  return impl_->guest();
}
std::unique_ptr<TargetGuest> TargetSession::take_guest() {
  return impl_->take_guest();
}
void TargetSession::abandon() {
  impl_->abandon();
}

}  // namespace godwit::engine
