#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "godwit/base/clock.h"
#include "godwit/base/histogram.h"
#include "godwit/base/names.h"
#include "godwit/base/result.h"
#include "godwit/engine/ports/guest.h"
#include "godwit/vmm/dirty_choice.h"
#include "godwit/vmm/throughput.h"

/// The reference machines: what the command and the tests migrate.
namespace godwit::vmm {

enum class Workload : std::uint8_t {
  kIdle = 1,
  kSequentialWrite,
  kRandomWrite,
  kZipfWrite,
  kRandomRead,
  kSequentialRead
};
enum class Fill : std::uint8_t { kRandom = 1, kCompressible, kZero, kAlternating };
/// What guest memory is made of.
enum class Backing : std::uint8_t {
  kMemfd = 1,  ///< a shared memfd of 4 KiB pages
  kAnonymous,  ///< private anonymous memory of 4 KiB pages
  kHugetlb,    ///< a shared memfd of huge pages of 2 MiB, from the host's pool
};

/// Everything that makes a guest; the source sends it to the target in the machine description,
/// but for what says otherwise.
struct GuestConfig {
  GuestKind kind = GuestKind::kProcess;
  std::uint64_t memory_bytes = 1ULL << 30;
  std::uint64_t populated_bytes = 1ULL << 30;
  std::uint64_t working_set_bytes = 256ULL << 20;
  std::uint32_t vcpus = 1;
  Workload workload = Workload::kIdle;
  std::uint64_t rate_bytes_per_s = 0;  ///< of the whole guest; 0 = full speed
  Fill fill = Fill::kRandom;
  Backing backing = Backing::kMemfd;
  std::uint64_t seed = 1;
  /// A matter of this host: not sent, so that a received guest has kAuto.
  DirtyChoice dirty = DirtyChoice::kAuto;
  /// Plants a fault for the test of the tests: a canary register of vCPU 0 is left out of
  /// load_state().
  bool skip_register = false;
};

/// Checks sizes and combinations. Errors: kInvalidArgument; its operation is the field that is off.
Status validate(const GuestConfig& config);
/// On-wire form of the config (versioned, little-endian), as the description's section "workload".
engine::StateSection encode_config(const GuestConfig& config);
Result<GuestConfig> decode_config(const engine::StateSection& section);

inline constexpr Names kWorkloadNames{
    std::array{Named{Workload::kIdle, "idle"},
               Named{Workload::kSequentialWrite, "sequential-write"},
               Named{Workload::kRandomWrite, "random-write"},
               Named{Workload::kZipfWrite, "zipf-write"},
               Named{Workload::kRandomRead, "random-read"},
               Named{Workload::kSequentialRead, "sequential-read"}}};
inline constexpr Names kFillNames{std::array{Named{Fill::kRandom, "random"},
                                             Named{Fill::kCompressible, "compressible"},
                                             Named{Fill::kZero, "zero"},
                                             Named{Fill::kAlternating, "alternating"}}};
inline constexpr Names kBackingNames{std::array{Named{Backing::kMemfd, "memfd"},
                                                Named{Backing::kAnonymous, "anonymous"},
                                                Named{Backing::kHugetlb, "hugetlb"}}};
inline constexpr Names kGuestKindNames{
    std::array{Named{GuestKind::kKvm, "kvm"}, Named{GuestKind::kProcess, "process"}}};

/// By these tables; "unknown" for a value that is in none.
std::string_view workload_name(Workload workload);
std::optional<Workload> parse_workload(std::string_view name);
std::string_view fill_name(Fill fill);
std::optional<Fill> parse_fill(std::string_view name);
std::string_view kind_name(GuestKind kind);
std::string_view backing_name(Backing backing);
std::optional<Backing> parse_backing(std::string_view name);

/// Guest memory layout: one region, two halves from 2 GiB on (the second from gpa 4 GiB on at the
/// earliest).
std::vector<engine::MachineDescription::Region> region_layout(std::uint64_t memory_bytes);

/// What a full sweep found. Pages are data pages with a generation, plus holes.
struct SweepResult {
  std::uint64_t pages_expected = 0;
  std::uint64_t pages_checked = 0;
  std::uint64_t mismatches = 0;
  std::uint64_t first_bad_page = 0;  ///< global page number; valid when mismatches > 0
};

/// The guest's own view. A step ends with a doorbell; stamps are CLOCK_MONOTONIC of the doorbell's
/// arrival.
struct GuestTelemetry {
  struct Vcpu {
    std::uint64_t steps = 0;        ///< number of the last step
    std::int64_t last_step_ns = 0;  ///< its stamp
    /// The guest's counter (TSC, or ns for the process guest) in it.
    std::uint64_t last_counter = 0;
    std::int64_t first_step_ns = 0;  ///< first step since this process runs the guest; 0 = none yet
    std::uint64_t first_counter = 0;
    std::int64_t first_step_faults_ns = 0;  ///< longest touch inside that first step
    /// Of that first step, what passed after the vCPU was told to run here: its own time, and every
    /// fault in it, also those of code, stack and page tables, which lie outside of touches.
    std::int64_t first_step_here_ns = 0;
    /// Last stamp at the source, from its state; 0 = never migrated.
    std::int64_t previous_step_ns = 0;
    std::uint64_t previous_counter = 0;
    std::int64_t largest_step_ns = 0;  ///< the longest time between two steps since reset_stall()
  };
  std::vector<Vcpu> vcpus;
  std::uint64_t counter_hz = 1'000'000'000;
  /// Wrong page, generation sum or canary register, step out of order.
  std::uint64_t guest_errors = 0;
  std::string first_error;  ///< names page or register
  /// Steps that did not follow each other (also counted in guest_errors).
  std::uint64_t step_holes = 0;
  Histogram slow_touches;  ///< touches longer than 5 us since this process runs the guest
};

/// A guest that can be booted, migrated away, received, and asked to check itself.
/// Thread: control calls from one thread at a time; telemetry() from any.
class Guest : public engine::SourceGuest, public engine::TargetGuest {
 public:
  /// Starts the guest from nothing: it fills its memory, then runs its workload.
  virtual Status boot() = 0;
  /// Whether the initial fill has ended on all vCPUs.
  [[nodiscard]] virtual bool filled() const = 0;
  /// Full check of every data page by the guest itself (each vCPU its part, workload resumes
  /// after), and of the holes by the VMM without filling them. Errors: kTimeout after `deadline`.
  virtual Result<SweepResult> sweep(Deadline deadline) = 0;
  [[nodiscard]] virtual GuestTelemetry telemetry() const = 0;
  /// What the guest did here in the intervals from `first` to before `end`, of the last 65,536 at
  /// most; zero in those when it was not here.
  [[nodiscard]] virtual Throughput throughput(std::int64_t first, std::int64_t end) const = 0;
  /// Restarts the measure of the largest stall.
  virtual void reset_stall() = 0;
  /// Ends vCPUs; the memory stays. Idempotent.
  virtual void stop() = 0;
  [[nodiscard]] virtual const GuestConfig& config() const = 0;
  [[nodiscard]] const engine::GuestMemory& memory() const override = 0;
};

/// How guest memory is made.
struct MemoryOptions {
  bool with_alias = false;  ///< a second mapping, for placing pages (target); memfd only
  /// KVM learns of the memory while pages already arrive; prepare() waits for it (target).
  bool register_in_background = false;
  bool in_core_dumps = false;  ///< guest memory is part of a core dump of this process
};

/// Makes a machine with its memory; nothing runs yet: boot() it, or load_state() and run() it.
/// Errors: kUnsupported/kPermission (no KVM, or not the dirty source of `config`), kNoMemory,
/// kInvalidArgument.
Result<std::unique_ptr<Guest>> make_guest(const GuestConfig& config, const MemoryOptions& options);

}  // namespace godwit::vmm
