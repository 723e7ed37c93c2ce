#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <memory>
#include <utility>

#include "godwit/base/fd.h"

#include "fill_run.h"
#include "placing/placer_base.h"
#include "placing/placers.h"

// Private anonymous memory has no file behind it: the only way to put bytes into a page so that the
// guest sees all of them or none is UFFDIO_COPY, which allocates the page, fills it, installs it in
// the guest's page table and wakes whoever waits, all in one. So placing *is* mapping here, and it
// has two consequences.
//
// First, there are no MINOR faults. A page without an entry is one that the source still has, or a
// hole; the page states tell which, and a hole gets the shared zero page.
//
// Second, a page that becomes old after it was placed must be taken out again, or the guest would
// read the old bytes without a fault. MADV_DONTNEED does that. It is a system call a run and about
// a microsecond a page when the runs are short, so the runs of one announcement go in batches
// through process_madvise() where the kernel takes it for one's own process. Nothing is lost if it
// takes a part only: taking out what is out already is harmless while the guest does not run.

namespace godwit::uffd {
namespace {

class UffdCopyPlacer final : public PlacerBase {
 public:
  UffdCopyPlacer(const engine::GuestMemory& memory, std::shared_ptr<Uffd> uffd)
      : PlacerBase(memory),
        uffd_(std::move(uffd)),
        self_(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))),
        batches_(self_.valid()) {}

  [[nodiscard]] engine::Placing placing() const override { return engine::Placing::kMaps; }
  [[nodiscard]] const char* name() const override { return "uffd-copy"; }

  Status retract(std::span<const PageRun> runs) override {
    for (const auto& run : runs) {
      GODWIT_TRY(check_held(memory(), run, "retract"));
    }
    while (!runs.empty()) {
      const auto some = runs.first(std::min(runs.size(), kBatchRuns));
      if (!retract_batch(some)) {
        GODWIT_TRY(retract_each(some));
      }
      runs = runs.subspan(some.size());
    }
    return {};
  }

 protected:
  Status put(PageRun run, const std::byte* bytes) override {
    return fill_and_wake(run, "UFFDIO_COPY", [&](std::uint64_t page, std::uint64_t count) {
      return uffd_->copy(memory().page({run.region, page}),
                         bytes + ((page - run.first) << kPageShift),
                         count << kPageShift);
    });
  }
  Status put_zero(PageRun run) override {
    return fill_and_wake(run, "UFFDIO_ZEROPAGE", [&](std::uint64_t page, std::uint64_t count) {
      return uffd_->map_zero(memory().page({run.region, page}), count << kPageShift);
    });
  }

 private:
  static constexpr std::size_t kBatchRuns = 512;

  template <typename Fill>
  Status fill_and_wake(PageRun run, const char* operation, Fill&& fill) {
    engine::MapResult result;
    auto status = fill_run(run, operation, result, fill);
    if (result.already > 0) {
      GODWIT_TRY(uffd_->wake(memory().page({run.region, run.first}), run.bytes()));
    }
    return status;
  }

  /// Whether one system call took them all out.
  bool retract_batch(std::span<const PageRun> runs) {
    // relaxed: it only remembers that the kernel refuses; nothing else is read by it.
    if (runs.size() < 2 || !batches_.load(std::memory_order_relaxed)) {
      return false;
    }
    std::array<iovec, kBatchRuns> parts;
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      parts[i] = {memory().page({runs[i].region, runs[i].first}), runs[i].bytes()};
      bytes += runs[i].bytes();
    }
    const auto done =
        ::syscall(SYS_process_madvise, self_.get(), parts.data(), runs.size(), MADV_DONTNEED, 0);
    if (done < 0 && (errno == EINVAL || errno == EPERM || errno == ENOSYS)) {
      batches_.store(false, std::memory_order_relaxed);
    }
    return done >= 0 && static_cast<std::uint64_t>(done) == bytes;
  }

  Status retract_each(std::span<const PageRun> runs) {
    for (const auto& run : runs) {
      if (::madvise(memory().page({run.region, run.first}), run.bytes(), MADV_DONTNEED) != 0) {
        return fail_errno(errno, "MADV_DONTNEED", "guest memory");
      }
    }
    return {};
  }

  const std::shared_ptr<Uffd> uffd_;
  const Fd self_;
  std::atomic<bool> batches_;
};

}  // namespace

std::unique_ptr<engine::PagePlacer> make_copy_placer(const engine::GuestMemory& memory,
                                                     std::shared_ptr<Uffd> uffd) {
  return std::make_unique<UffdCopyPlacer>(memory, std::move(uffd));
}

}  // namespace godwit::uffd
