#include "godwit/uffd/wp_dirty_source.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <boost/lockfree/spsc_queue.hpp>

#include "godwit/base/thread.h"
#include "godwit/engine/atomic_bitmap.h"
#include "godwit/uffd/uffd.h"

#include "address_map.h"
#include "tracking/unmergeable.h"

// Which pages did the guest write since the last sync? Order is correctness.
//
// All memory is write-protected. The first write to a page waits, and a handler thread reads the
// fault, takes the protection off (which wakes the writer) and publishes a record of the page.
// sync(), on the migration thread, takes the records, protects those pages again, and marks them in
// the sink; then the engine reads them. Two threads, no lock. What keeps a write from being lost is
// one invariant:
//
//     A page that is not protected has a record on its way: in the handler's hands, in the queue,
//     in the overflow bitmap, or in the hands of a sync() that has yet to protect it.
//
// The handler: unprotect, then publish. The other way round, sync() could take the record in
// between, protect the page (it still is: nothing happens) and mark it; then the handler takes the
// protection off, the guest writes, and no record says so. That write is lost. With our order, a
// sync() that comes in between finds no record yet and leaves the page writable; the record goes to
// the next one.
//
// sync(): take the record, protect, then mark. Protected before it is read: a write before the
// protection is in what the engine reads, a write after it faults and gives a record for the next
// sync.
//
// A handler may take the protection off a page that sync() has just protected: the kernel can hand
// out a fault that was answered already (the faulting thread queues itself first and looks at the
// page again afterwards). That is harmless, since a record follows every unprotection, also this
// one.
//
// The handshake. "Every write that ended before the call is marked on return" needs more: between
// unprotect and publish a write can happen and end, and sync() would find neither queue nor
// overflow holding it. For the last sync, when the guest has stopped, there is no next one to make
// up for it. So the handler brackets each batch with a counter: odd before the first unprotection,
// even after the last record. sync() first reads the counter, and if it is odd, waits until it
// changes. Suppose a write to page P ended before sync(). P's unprotection came before the write,
// the odd value before the unprotection, so sync() reads that odd value or a later one. If it is
// the odd one, sync() waits for that batch to end; if it is later, that batch has ended. Either way
// its records were published before sync() drains. It waits for one batch at most, however busy the
// guest is, and the handler never waits for anybody.
//
// The queue is a bounded single-producer, single-consumer ring of {region, word, mask}. When it is
// full, the handler sets the bits in a bitmap instead, with fetch_or: nothing is dropped and nobody
// waits. sync() pours the queue into the same bitmap, since it wants the pages sorted, and harvests
// it in address order.
//
// Protecting runs: one system call per page costs more than the walk over a few page-table entries,
// so dirty pages with small gaps are protected in one call, gaps included. A page in a gap is
// protected already (nothing happens), or its record is on its way; protecting it early costs a
// fault more and loses nothing: that record still marks it.
//
// Anonymous memory: a page that was never touched has no page-table entry that could be protected,
// and its first write would go unseen. So the range is registered for MISSING faults too, and the
// handler answers one with the shared zero page, which is nothing but another way of taking a
// protection off: the record follows, and the write goes through. A read of such a page is recorded
// as well, which costs a zero page on the wire and loses nothing.
// (UFFD_FEATURE_WP_UNPOPULATED, 6.4, would protect absent entries too, but with markers that fill
// page tables for all of the address space and that the pagemap shows as swapped pages.)
//
// Ending: the handler is joined before anything is unregistered, so it never meets an unregistered
// range. Writers that fault in between wait until unregistering, which takes all protection off and
// wakes them. What the handler had published by then is drained into the sink.

