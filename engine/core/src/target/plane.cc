#include "target/plane.h"

#include <fmt/format.h>

#include "godwit/base/clock.h"

namespace godwit::engine {
namespace {
constexpr std::uint64_t kSweepPages = 512;
}  // namespace

Status TargetPlane::announce(std::span<const PageRun> runs, bool at_switch) {
  if (switched()) {
    return fail(ErrorCode::kProtocol, "stale", "an announcement after the final sync");
  }
  std::uint64_t mapped = 0;
  for (const auto& run : runs) {
    GODWIT_TRY_ASSIGN(const auto in_table, states_->mark_absent(run));
    mapped += in_table;
  }
  if (mapped == 0) {
    return {};
  }
  retracted_.fetch_add(mapped, std::memory_order_relaxed);
  if (at_switch) {
    retracted_at_switch_.fetch_add(mapped, std::memory_order_relaxed);
  }
  // All runs of the message in one go, those among them that hold nothing included: taking out what
  // is not there costs next to nothing.
  return machine_.placer->retract(runs);
}

Status TargetPlane::receive(const wire::PageBatchView& batch, PageOwner owner, FaultLog& log) {
  // The paired check of the barrier: no pre-copy page may arrive once the guest's last word is
  // known.
  if ((batch.phase() == wire::PagePhase::kPrecopy) == switched()) {
    return fail(ErrorCode::kProtocol, "pages", "a page frame of another phase");
  }
  for (std::size_t i = 0; i < batch.runs().size(); ++i) {
    const auto& run = batch.runs()[i];
    if (!states_->contains({batch.region(), run.first, run.count})) {
      return fail(ErrorCode::kProtocol,
                  "pages",
                  fmt::format("region {} pages {}+{} lie outside the guest's memory",
                              batch.region(),
                              run.first,
                              run.count));
    }
    GODWIT_TRY(receive_run(batch, i, owner, log));
  }
  return {};
}

Status TargetPlane::receive_run(const wire::PageBatchView& batch,
                                std::size_t index,
                                PageOwner owner,
                                FaultLog& log) {
  const auto& run = batch.runs()[index];
  const std::byte* data = batch.data(index);
  // Claim page by page, place and map in runs of equal fate.
  PageRun open{batch.region(), run.first, 0};
  bool open_backed = false;
  const auto close = [&]() -> Status {
    if (open.count == 0) {
      return {};
    }
    const std::byte* bytes =
        data == nullptr ? nullptr : data + ((open.first - run.first) << kPageShift);
    auto installed = install(open, bytes, open_backed, owner, log);
    open.count = 0;
    return installed;
  };
  for (std::uint64_t page = run.first; page < run.first + run.count; ++page) {
    const auto claim = states_->claim({batch.region(), page}, owner);
    if (!claim.claimed) {
      GODWIT_TRY(close());
      if (!switched()) {
        return fail(
            ErrorCode::kProtocol,
            "pages",
            fmt::format("region {} page {} came without being announced", batch.region(), page));
      }
      continue;  // the other channel was first: these bytes are dropped
    }
    if (open.count != 0 && open_backed != claim.backed && data == nullptr) {
      GODWIT_TRY(close());
    }
    if (open.count == 0) {
      open.first = page;
      open_backed = claim.backed;
    }
    ++open.count;
  }
  return close();
}

/// Gets the bytes into memory; `data` null: zeros.
Status TargetPlane::place(PageRun run, const std::byte* data, bool backed) {
  if (data == nullptr) {
    // A zero page over a hole costs nothing: the hole reads zero already.
    return backed ? machine_.placer->place_zero(run) : Status{};
  }
  return machine_.placer->place_of(run) == data ? Status{} : machine_.placer->place(run, data);
}

std::span<std::byte> TargetPlane::place_of(std::span<const std::byte> prefix) const {
  const auto frame = wire::single_run_of(prefix);
  if (!frame || frame->phase != wire::PagePhase::kPrecopy || switched()) {
    return {};
  }
  const PageRun run{frame->region, frame->run.first, frame->run.count};
  if (run.count > wire::kMaxBatchPages || !states_->contains(run) || !states_->all_absent(run)) {
    return {};
  }
  auto* place = machine_.placer->place_of(run);
  return place == nullptr ? std::span<std::byte>() : std::span(place, run.bytes());
}

Status TargetPlane::install(
    PageRun run, const std::byte* data, bool backed, PageOwner owner, FaultLog& log) {
  if (auto placed = place(run, data, backed); !placed) {
    for (auto page = run.first; page < run.end(); ++page) {
      states_->abandon({run.region, page}, owner);
    }
    return placed;
  }
  const bool map_now = switched();
  const bool filled = data != nullptr || backed;
  bool waited = false;
  for (auto page = run.first; page < run.end(); ++page) {
    const bool due = states_->publish({run.region, page}, owner, filled);
    if (due && map_now && states_->blocks() != nullptr) {
      GODWIT_TRY(map_block({run.region, page}, log));
    }
    waited = waited || due;
  }
  if (!map_now || states_->blocks() != nullptr) {
    return {};
  }
  // A hole that nobody waits for stays a hole; where placing maps, only a hole is left to be
  // mapped.
  const bool mapped_by_placing = filled && machine_.placer->placing() == Placing::kMaps;
  if ((filled || waited) && !mapped_by_placing) {
    GODWIT_TRY_ASSIGN([[maybe_unused]] const auto mapped, machine_.faults->map(run));
    states_->mark_mapped(run);
  }
  if (waited) {
    const auto now = monotonic_ns();
    for (auto page = run.first; page < run.end(); ++page) {
      if (const auto read_ns = open_faults_.close({run.region, page}); read_ns != 0) {
        log.note({run.region, page}, read_ns, now);
      }
    }
  }
  return {};
}

Status TargetPlane::map_block(PageId page, FaultLog& log) {
  auto& blocks = *states_->blocks();
  const auto block = blocks.block_of(page);
  GODWIT_TRY_ASSIGN([[maybe_unused]] const auto mapped, machine_.faults->map(block));
  blocks.mark_mapped(page);
  // Several vCPUs may have waited; each has its stamp under the block's first page.
  const auto now = monotonic_ns();
  while (const auto read_ns = open_faults_.close({block.region, block.first})) {
    log.note({block.region, block.first}, read_ns, now);
  }
  return {};
}

Status TargetPlane::fault_on_block(PageId page,
                                   std::int64_t read_ns,
                                   std::vector<PageId>& wanted,
                                   FaultLog& log) {
  auto& blocks = *states_->blocks();
  const auto block = blocks.block_of(page);
  // Opened before the decision: whoever brings the last page meanwhile finds the stamp.
  open_faults_.open({block.region, block.first}, read_ns);
  if (blocks.wait_for(page)) {
    return map_block(page, log);
  }
  for (auto index = block.first; index < block.end(); ++index) {
    if (states_->on_fault({block.region, index}) == FaultDecision::kRequest) {
      wanted.push_back({block.region, index});
    }
  }
  return {};
}

Status TargetPlane::map_around(PageId page) {
  const auto run = states_->mappable_run(page);
  GODWIT_TRY_ASSIGN([[maybe_unused]] const auto mapped, machine_.faults->map(run));
  states_->mark_mapped(run);
  return {};
}

Result<bool> TargetPlane::sweep_some() {
  auto* blocks = states_->blocks();
  while (machine_.faults && sweep_region_ < states_->region_pages().size()) {
    const auto run = blocks != nullptr
                         ? blocks->next_unmapped(sweep_region_, sweep_page_)
                         : states_->next_unmapped(sweep_region_, sweep_page_, kSweepPages);
    if (run.count == 0) {
      ++sweep_region_;
      sweep_page_ = 0;
      continue;
    }
    sweep_page_ = run.end();
    GODWIT_TRY_ASSIGN([[maybe_unused]] const auto mapped, machine_.faults->map(run));
    if (blocks != nullptr) {
      blocks->mark_mapped({run.region, run.first});
    } else {
      states_->mark_mapped(run);
    }
    return true;
  }
  return false;
}

}  // namespace godwit::engine
