#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/random.h"
#include "godwit/engine/atomic_bitmap.h"
#include "godwit/engine/ports/dirty.h"
#include "godwit/engine/ports/memory.h"

#include "unit/uffd/uffd_support.h"

/// What the tests of the write-protecting dirty sources share.
namespace godwit::uffd {

inline std::vector<std::uint64_t> sizes_of(const engine::GuestMemory& memory) {
  std::vector<std::uint64_t> sizes;
  for (const auto& region : memory.regions) {
    sizes.push_back(region.page_count);
  }
  return sizes;
}

/// Takes marks, and copies exactly the marked pages as the engine does: after each sync.
class Consumer final : public engine::DirtySink {
 public:
  explicit Consumer(const engine::GuestMemory& memory) : memory_(memory), marks_(sizes_of(memory)) {
    for (const auto& region : memory.regions) {
      copies_.emplace_back(region.page_count * kWordsPerPage);
    }
  }

  void mark(RegionIndex region, std::uint64_t word, std::uint64_t mask) override {
    marks_[region].set(word, mask);
  }

  /// Copies the marked pages and forgets the marks; returns how many.
  std::uint64_t copy_marked() {
    std::uint64_t pages = 0;
    for (RegionIndex region = 0; region < marks_.size(); ++region) {
      marks_[region].harvest([&](std::uint64_t word, std::uint64_t bits) {
        engine::for_each_run(word, bits, [&](std::uint64_t first, std::uint64_t count) {
          for (auto page = first; page < first + count; ++page) {
            copy({region, page});
          }
          pages += count;
        });
      });
    }
    return pages;
  }

  void copy_all() {
    for (RegionIndex region = 0; region < marks_.size(); ++region) {
      for (std::uint64_t page = 0; page < memory_.regions[region].page_count; ++page) {
        copy({region, page});
      }
    }
  }

  [[nodiscard]] bool marked(PageId page) const { return marks_[page.region].test(page.index); }

  [[nodiscard]] std::vector<PageId> stale_pages() const {
    std::vector<PageId> stale;
    for (RegionIndex region = 0; region < marks_.size(); ++region) {
      for (std::uint64_t page = 0; page < memory_.regions[region].page_count; ++page) {
        for (std::uint64_t word = 0; word < kWordsPerPage; ++word) {
          if (copies_[region][page * kWordsPerPage + word] !=
              load_word(memory_, {region, page}, word)) {
            stale.push_back({region, page});
            break;
          }
        }
      }
    }
    return stale;
  }

 private:
  void copy(PageId page) {
    for (std::uint64_t word = 0; word < kWordsPerPage; ++word) {
      copies_[page.region][page.index * kWordsPerPage + word] = load_word(memory_, page, word);
    }
  }

  const engine::GuestMemory& memory_;
  engine::RegionBitmaps marks_;
  std::vector<std::vector<std::uint64_t>> copies_;
};

/// Threads that write ever higher versions to random words of random pages, of those that `stride`
/// divides.
class Writers {
 public:
  Writers(const engine::GuestMemory& memory,
          int threads,
          std::uint64_t seed,
          std::uint64_t stride = 1)
      : stride_(stride) {
    for (int t = 0; t < threads; ++t) {
      threads_.emplace_back([this, &memory, seed, t] {
        run(memory, SplitMix64(seed * 1000 + static_cast<unsigned>(t)));
      });
    }
  }
  ~Writers() { stop(); }

  void stop() {
    over_.store(true, std::memory_order_relaxed);
    threads_.clear();
  }
  /// Pages written so far. Relaxed: only a measure of progress.
  [[nodiscard]] std::uint64_t writes() const { return writes_.load(std::memory_order_relaxed); }

 private:
  void run(const engine::GuestMemory& memory, SplitMix64 random) {
    for (std::uint64_t version = 1; !over_.load(std::memory_order_relaxed); ++version) {
      const auto region = static_cast<RegionIndex>(random.below(memory.regions.size()));
      const PageId page{region,
                        random.below(memory.regions[region].page_count / stride_) * stride_};
      guest_word(memory, page, random.below(kWordsPerPage))
          .store(version, std::memory_order_relaxed);
      writes_.fetch_add(1, std::memory_order_relaxed);
    }
  }

  const std::uint64_t stride_;
  std::atomic<bool> over_{false};
  std::atomic<std::uint64_t> writes_{0};
  std::vector<std::jthread> threads_;
};

/// A tracked memory, who consumes its marks, and the source under test.
class TrackedMemoryTest : public testing::Test {
 protected:
  using Make = Result<std::unique_ptr<engine::DirtySource>> (*)(const engine::GuestMemory&);

  void make(const std::vector<std::uint64_t>& region_pages,
            Make make_source,
            TestBacking backing = TestBacking::kMemfd) {
    memory_ = std::make_unique<TestMemory>(region_pages, backing);
    consumer_ = std::make_unique<Consumer>(memory_->get());
    auto source = make_source(memory_->get());
    ASSERT_TRUE(source) << source.error().message();
    source_ = std::move(*source);
  }
  void start() {
    const auto started = source_->start(*consumer_);
    ASSERT_TRUE(started) << started.error().message();
  }
  void sync() {
    const auto synced = source_->sync();
    ASSERT_TRUE(synced) << synced.error().message();
  }
  void write(PageId page, std::uint64_t value = 1) {
    guest_word(memory_->get(), page, 0).store(value, std::memory_order_relaxed);
  }
  const engine::GuestMemory& memory() { return memory_->get(); }

  std::unique_ptr<TestMemory> memory_;
  std::unique_ptr<Consumer> consumer_;
  std::unique_ptr<engine::DirtySource> source_;
};

}  // namespace godwit::uffd