namespace godwit::uffd {
namespace {

struct Record {
  RegionIndex region = 0;
  std::uint64_t word = 0;
  std::uint64_t mask = 0;
};

/// Holds what a busy guest dirties between two looks of the migration thread; more than that goes
/// to the bitmap.
constexpr std::size_t kQueueRecords = 4096;
/// Records that sync() protects and marks in one go.
constexpr std::size_t kSyncBatch = 1024;
/// Dirty pages at most so far apart are protected in one call: a call costs about as much as this
/// many entries.
constexpr std::uint64_t kMaxGapPages = 16;

std::vector<std::uint64_t> region_sizes(const engine::GuestMemory& memory) {
  std::vector<std::uint64_t> sizes;
  for (const auto& region : memory.regions) {
    sizes.push_back(region.page_count);
  }
  return sizes;
}

bool is_anonymous(const engine::GuestMemory& memory) {
  return std::any_of(memory.regions.begin(),
                     memory.regions.end(),
                     [](const engine::MemoryRegion& region) { return region.fd < 0; });
}

Features wanted_features(const engine::GuestMemory& memory) {
  Features wanted;
  wanted.wp = true;
  wanted.wp_shmem = !is_anonymous(memory);
  return wanted;
}

class WpDirtySource final : public engine::DirtySource {
 public:
  WpDirtySource(const engine::GuestMemory& memory, EventFd stop_signal)
      : memory_(memory),
        addresses_(memory),
        anonymous_(is_anonymous(memory)),
        stop_signal_(std::move(stop_signal)),
        unprotected_(region_sizes(memory)) {
    batch_.reserve(kSyncBatch);
  }
  WpDirtySource(const WpDirtySource&) = delete;
  WpDirtySource& operator=(const WpDirtySource&) = delete;
  ~WpDirtySource() override { tear_down(); }

  Status start(engine::DirtySink& sink) override;
  Status sync() override;
  void stop() override;
  [[nodiscard]] const char* name() const override { return "wp"; }

 private:
  // The handler thread.
  void handle_faults();
  Status handle_batch(std::span<const RawFault> faults);
  Status fill_missing(std::span<const RawFault> faults);
  Status unprotect(std::span<const PageId> pages);
  void publish(std::span<const PageId> pages);
  void give_up(Error error);

  // The migration thread.
  Status register_all();
  Status protect_all();
  void unregister_all();
  void tear_down();
  void wait_for_handler() const;
  void drain_queue();
  Status protect_batch();
  void mark_batch();

  const engine::GuestMemory memory_;
  const AddressMap addresses_;
  const bool anonymous_;
  EventFd stop_signal_;
  std::optional<Uffd> uffd_;
  engine::DirtySink* sink_ = nullptr;
  std::size_t registered_ = 0;  ///< regions, from the first

  boost::lockfree::spsc_queue<Record, boost::lockfree::capacity<kQueueRecords>> queue_;
  engine::RegionBitmaps unprotected_;  ///< overflow of the handler; sorting place of sync()
  std::vector<Record> batch_;          ///< of sync(); allocated once

