#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "godwit/base/event_loop.h"
#include "godwit/base/result.h"
#include "godwit/base/units.h"

/// The ports: what the engine asks of the world. kvm/, uffd/ and net/ implement them; tests use
/// fakes.
namespace godwit::engine {

// ------------------------------------------------------------------------------------------ memory

/// One region of guest memory as this process sees it.
struct MemoryRegion {
  std::uint64_t gpa = 0;  ///< guest-physical address of the first byte
  std::uint64_t page_count = 0;
  std::byte* guest = nullptr;  ///< the mapping that the guest runs on
  /// A second mapping of the same file (target); null where there is none.
  std::byte* alias = nullptr;
  int fd = -1;               ///< the memfd behind it, not owned; -1: private anonymous memory
  std::uint64_t offset = 0;  ///< of the region in `fd`, bytes
  /// Pages of 4 KiB that the kernel allocates, maps and protects only together: 512 on hugetlbfs.
  /// Regions are then whole blocks, aligned to them.
  std::uint64_t block_pages = 1;
};

/// The regions of one guest. Ownership: none; the VMM owns mappings and fds and outlives every
/// user.
struct GuestMemory {
  std::vector<MemoryRegion> regions;
  [[nodiscard]] std::uint64_t page_count() const {
    std::uint64_t sum = 0;
    for (const auto& region : regions) {
      sum += region.page_count;
    }
    return sum;
  }
  [[nodiscard]] std::byte* page(PageId id) const {
    return regions[id.region].guest + (id.index << kPageShift);
  }
};

/// Calls `found` for every run of pages that were ever written, in address order.
/// A page outside every run reads zero and is never read by the engine. Requires: tracking is armed
/// before.
class PopulatedScan {
 public:
  virtual ~PopulatedScan() = default;
  virtual Status scan(const std::function<void(PageRun)>& found) = 0;
};

// ---------------------------------------------------------------------------------- dirty tracking

/// Where producers mark written pages. Lock-free; any thread.
class DirtySink {
 public:
  virtual ~DirtySink() = default;
  /// Bit i of `mask` = page 64 * word + i of `region`.
  virtual void mark(RegionIndex region, std::uint64_t word, std::uint64_t mask) = 0;
};

/// A way to learn which pages were written. Order is correctness: see docs/dirty-tracking.md.
/// Thread: start, sync, stop from the migration thread.
class DirtySource {
 public:
  virtual ~DirtySource() = default;
  /// Guarantees: every write that starts after the return is marked in `sink` by a later sync() at
  /// the latest.
  virtual Status start(DirtySink& sink) = 0;
  /// Guarantees: every write that ended before the call is marked on return, and its page is
  /// re-armed before the caller reads it, so that any later write will be marked again.
  virtual Status sync() = 0;
  /// Ends tracking; joins producers. Idempotent. The guest may be running or not.
  virtual void stop() = 0;
  [[nodiscard]] virtual const char* name() const = 0;  ///< "log", "wp", ...: for the report
};

// --------------------------------------------------------------------------------------- the guest

/// One named, versioned piece of machine state; `payload` is opaque to the engine.
struct StateSection {
  std::string name;  ///< "vcpu", "workload", ...
  std::uint32_t instance = 0;
  std::uint32_t version = 1;
  bool required = true;  ///< a target that does not know it refuses before handover
  std::vector<std::byte> payload;
};

/// What the source tells of the machine before any page moves.
struct MachineDescription {
  struct Region {
    std::uint64_t gpa = 0;
    std::uint64_t page_count = 0;
  };
  std::vector<Region> regions;
  std::uint32_t vcpus = 0;
  std::string kind;  ///< "kvm" or "process"
  /// Opaque blobs for the target's VMM (name "workload": its configuration).
  std::vector<StateSection> config;
};

/// The moments of a guest's stop or start, CLOCK_MONOTONIC ns; 0 = did not happen.
struct RunEdge {
  std::int64_t first_ns = 0;  ///< the first vCPU stopped / entered
  std::int64_t last_ns = 0;   ///< the last one
};

/// A machine at the source. Thread: all calls from the migration thread.
class SourceGuest {
 public:
  virtual ~SourceGuest() = default;
  virtual MachineDescription describe() = 0;
  [[nodiscard]] virtual const GuestMemory& memory() const = 0;
  virtual PopulatedScan& populated() = 0;
  /// Null: this guest cannot be tracked here (`why` explains); only stop-and-copy and postcopy are
  /// possible.
  virtual DirtySource* dirty_source(std::string& why) = 0;
  /// Stops devices, then vCPUs; returns when all are stopped and their exits completed.
  virtual Result<RunEdge> quiesce() = 0;
  virtual Result<std::vector<StateSection>> save_state() = 0;
  /// Runs the guest on after an unsuccessful migration. Legal when it runs already.
  virtual Status resume() = 0;
};

/// A paused machine at the target. Thread: load and run from the target's control thread.
class TargetGuest {
 public:
  virtual ~TargetGuest() = default;
  [[nodiscard]] virtual const GuestMemory& memory() const = 0;
  /// Waits for what the making of the machine still does in the background. Called when everything
  /// of pre-copy is placed, while the guest still runs at the source (hybrid and post-copy), so
  /// that load_state() finds nothing left to wait for. Errors: the machine cannot be used.
  virtual Status prepare() { return {}; }
  /// Errors: kRefused when nothing was modified (recoverable); others leave the machine unusable.
  virtual Status load_state(std::span<const StateSection> sections) = 0;
  /// Enters all vCPUs; returns when they have been told to run. `first_ns` of run_edge() follows.
  virtual Status run() = 0;
  [[nodiscard]] virtual RunEdge run_edge() const = 0;
};

// ------------------------------------------------------------------------------ placing and faults

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

/// Makes the target's machine once the source has described it.
class TargetHost {
 public:
  virtual ~TargetHost() = default;
  struct Options {
    bool postcopy = true;   ///< pages may come after the switch: userfaultfd is needed
    bool prealloc = false;  ///< memory populated now
  };
  struct Machine {
    std::unique_ptr<TargetGuest> guest;
    std::unique_ptr<PagePlacer> placer;
    std::unique_ptr<FaultService> faults;  ///< null unless Options::postcopy
    std::int64_t prealloc_ns = 0;
  };
  /// Errors: kRefused with a reason (layout, memory cap, userfaultfd missing): nothing has changed.
  virtual Result<Machine> create(const MachineDescription& description, const Options& options) = 0;
};

// --------------------------------------------------------------------------------------- transport

/// Receives what happens on a channel. Called from EventLoop::run_once() of the channel's loop
/// only.
class ChannelHandler {
 public:
  virtual ~ChannelHandler() = default;
  /// Where the next bytes go; must stay valid until on_received(). Never empty.
  virtual std::span<std::byte> receive_space() = 0;
  /// `bytes` of the last receive_space() were filled (1 .. its size).
  virtual void on_received(std::size_t bytes) = 0;
  /// The bytes of the last start_send() were all handed to the socket.
  virtual void on_sent() = 0;
  /// The channel is dead; called once. kClosed: the peer closed. No more calls follow.
  virtual void on_error(const Error& error) = 0;
};

/// One connection. Thread: its loop's, except shut_down().
class Channel {
 public:
  virtual ~Channel() = default;
  /// Joins `loop` and starts receiving into `handler`. Once. Requires: `loop` came from the same
  /// Transport.
  virtual Status attach(EventLoop& loop, ChannelHandler& handler) = 0;
  /// Before attach() only: fills all of `bytes`, waiting until `deadline`. For a connection's first
  /// frame, which says which thread the channel belongs to. Errors: kTimeout, kClosed.
  virtual Status receive_exact(std::span<std::byte> bytes, Deadline deadline) = 0;
  /// Before attach() only: sends all of `bytes`, waiting until `deadline`. For the answer to a
  /// stranger.
  virtual Status send_exact(std::span<const std::byte> bytes, Deadline deadline) = 0;
  /// Starts sending all bytes of `parts` (the iovecs are copied, the bytes are not: they stay
  /// unchanged until on_sent()). Requires: !sending(). At most kMaxSendParts parts.
  virtual Status start_send(std::span<const iovec> parts) = 0;
  [[nodiscard]] virtual bool sending() const = 0;
  /// Breaks the connection: both directions end, pending operations fail. Thread: any. Idempotent.
  virtual void shut_down() = 0;
  /// Bytes handed to / taken from the socket so far. Thread: any.
  [[nodiscard]] virtual std::uint64_t bytes_sent() const = 0;
  [[nodiscard]] virtual std::uint64_t bytes_received() const = 0;
};

inline constexpr std::size_t kMaxSendParts = 512;

enum class ChannelKind : std::uint8_t { kControl = 1, kBulk = 2, kUrgent = 3 };

/// Makes loops and outgoing connections.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual Result<std::unique_ptr<EventLoop>> make_loop() = 0;
  /// Connects to the peer (an address the transport was made with). Thread: any. Sets buffers and
  /// congestion control as the kind asks: bulk bounds its bytes in flight, urgent and control send
  /// at once.
  virtual Result<std::unique_ptr<Channel>> connect(ChannelKind kind, Deadline deadline) = 0;
  /// Ends connect(), under way or to come, with kCancelled; where a transport cannot interrupt one
  /// (net: a Unix listener without room), at its deadline. Thread: any; does not wait for it.
  virtual void interrupt() = 0;
  [[nodiscard]] virtual std::string name() const = 0;  ///< "uring" or "poll"
  /// In use, after the first connect; "none" where the transport has no such thing.
  [[nodiscard]] virtual std::string congestion() const = 0;
};

/// Takes incoming connections. The kind is known only after the first frame; tune() applies its
/// socket options.
class Listener {
 public:
  virtual ~Listener() = default;
  /// The bound address as tcp:HOST:PORT or unix:PATH.
  [[nodiscard]] virtual std::string address() const = 0;
  [[nodiscard]] virtual int fd() const = 0;  ///< readable when a connection waits
  /// Accepts one connection if one waits; null if none does. Never blocks.
  virtual Result<std::unique_ptr<Channel>> accept() = 0;
  virtual void tune(Channel& channel, ChannelKind kind) = 0;
};

}  // namespace godwit::engine
