#pragma once

#include <poll.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/mapping.h"
#include "godwit/base/random.h"
#include "godwit/base/units.h"
#include "godwit/engine/ports/memory.h"
#include "godwit/uffd/populated_scan.h"
#include "godwit/uffd/uffd.h"

#include "support/require.h"

/// Leaves the test with the reason when this host has no userfaultfd that can do `needed`; a
/// failure instead where GODWIT_REQUIRE names uffd.
#define GODWIT_NEEDS_UFFD(needed)                                         \
  do {                                                                    \
    if (const auto why = ::godwit::uffd::why_not(needed); !why.empty()) { \
      GODWIT_MISSING("uffd", why);                                        \
    }                                                                     \
  } while (false)

namespace godwit::uffd {

inline constexpr std::uint64_t kWordsPerPage = kPageBytes / sizeof(std::uint64_t);

inline std::string why_not(const Features& needed) {
  auto opened = Uffd::open(needed, Mode::kUserFaultsEnough);
  return opened ? std::string() : opened.error().message();
}

inline Features placing() {
  Features needed;
  needed.missing_shmem = true;
  needed.minor_shmem = true;
  return needed;
}

inline Features tracking() {
  Features needed;
  needed.wp = true;
  needed.wp_shmem = true;
  return needed;
}

inline Features async_tracking() {
  Features needed = tracking();
  needed.wp_async = true;
  return needed;
}

enum class TestBacking : std::uint8_t { kMemfd, kAnonymous };

/// Guest memory of several regions in one memfd or one anonymous mapping, with a page before,
/// between and behind them that belongs to nobody.
class TestMemory {
 public:
  explicit TestMemory(const std::vector<std::uint64_t>& region_pages, bool with_alias = true)
      : TestMemory(region_pages, TestBacking::kMemfd, with_alias) {}
  TestMemory(const std::vector<std::uint64_t>& region_pages, TestBacking backing)
      : TestMemory(region_pages, backing, true) {}

  [[nodiscard]] const engine::GuestMemory& get() const { return memory_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  TestMemory(const std::vector<std::uint64_t>& region_pages, TestBacking backing, bool with_alias) {
    std::uint64_t pages = 1;
    for (const auto count : region_pages) {
      pages += count + 1;
    }
    if (backing == TestBacking::kAnonymous) {
      mappings_.push_back(Mapping::anonymous(pages << kPageShift).value());
      // Where it is not there, it needs no switching off.
      (void)::madvise(mappings_[0].data(), mappings_[0].size(), MADV_NOHUGEPAGE);
      std::uint64_t offset = kPageBytes;
      for (const auto count : region_pages) {
        memory_.regions.push_back({offset, count, mappings_[0].data() + offset, nullptr, -1, 0});
        offset += (count + 1) << kPageShift;
      }
      return;
    }
    fd_ = create_memfd("godwit-test", pages << kPageShift).value();
    std::uint64_t offset = kPageBytes;
    for (const auto count : region_pages) {
      const auto bytes = count << kPageShift;
      mappings_.push_back(Mapping::shared(fd_.get(), offset, bytes).value());
      auto* guest = mappings_.back().data();
      std::byte* alias = nullptr;
      if (with_alias) {
        mappings_.push_back(Mapping::shared(fd_.get(), offset, bytes).value());
        alias = mappings_.back().data();
      }
      memory_.regions.push_back({offset, count, guest, alias, fd_.get(), offset});
      offset += bytes + kPageBytes;
    }
  }

  Fd fd_;
  std::vector<Mapping> mappings_;
  engine::GuestMemory memory_;
};

/// Words of guest pages are read and written while others do the same: relaxed, since only the
/// value matters; what orders the tests' threads is joining, or the kernel's page tables.
inline std::atomic_ref<std::uint64_t> guest_word(const engine::GuestMemory& memory,
                                                 PageId page,
                                                 std::uint64_t word) {
  return std::atomic_ref<std::uint64_t>(reinterpret_cast<std::uint64_t*>(memory.page(page))[word]);
}

inline std::uint64_t load_word(const engine::GuestMemory& memory,
                               PageId page,
                               std::uint64_t word = 0) {
  return guest_word(memory, page, word).load(std::memory_order_relaxed);
}

inline std::vector<std::byte> page_pattern(std::uint64_t seed, std::uint64_t pages = 1) {
  std::vector<std::byte> bytes(pages << kPageShift);
  SplitMix64 random(seed);
  for (std::size_t i = 0; i < bytes.size(); i += sizeof(std::uint64_t)) {
    const auto word = random.next();
    std::memcpy(&bytes[i], &word, sizeof(word));
  }
  return bytes;
}

inline std::uint64_t first_word(const std::vector<std::byte>& bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data(), sizeof(word));
  return word;
}

/// Waits until `fd` is readable; false after ten seconds, which no test expects.
inline bool wait_readable(int fd, int timeout_ms = 10000) {
  pollfd ready{fd, POLLIN, 0};
  return ::poll(&ready, 1, timeout_ms) == 1;
}

/// Reads the first word of a page on a thread of its own.
class Toucher {
 public:
  Toucher(const engine::GuestMemory& memory, PageId page)
      : thread_([this, &memory, page] { seen_ = load_word(memory, page); }) {}
  std::uint64_t join() {
    thread_.join();
    return seen_;
  }

 private:
  std::uint64_t seen_ = 0;
  std::jthread thread_;
};

inline std::uint64_t populated_pages(const engine::GuestMemory& memory) {
  std::uint64_t pages = 0;
  EXPECT_TRUE(make_populated_scan(memory)->scan([&](PageRun run) { pages += run.count; }));
  return pages;
}

/// Of a scan over regions of 40 and 8 pages, of which kTouchedForFirstAndNext were written.
inline constexpr PageId kTouchedForFirstAndNext[] = {{0, 3}, {0, 10}, {0, 11}, {0, 12}, {1, 5}};
inline void expect_first_and_next(engine::PopulatedScan& scan) {
  EXPECT_EQ(scan.first({0, 4, 30}).value(), 10U);
  EXPECT_EQ(scan.first({0, 11, 30 - 11}).value(), 11U);
  EXPECT_EQ(scan.first({0, 13, 27}).value(), 40U) << "the next region's page is not this one's";
  EXPECT_EQ(scan.first({0, 4, 6}).value(), 10U) << "the end: nothing before it";
  EXPECT_EQ(scan.next({0, 0, 40}).value(), (PageRun{0, 3, 1}));
  EXPECT_EQ(scan.next({0, 4, 36}).value(), (PageRun{0, 10, 3}));
  EXPECT_EQ(scan.next({0, 13, 27}).value().count, 0U);
  EXPECT_EQ(scan.next({0, 4, 6}).value().count, 0U);
  EXPECT_EQ(scan.next({1, 0, 8}).value(), (PageRun{1, 5, 1}));
}

}  // namespace godwit::uffd
