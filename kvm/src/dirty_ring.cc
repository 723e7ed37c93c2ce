#include "godwit/kvm/dirty_ring.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>

#include <boost/lockfree/spsc_queue.hpp>
#include <fmt/format.h>

#include "godwit/base/log.h"
#include "godwit/base/thread.h"
#include "godwit/base/units.h"

#include "armed_slots.h"
#include "dirty_rings.h"
#include "uapi.h"

// Which pages did the vCPUs write since the last sync? Order is correctness.
//
// While a slot logs, its pages are write-protected (or the processor records their first write). A
// first write puts an entry into the ring of the vCPU that wrote, and makes the page writable. The
// page *stays* writable until a KVM_RESET_DIRTY_RINGS has covered that entry. So the reaper
//
//   1. copies the entries and hands their places back,
//   2. resets: on return the pages are armed again,
//   3. only then publishes records of them.
//
// Were 3 before 2, the engine could read a page between them while the guest still writes it
// without a trace: that write is lost. This way a write before 2 is in what the engine reads, and a
// write after 2 gives a new entry. Who only sees published records can never see one too early.
//
// The handshake of sync(). "Every write that ended before the call is marked on return" has two
// halves. First, the write must be in a ring. It may not be yet: a processor with page-modification
// logging keeps entries to itself until the vCPU leaves the guest, and a vCPU that has just made a
// page writable for all may still be on its way to the ring. Both end when the vCPU leaves
// KVM_RUN, so sync() makes all vCPUs leave once (a paused one has left). Second, the ring must be
// emptied: sync() takes a ticket from `asked_`, and waits until `served_` has reached it. The
// reaper reads `asked_` *before* it looks at the first ring and stores that value to `served_`
// *after* the last record, so a ticket is served by a pass that began after it was taken. A pass
// takes at most one ring's length of entries from each ring: all that were there when it began, and
// it ends however fast the guest writes.
//
// A vCPU whose ring is full waits by the same handshake; there is no other way for it to go on. The
// reaper waits for nobody, so neither sync(), which waits for vCPUs to be outside the guest (those
// that wait for a reset are), nor a pause can lock up with it.
//
// The records go through a bounded queue of one producer and one consumer to the migration thread;
// sync() moves them to the sink. When the queue is full the reaper marks the sink itself, which is
// legal from any thread: nothing is dropped and nobody waits.
//
// When the reaper looks by itself. Every reset arms pages again, and each costs the guest a fault
// more for a page that is marked already: to empty the rings as often as possible would be the
// slowest way. To wait until one is full stops a vCPU. So it looks every few milliseconds whether a
// ring is half full, which is one load a ring, and empties only that one.
//
// Ending: first the slots stop logging. The kernel returns from that when nobody uses the logging
// slots any more, so nothing enters a ring afterwards. Then the reaper makes a last pass over all
// rings and leaves: the rings are empty, no vCPU is stopped by a full one while nobody looks, and
// the next start() finds nothing old.