  std::atomic<std::uint32_t> handler_turn_{
      0};  ///< odd while the handler may hold an unpublished page
  std::atomic<bool> failed_{false};
  Error failure_;  ///< written by the handler before failed_, read after it
  std::jthread handler_;
};

// ------------------------------------------------------------------------------ the handler thread

void WpDirtySource::handle_faults() {
  std::array<RawFault, kMaxFaultsPerRead> faults;
  std::array<pollfd, 2> ready{{{stop_signal_.fd(), POLLIN, 0}, {uffd_->fd(), POLLIN, 0}}};
  for (;;) {
    if (::poll(ready.data(), ready.size(), -1) < 0) {
      if (errno == EINTR) {
        continue;
      }
      give_up(errno_error(errno, "poll userfaultfd"));
      return;
    }
    if (ready[0].revents != 0) {
      return;
    }
    auto count = uffd_->read_faults(faults);
    if (!count) {
      give_up(std::move(count.error()));
      return;
    }
    if (*count == 0) {
      continue;
    }
    if (auto status = handle_batch(std::span<const RawFault>(faults).first(*count)); !status) {
      give_up(std::move(status.error()));
      return;
    }
  }
}

Status WpDirtySource::handle_batch(std::span<const RawFault> faults) {
  std::array<PageId, kMaxFaultsPerRead> pages;
  std::size_t count = 0;
  for (const auto& fault : faults) {
    const auto page = addresses_.find(fault.address);
    if (!page || (!fault.write_protect && (!anonymous_ || fault.minor))) {
      return fail(ErrorCode::kInternal, "read userfaultfd", "a fault that nobody registered for");
    }
    pages[count++] = *page;
  }
  // Sorted, so that neighbours share a system call and a record; several writers may wait for one
  // page.
  std::sort(pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(count));
  const auto end = std::unique(pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(count));
  const std::span<const PageId> batch(pages.begin(), end);

  // Odd. A full barrier on its way in: pairs with the load in wait_for_handler(), which reads it if
  // a writer that this batch is about to let go has finished its write before that call.
  handler_turn_.fetch_add(1, std::memory_order_seq_cst);
  auto status = anonymous_ ? fill_missing(faults) : Status();
  if (status) {
    status = unprotect(batch);
  }
  publish(batch);  // also after a failure: some of them may be writable now
  // Even. release: pairs with the acquire in wait_for_handler(): who sees it sees the records.
  handler_turn_.fetch_add(1, std::memory_order_release);
  handler_turn_.notify_all();
  return status;
}

Status WpDirtySource::fill_missing(std::span<const RawFault> faults) {
  for (const auto& fault : faults) {
    if (fault.write_protect) {
      continue;
    }
    auto* page = memory_.page(*addresses_.find(fault.address));
    const auto filled = uffd_->map_zero(page, kPageBytes);
    // EEXIST: another fault of the same page was answered. The unprotect() that follows wakes all.
    if (filled.sys_errno != 0 && filled.sys_errno != EEXIST) {
      return fail_errno(filled.sys_errno, "UFFDIO_ZEROPAGE");
    }
  }
  return {};
}

Status WpDirtySource::unprotect(std::span<const PageId> pages) {
  for (std::size_t i = 0; i < pages.size();) {
    const auto first = pages[i];
    std::uint64_t length = 1;
    while (i + length < pages.size() &&
           pages[i + length] == PageId{first.region, first.index + length}) {
      ++length;
    }
    // Exactly the faulting pages: one page more would be writable without a record.
    GODWIT_TRY(uffd_->write_protect(memory_.page(first), length << kPageShift, false));
    i += length;
  }
  return {};
}

void WpDirtySource::publish(std::span<const PageId> pages) {
  for (std::size_t i = 0; i < pages.size();) {
    Record record{pages[i].region, pages[i].index / 64, 0};
    for (;
         i < pages.size() && pages[i].region == record.region && pages[i].index / 64 == record.word;
         ++i) {
      record.mask |= 1ULL << (pages[i].index % 64);
    }
    if (!queue_.push(record)) {
      unprotected_[record.region].set(record.word, record.mask);
    }
  }
}

void WpDirtySource::give_up(Error error) {
  // The guest must not hang for want of us: it goes on, untracked, and sync() tells the migration.
  failure_ = std::move(error);
  // release: pairs with the acquire in sync(): who sees the flag sees the failure.
  failed_.store(true, std::memory_order_release);
  for (const auto& region : memory_.regions) {
    (void)uffd_->unregister_range(region.guest, region.page_count << kPageShift);
  }
}

// ---------------------------------------------------------------------------- the migration thread

Status WpDirtySource::start(engine::DirtySink& sink) {
  if (handler_.joinable()) {
    return fail(ErrorCode::kState, "start", "write-protect tracking runs already");
  }
  GODWIT_TRY_ASSIGN(auto opened, Uffd::open(wanted_features(memory_), Mode::kUserFaultsEnough));
  uffd_.emplace(std::move(opened));
  sink_ = &sink;
  failed_.store(false, std::memory_order_relaxed);  // no handler runs: nothing to pair with
  auto status = register_all();
  if (status) {
    // The handler first: writers fault from the first protected page on.
    auto handler = try_start_thread("godwit-wp", ThreadRole::kUrgent, [this] { handle_faults(); });
    if (handler) {
      handler_ = std::move(*handler);
      status = protect_all();
    } else {
      status = fail(handler.error());
    }
  }
  if (!status) {
    tear_down();
  }
  return status;
}

Status WpDirtySource::sync() {
  if (!handler_.joinable()) {
    return fail(ErrorCode::kState, "sync", "write-protect tracking does not run");
  }
  wait_for_handler();
  drain_queue();
  Status status;
  // After a failure to protect, the rest is still marked: those pages were written, and their
  // records are taken.
  const auto finish_batch = [this, &status] {
    if (status) {
      status = protect_batch();
    }
    mark_batch();
  };
  for (RegionIndex region = 0; region < memory_.regions.size(); ++region) {
    unprotected_[region].harvest([&](std::uint64_t word, std::uint64_t mask) {
      batch_.push_back({region, word, mask});
      if (batch_.size() == kSyncBatch) {
        finish_batch();
      }
    });
  }
  finish_batch();
  // acquire: pairs with the release in give_up().
  if (failed_.load(std::memory_order_acquire)) {
    return fail(failure_);
  }
  return status;
}

void WpDirtySource::stop() {
  if (!handler_.joinable()) {
    return;
  }
  tear_down();
  // No handler, no protection: what is left needs marking only.
  drain_queue();
  for (RegionIndex region = 0; region < memory_.regions.size(); ++region) {
    unprotected_[region].harvest(
        [&](std::uint64_t word, std::uint64_t mask) { sink_->mark(region, word, mask); });
  }
  sink_ = nullptr;
}

void WpDirtySource::wait_for_handler() const {
  // acquire, also in wait(): pairs with the release of the even value, after the records.
  const auto turn = handler_turn_.load(std::memory_order_acquire);
  if (turn % 2 != 0) {
    handler_turn_.wait(turn, std::memory_order_acquire);
  }
}

void WpDirtySource::drain_queue() {
  queue_.consume_all(
      [this](const Record& record) { unprotected_[record.region].set(record.word, record.mask); });
}

Status WpDirtySource::protect_batch() {
  PageRun run;
  const auto protect = [this](PageRun pages) -> Status {
    return pages.count == 0 ? Status()
                            : uffd_->write_protect(
                                  memory_.page({pages.region, pages.first}), pages.bytes(), true);
  };
  Status status;
  for (const auto& record : batch_) {
    engine::for_each_run(record.word, record.mask, [&](std::uint64_t first, std::uint64_t count) {
      if (run.count != 0 && record.region == run.region && first <= run.end() + kMaxGapPages) {
        run.count = first + count - run.first;
        return;
      }
      if (status) {
        status = protect(run);
      }
      run = {record.region, first, count};
    });
  }
  GODWIT_TRY(status);
  return protect(run);
}

void WpDirtySource::mark_batch() {
  for (const auto& record : batch_) {
    sink_->mark(record.region, record.word, record.mask);
  }
  batch_.clear();
}

Status WpDirtySource::register_all() {
  for (registered_ = 0; registered_ < memory_.regions.size(); ++registered_) {
    const auto& region = memory_.regions[registered_];
    GODWIT_TRY(make_unmergeable(region));
    GODWIT_TRY(uffd_->register_range(
        region.guest,
        region.page_count << kPageShift,
        anonymous_ ? Registration::kMissingAndWriteProtect : Registration::kWriteProtect));
  }
  return {};
}

Status WpDirtySource::protect_all() {
  for (const auto& region : memory_.regions) {
    GODWIT_TRY(uffd_->write_protect(region.guest, region.page_count << kPageShift, true));
  }
  return {};
}

void WpDirtySource::unregister_all() {
  for (std::size_t i = 0; i < registered_; ++i) {
    const auto& region = memory_.regions[i];
    // A failure has no remedy here, and closing the handle right after does the same.
    (void)uffd_->unregister_range(region.guest, region.page_count << kPageShift);
  }
  registered_ = 0;
}

void WpDirtySource::tear_down() {
  if (handler_.joinable()) {
    stop_signal_.signal();
    handler_.join();
    stop_signal_.clear();
  }
  if (uffd_) {
    unregister_all();
    uffd_.reset();
  }
}

}  // namespace

Result<std::unique_ptr<engine::DirtySource>> make_wp_dirty_source(
    const engine::GuestMemory& memory) {
  if (std::any_of(memory.regions.begin(), memory.regions.end(), [](const auto& region) {
        return region.block_pages > 1;
      })) {
    return fail(ErrorCode::kUnsupported,
                "userfaultfd write-protection",
                "it goes by pages of 4 KiB, and huge pages can only be protected whole");
  }
  // Asked now, so that a host that cannot do it says so before a migration begins.
  GODWIT_TRY_ASSIGN(const auto probe, Uffd::open(wanted_features(memory), Mode::kUserFaultsEnough));
  (void)probe;
  GODWIT_TRY_ASSIGN(auto stop_signal, EventFd::create());
  return std::make_unique<WpDirtySource>(memory, std::move(stop_signal));
}

}  // namespace godwit::uffd
