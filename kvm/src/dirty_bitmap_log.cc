#include "godwit/kvm/dirty_bitmap_log.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "godwit/base/units.h"

#include "armed_slots.h"
#include "uapi.h"

// The order of a sync, and why no write is lost
//
// While a slot logs, the kernel maps its pages read-only (or with the dirty bit of the page table
// clear). The first write to a page sets its bit in the kernel's bitmap and makes the page
// writable; later writes leave no trace. So each page is in one of two states: armed (bit clear,
// next write sets it) or hot (bit set, writes are free).
//
//   1. KVM_GET_DIRTY_LOG copies the bits and, in manual mode, changes nothing: every reported page
//      stays hot.
//   2. The bits go to the sink.
//   3. KVM_CLEAR_DIRTY_LOG of *exactly those bits* arms the pages again and clears their bits, in
//      one step under the kernel's lock, and flushes the TLBs before it returns.
//   4. Only then does the caller read the pages.
//
// A write before 3 is in the page when 4 reads it. A write after 3 sets the bit again, and the next
// sync reports it. Reading before 3 would lose writes that fall between the read and 3: the page is
// hot, so they set no new bit, and 3 wipes the old one. Clearing more than was copied in 1 would
// lose the page that became dirty between 1 and 3; that is why the copy itself is what 3 is given.
// Marking (2) before 3 keeps a failed 3 harmless: the page is sent once more.
//
// Without manual mode GET would clear and re-arm all at once, for the whole slot under one hold of
// the kernel's lock, which stalls vCPUs for milliseconds on large slots. In manual mode 3 goes by
// runs of words, of no more than kClearWordsMax: a call holds the lock that page faults take, 7 ns
// a dirty page.
//
// KVM_DIRTY_LOG_INITIALLY_SET is left out on purpose. With it switching the log on is free, but the
// first GET calls every page dirty, holes too: a sparse guest would be walked and sent by its
// address space. The engine scans for populated pages itself after start(), so it needs a log that
// starts empty; the price is that start() write-protects what is mapped (once, while the guest
// runs).

namespace godwit::kvm {
namespace {

/// A gap of this many clean words inside a run of dirty ones is cleared along: zero bits are left
/// alone by the kernel, and reading a word costs far less than another system call.
constexpr std::uint64_t kJoinedGapWords = 64;
/// Most words of one clear: 4,096 pages. With all of them dirty the lock is held for 0.05 ms (128
/// Ki pages in one call: 0.96 ms), and the calls of a sync cost no more together. Of 1,024 pages
/// they cost twice as much.
constexpr std::uint64_t kClearWordsMax = 64;

}  // namespace

DirtyBitmapLog::DirtyBitmapLog(Vm& vm, engine::PopulatedScan* populated)
    : vm_(vm), slots_(std::make_unique<ArmedSlots>(vm, populated)) {}

DirtyBitmapLog::~DirtyBitmapLog() {
  stop();
}

Status DirtyBitmapLog::start(engine::DirtySink& sink) {
  if (sink_ != nullptr) {
    return fail(ErrorCode::kState, "dirty log", "has been started already");
  }
  sink_ = &sink;
  auto on = slots_->start();
  if (!on) {
    stop();
  }
  return on;
}

Status DirtyBitmapLog::sync() {
  if (sink_ == nullptr) {
    return fail(ErrorCode::kState, "dirty log", "has not been started");
  }
  for (const auto& armed : slots_->armed()) {
    GODWIT_TRY(sync_slot(armed.slot, armed.memory));
  }
  return slots_->catch_up(*sink_);
}

Status DirtyBitmapLog::sync_slot(std::uint32_t slot, const Memslot& memory) {
  const auto count = (memory.page_count + 63) / 64;
  words_.resize(std::max(words_.size(), count));
  kvm_dirty_log log{};
  log.slot = slot;
  log.dirty_bitmap = words_.data();
  if (::ioctl(vm_.fd(), KVM_GET_DIRTY_LOG, &log) != 0) {
    return fail_errno(errno, "KVM_GET_DIRTY_LOG", fmt::format("slot {}", slot));
  }
  for (std::uint64_t word = 0; word < count; ++word) {
    if (words_[word] != 0) {
      sink_->mark(memory.region, memory.first_page / 64 + word, words_[word]);
    }
  }
  std::uint64_t word = 0;
  while (word < count) {
    if (words_[word] == 0) {
      ++word;
      continue;
    }
    std::uint64_t end = word + 1;
    const auto most = std::min(count, word + kClearWordsMax);
    for (std::uint64_t at = end; at < most && at - end < kJoinedGapWords; ++at) {
      if (words_[at] != 0) {
        end = at + 1;
      }
    }
    GODWIT_TRY(clear(slot, memory, word, end));
    word = end;
  }
  return {};
}

Status DirtyBitmapLog::clear(std::uint32_t slot,
                             const Memslot& memory,
                             std::uint64_t first_word,
                             std::uint64_t end_word) {
  // The kernel wants a count of whole words, except where the slot itself ends inside one.
  kvm_clear_dirty_log log{};
  log.slot = slot;
  log.first_page = first_word * 64;
  log.num_pages =
      static_cast<std::uint32_t>(std::min(end_word * 64, memory.page_count) - log.first_page);
  log.dirty_bitmap = words_.data() + first_word;
  if (::ioctl(vm_.fd(), KVM_CLEAR_DIRTY_LOG, &log) != 0) {
    return fail_errno(errno,
                      "KVM_CLEAR_DIRTY_LOG",
                      fmt::format("slot {} pages {}+{}", slot, log.first_page, log.num_pages));
  }
  return {};
}

void DirtyBitmapLog::stop() {
  if (sink_ == nullptr) {
    return;
  }
  sink_ = nullptr;
  // A log that cannot be switched off costs speed, never data: the guest runs on, and there is
  // nothing to repair.
  static_cast<void>(slots_->stop());
}

}  // namespace godwit::kvm
