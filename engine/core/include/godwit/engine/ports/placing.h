#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "godwit/base/result.h"
#include "godwit/base/units.h"

/// Ports: how pages get into the target's memory, and how it is served while pages are missing.
namespace godwit::engine {

/// What placing content into a page does to the guest's page table.
enum class Placing : std::uint8_t {
  kBehind,  ///< nothing: FaultService::map() makes a placed page visible (memfd)
  kMaps,    ///< it installs the page and wakes who waits; what becomes old must be retracted
};

/// Writes page content into guest memory behind the guest's back: where the guest runs, a page is
/// seen entirely or not at all. Thread: any, for distinct pages.
class PagePlacer {
 public:
  virtual ~PagePlacer() = default;
  [[nodiscard]] virtual Placing placing() const { return Placing::kBehind; }
  /// `bytes`: run.bytes() bytes. Cost: one copy; one system call a run for pwrite.
  virtual Status place(PageRun run, const std::byte* bytes) = 0;
  /// Where the bytes of the run may be written in place of place(), by the caller or the kernel;
  /// null: only place() will do. Until the page is mapped nobody sees what is written there.
  [[nodiscard]] virtual std::byte* place_of(PageRun /*run*/) { return nullptr; }
  /// Makes pages that may hold old bytes read zero.
  virtual Status place_zero(PageRun run) = 0;
  /// Takes pages out of the guest's page table, content and all, so that touching them faults; they
  /// are holes afterwards. Does nothing unless placing() is kMaps. Requires: the guest does not run
  /// here yet. Cost: a system call a run, or one for many runs where the kernel has that.
  virtual Status retract(std::span<const PageRun> runs);
  [[nodiscard]] virtual const char* name() const = 0;  ///< "alias", "pwrite", ...: for the report
};

inline Status PagePlacer::retract(std::span<const PageRun> /*runs*/) {
  return {};
}

/// What mapping a run did.
struct MapResult {
  std::uint64_t mapped = 0;   ///< pages now mapped by this call
  std::uint64_t already = 0;  ///< pages that were mapped before
};

/// A guest access that waits for its page.
struct PageFault {
  PageId page;
  bool minor = false;  ///< the file has the page, only the guest's table has not
};

/// The target's userfaultfd: delivers faults, maps pages and wakes who waits for them.
class FaultService {
 public:
  virtual ~FaultService() = default;
  /// Registers all guest memory. From here on touching an unmapped page waits.
  virtual Status arm() = 0;
  /// Unregisters; every waiting access goes on and is served by the kernel alone.
  virtual Status disarm() = 0;
  [[nodiscard]] virtual int fd() const = 0;
  /// Takes up to `faults.size()` faults without waiting; 0 = none. Thread: the urgent loop only.
  virtual Result<std::size_t> read(std::span<PageFault> faults) = 0;
  /// Maps pages whose content is valid (a hole becomes a zero page) and wakes their waiters. Pages
  /// that are mapped already are an outcome, and their waiters are woken too. Where placing maps,
  /// only holes are left to be mapped. Thread: any. Kernel: UFFDIO_CONTINUE on shmem, 5.14.
  virtual Result<MapResult> map(PageRun run) = 0;
  /// Pages that can only be mapped together, so that all of them must be valid before: 512 where
  /// memory is of huge pages. map() takes whole blocks, aligned to their size in the region.
  [[nodiscard]] virtual std::uint64_t block_pages() const { return 1; }
};

}  // namespace godwit::engine
