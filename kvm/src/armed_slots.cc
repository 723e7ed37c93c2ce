#include "armed_slots.h"

#include <algorithm>
#include <utility>

#include "godwit/engine/mark_run.h"

// A slot without a page needs no log
//
// To switch a slot's log on costs by the slot's size, and so does each look into it
// (memory_pieces.cc says why), while most slots of a large guest hold nothing. So only slots that
// hold a page log. What makes that safe is that memory remembers: a first write to a slot makes a
// page of its file, or an entry of the page table, and that stays. Whatever was written to a slot
// without a log since start() is therefore found by asking which of its pages exist, at the next
// sync:
//
//   1. find a slot that does not log and holds a page;
//   2. switch its log on;
//   3. mark all pages that it holds now.
//
// A write before 2 has made its page by then, so 3 marks it; a write after 2 sets its bit in the
// log, and if 3 marks it as well, it is sent once more. The order 3, 2 would lose the writes
// between them. And when 1 finds a slot empty, no write to it had ended before 1 began, which is
// all that a sync promises; the next one asks again. The last one comes when the guest has stopped.
//
// Pages that the machine itself writes in the guest's stead (MemoryPieces::on_mmio()) are in no log
// of KVM's. It notes them after the write, and they are marked here.

namespace godwit::kvm {

void ArmedSlots::take_new_slots() {
  const auto count = vm_.memslot_count();
  if (count == known_) {
    return;
  }
  for (; known_ < count; ++known_) {
    idle_.push_back({known_, vm_.memslot(known_)});
  }
  std::sort(idle_.begin(), idle_.end(), [](const Armed& a, const Armed& b) {
    return std::pair(a.memory.region, a.memory.first_page) <
           std::pair(b.memory.region, b.memory.first_page);
  });
}

Status ArmedSlots::start() {
  known_ = 0;
  idle_.clear();
  armed_.clear();
  // Written before the start: the scan that follows it finds these.
  static_cast<void>(vm_.take_written());
  return arm_used(nullptr);
}

Status ArmedSlots::catch_up(engine::DirtySink& sink) {
  GODWIT_TRY(arm_used(&sink));
  for (const auto page : vm_.take_written()) {
    sink.mark(page.region, page.index / 64, 1ULL << (page.index % 64));
  }
  return {};
}

Status ArmedSlots::arm_used(engine::DirtySink* sink) {
  take_new_slots();
  std::vector<Armed> still_idle;
  PageRun known;
  const auto look = [&](std::size_t& at) -> Status {
    // Neighbours are asked about in one question, so that empty ones cost nothing each.
    const auto& first = idle_[at].memory;
    PageRun asked{first.region, first.first_page, 0};
    auto end = at;
    for (; end < idle_.size() && idle_[end].memory.region == asked.region &&
           idle_[end].memory.first_page == asked.end();
         ++end) {
      asked.count += idle_[end].memory.page_count;
    }
    auto used = asked.first;
    if (populated_ != nullptr) {
      GODWIT_TRY_ASSIGN(used, populated_->first(asked));
    }
    for (; at < end && used >= idle_[at].memory.first_page + idle_[at].memory.page_count; ++at) {
      still_idle.push_back(idle_[at]);
    }
    if (at < end) {
      GODWIT_TRY(vm_.set_dirty_logging(idle_[at].slot, true));
      armed_.push_back(idle_[at]);
      ++at;
      if (sink != nullptr) {
        const auto& memory = armed_.back().memory;
        const PageRun pages{memory.region, memory.first_page, memory.page_count};
        if (populated_ == nullptr) {
          engine::mark_run(*sink, pages);
        } else {
          GODWIT_TRY(engine::mark_populated(*sink, *populated_, pages, known));
        }
      }
    }
    return {};
  };
  Status done;
  std::size_t at = 0;
  while (done && at < idle_.size()) {
    done = look(at);
  }
  still_idle.insert(still_idle.end(), idle_.begin() + static_cast<std::ptrdiff_t>(at), idle_.end());
  idle_ = std::move(still_idle);
  return done;
}

Status ArmedSlots::stop() {
  Status first;
  for (const auto& armed : armed_) {
    if (auto off = vm_.set_dirty_logging(armed.slot, false); !off && first) {
      first = std::move(off);
    }
  }
  armed_.clear();
  idle_.clear();
  known_ = 0;
  return first;
}

}  // namespace godwit::kvm
