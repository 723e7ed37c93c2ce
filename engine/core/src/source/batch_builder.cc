#include "source/batch_builder.h"

#include <algorithm>

#include "source/guest_bytes.h"

namespace godwit::engine {

BatchBuilder::BatchBuilder(const GuestMemory& memory, const SourceOptions& options)
    : memory_(memory),
      options_(options),
      staging_(std::make_unique<std::byte[]>(wire::kMaxBatchPages * kPageBytes)) {
  runs_.reserve(wire::kMaxBatchRuns);
  parts_.reserve(wire::kMaxBatchPages + 1);
}

void BatchBuilder::add_run(std::uint64_t page, wire::PageKind kind) {
  if (!runs_.empty() && runs_.back().kind == kind &&
      runs_.back().first + runs_.back().count == page) {
    ++runs_.back().count;
  } else {
    runs_.push_back({page, 1, kind});
  }
}

void BatchBuilder::note_zero_pages(RegionBitmaps& zero) const {
  auto& pages = zero[plan_.region];
  for (const auto& run : runs_) {
    for (auto page = run.first; page < run.first + run.count;) {
      const auto bit = static_cast<unsigned>(page % 64);
      const auto count =
          static_cast<unsigned>(std::min<std::uint64_t>(64 - bit, run.first + run.count - page));
      const auto mask = bit_mask(bit, count);
      if (run.kind == wire::PageKind::kZero) {
        pages.set(page / 64, mask);
      } else if ((pages.word(page / 64) & mask) != 0) {
        pages.claim(page / 64, mask);
      }
      page += count;
    }
  }
}

void BatchBuilder::build(const PageBatchPlan& plan, wire::PagePhase phase, bool live) {
  plan_ = plan;
  runs_.clear();
  parts_.assign(1, iovec{});
  data_pages_ = 0;
  zero_pages_ = 0;
  for (std::uint32_t i = 0; i < plan.count; ++i) {
    const PageId id{plan.region, plan.pages[i]};
    std::byte* from = memory_.page(id);
    bool zero = false;
    if (live) {
      auto* copy = staging_.get() + std::size_t{data_pages_} * kPageBytes;
      zero = copy_guest_page(copy, from);
      from = copy;
    } else {
      zero = guest_page_is_zero(from);
    }
    add_run(id.index, zero ? wire::PageKind::kZero : wire::PageKind::kData);
    if (zero) {
      ++zero_pages_;
      continue;
    }
    ++data_pages_;
    auto& last = parts_.back();
    if (parts_.size() > 1 && static_cast<std::byte*>(last.iov_base) + last.iov_len == from) {
      last.iov_len += kPageBytes;
    } else {
      parts_.push_back({from, kPageBytes});
    }
  }
  const auto prefix = wire::encode_page_prefix(prefix_, plan.region, phase, runs_);
  parts_[0] = {prefix_.data(), prefix};
  body_length_ = static_cast<std::uint32_t>(prefix + std::size_t{data_pages_} * kPageBytes);
  body_hash_ = 0;
  if (options_.checksum) {
    hasher_.reset();
    for (const auto& part : parts_) {
      hasher_.update({static_cast<const std::byte*>(part.iov_base), part.iov_len});
    }
    body_hash_ = hasher_.digest();
  }
}

}  // namespace godwit::engine