namespace godwit::kvm {
namespace {

constexpr int kLookIntervalMs = 5;
/// Entries that are reset and published in one go.
constexpr std::size_t kBatchEntries = 16384;
/// Holds what a busy guest dirties between two syncs, or some of it; the rest is marked directly.
constexpr std::size_t kQueueRecords = 4096;

struct Record {
  RegionIndex region = 0;
  std::uint64_t word = 0;
  std::uint64_t mask = 0;
};

/// The capability to ask for; 0 = none.
int ring_capability(const System& system) {
  for (const int capability : {KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING}) {
    if (system.extension(capability) > 0) {
      return capability;
    }
  }
  return 0;
}

}  // namespace

/// The rings of all vCPUs.
class DirtyRing::Rings : public std::vector<VcpuRing> {};

/// What the reaper has in its hands, and the way to the migration thread.
struct DirtyRing::Reaped {
  std::vector<Memslot> slots;  ///< the machine's, as far as entries have named them
  std::vector<PageId> pages;   ///< taken and not reset
  std::uint64_t taken = 0;     ///< entries not reset, those of unknown pages included
  boost::lockfree::spsc_queue<Record, boost::lockfree::capacity<kQueueRecords>> queue;
};

std::string dirty_ring_unusable_reason(const System& system) {
  if (ring_capability(system) == 0) {
    return "this host's KVM has no dirty rings (KVM_CAP_DIRTY_LOG_RING, Linux 5.11)";
  }
  return {};
}

Status DirtyRing::enable(const System& system, Vm& vm, std::uint32_t entries) {
  if (auto why = dirty_ring_unusable_reason(system); !why.empty()) {
    return fail(ErrorCode::kUnsupported, "dirty ring", std::move(why));
  }
  return vm.enable_dirty_rings(ring_capability(system), entries);
}

Result<std::unique_ptr<DirtyRing>> DirtyRing::create(Vm& vm,
                                                     std::span<const Vcpu> vcpus,
                                                     LeaveGuest leave_guest,
                                                     engine::PopulatedScan* populated) {
  // The kernel would map a ring that is not there, and let the first access die.
  if (vm.dirty_ring_entries() == 0) {
    return fail(ErrorCode::kState, "dirty ring", "was not enabled before the vCPUs were made");
  }
  auto rings = std::make_unique<Rings>();
  for (const auto& vcpu : vcpus) {
    GODWIT_TRY_ASSIGN(auto ring, VcpuRing::map(vcpu, vm.dirty_ring_entries()));
    rings->push_back(std::move(ring));
  }
  GODWIT_TRY_ASSIGN(auto wake, EventFd::create());
  return std::unique_ptr<DirtyRing>(
      new DirtyRing(vm, std::move(rings), std::move(leave_guest), populated, std::move(wake)));
}

DirtyRing::DirtyRing(Vm& vm,
                     std::unique_ptr<Rings> rings,
                     LeaveGuest leave_guest,
                     engine::PopulatedScan* populated,
                     EventFd wake)
    : vm_(vm),
      rings_(std::move(rings)),
      reaped_(std::make_unique<Reaped>()),
      slots_(std::make_unique<ArmedSlots>(vm, populated)),
      leave_guest_(std::move(leave_guest)),
      wake_(std::move(wake)) {
  reaped_->pages.reserve(kBatchEntries);
}

DirtyRing::~DirtyRing() {
  stop();
}

// -------------------------------------------------------------------------------------- the reaper

void DirtyRing::reap() {
  // A reset is left early when a signal waits: signals are for other threads.
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  for (bool over = false; !over;) {
    pollfd woken{wake_.fd(), POLLIN, 0};
    const int ready = ::poll(&woken, 1, kLookIntervalMs);
    if (ready > 0) {
      wake_.clear();
    }
    // acquire: pairs with the release in stop(); the slots have ceased to log by then.
    over = ending_.load(std::memory_order_acquire);
    // acquire: pairs with the release in wait_for_pass(); read before the pass looks at any ring.
    const auto ticket = asked_.load(std::memory_order_acquire);
    // relaxed: only this thread writes it while it runs.
    const bool asked = over || ticket != served_.load(std::memory_order_relaxed);
    if (auto done = pass(asked); !done) {
      note_failure(std::move(done.error()));
      // release: pairs with the acquire in wait_reset().
      stuck_.store(true, std::memory_order_release);
      over = true;
    }
    // release: pairs with the acquire in wait_for_pass(): who is served sees all records. Whoever
    // asks later than the last pass finds empty rings and need not wait.
    served_.store(over ? UINT64_MAX : ticket, std::memory_order_release);
    served_.notify_all();
  }
}

Status DirtyRing::pass(bool all) {
  for (auto& ring : *rings_) {
    if (!all && !ring.half_full()) {
      continue;
    }
    for (std::uint32_t left = ring.entries(); left > 0; --left) {
      const auto entry = ring.take();
      if (!entry) {
        break;
      }
      ++reaped_->taken;
      // The upper half of the slot is an address space; this machine has only number 0.
      auto& slots = reaped_->slots;
      for (auto next = slots.size(); next <= entry->slot && next < vm_.memslot_count(); ++next) {
        slots.push_back(vm_.memslot(static_cast<std::uint32_t>(next)));
      }
      if (entry->slot < slots.size() && entry->offset < slots[entry->slot].page_count) {
        const auto& slot = slots[entry->slot];
        reaped_->pages.push_back({slot.region, slot.first_page + entry->offset});
      } else {
        note_failure(make_error(ErrorCode::kInternal,
                                "dirty ring",
                                fmt::format("the kernel names page {} of slot {:#x}, which this "
                                            "machine does not have",
                                            entry->offset,
                                            entry->slot)));
      }
      if (reaped_->taken == kBatchEntries) {
        GODWIT_TRY(reset_and_publish());
      }
    }
  }
  return reset_and_publish();
}

Status DirtyRing::reset_and_publish() {
  if (reaped_->taken > 0) {
    GODWIT_TRY(reset_rings(vm_, reaped_->taken));
    // relaxed: a figure.
    entries_.fetch_add(std::exchange(reaped_->taken, 0), std::memory_order_relaxed);
    publish();
  }
  return {};
}

void DirtyRing::publish() {
  const auto& pages = reaped_->pages;
  for (std::size_t i = 0; i < pages.size();) {
    Record record{pages[i].region, pages[i].index / 64, 0};
    for (;
         i < pages.size() && pages[i].region == record.region && pages[i].index / 64 == record.word;
         ++i) {
      record.mask |= 1ULL << (pages[i].index % 64);
    }
    if (!reaped_->queue.push(record)) {
      overflows_.fetch_add(1, std::memory_order_relaxed);  // a figure
      sink_->mark(record.region, record.word, record.mask);
    }
  }
  reaped_->pages.clear();
}

void DirtyRing::note_failure(Error error) {
  // relaxed: only this thread writes it. The first failure is the one that is told.
  if (!failed_.load(std::memory_order_relaxed)) {
    failure_ = std::move(error);
    // release: pairs with the acquire in sync() and wait_reset().
    failed_.store(true, std::memory_order_release);
  }
}

// -------------------------------------------------------------- the migration thread and the vCPUs

Status DirtyRing::start(engine::DirtySink& sink) {
  if (reaper_.joinable()) {
    return fail(ErrorCode::kState, "dirty ring", "has been started already");
  }
  sink_ = &sink;
  // relaxed, all four: starting the thread orders them for the reaper. Every ticket that was taken
  // before is served by now; no vCPU takes one before a slot logs.
  ending_.store(false, std::memory_order_relaxed);
  failed_.store(false, std::memory_order_relaxed);
  stuck_.store(false, std::memory_order_relaxed);
  served_.store(asked_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  // The reaper first: a ring may fill up as soon as a slot logs.
  GODWIT_TRY_ASSIGN(reaper_,
                    try_start_thread("dirty-reaper", ThreadRole::kUrgent, [this] { reap(); }));
  auto on = slots_->start();
  if (!on) {
    stop();
  }
  return on;
}

Status DirtyRing::sync() {
  if (!reaper_.joinable()) {
    return fail(ErrorCode::kState, "dirty ring", "has not been started");
  }
  if (leave_guest_) {
    leave_guest_();
  }
  wait_for_pass();
  drain_queue();
  GODWIT_TRY(slots_->catch_up(*sink_));
  // acquire: pairs with the release in note_failure(): who sees the flag sees the failure.
  if (failed_.load(std::memory_order_acquire)) {
    return fail(failure_);
  }
  return {};
}

void DirtyRing::stop() {
  if (!reaper_.joinable()) {
    return;
  }
  // A slot that goes on logging costs speed until its vCPU's ring is full; that vCPU then fails
  // with the reason. The kernel has no cause to refuse what it accepted before.
  if (auto off = slots_->stop(); !off) {
    log_warn("dirty ring: a slot cannot stop logging: {}", off.error().message());
  }
  // release: pairs with the acquire in reap().
  ending_.store(true, std::memory_order_release);
  wake_.signal();
  reaper_.join();
  drain_queue();
  sink_ = nullptr;
}

Status DirtyRing::wait_reset() {
  full_waits_.fetch_add(1, std::memory_order_relaxed);  // a figure
  wait_for_pass();
  // acquire: pairs with the release in reap().
  if (stuck_.load(std::memory_order_acquire)) {
    return fail(failure_);
  }
  return {};
}

void DirtyRing::wait_for_pass() {
  // release: pairs with the acquire in reap(): the pass that serves it began after this.
  const auto ticket = asked_.fetch_add(1, std::memory_order_release) + 1;
  wake_.signal();
  // acquire, also in wait(): pairs with the release in reap().
  for (auto served = served_.load(std::memory_order_acquire); served < ticket;
       served = served_.load(std::memory_order_acquire)) {
    served_.wait(served, std::memory_order_acquire);
  }
}

void DirtyRing::drain_queue() {
  reaped_->queue.consume_all(
      [this](const Record& record) { sink_->mark(record.region, record.word, record.mask); });
}

DirtyRing::Figures DirtyRing::figures() const {
  // relaxed: figures of one moment each.
  return {entries_.load(std::memory_order_relaxed),
          full_waits_.load(std::memory_order_relaxed),
          overflows_.load(std::memory_order_relaxed)};
}

}  // namespace godwit::kvm
