#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "godwit/vmm/guest.h"

#include "guest/workload.h"
#include "workload/throughput_book.h"

namespace godwit::vmm {

/// The host's book of doorbells: follows every vCPU's steps and turns them into GuestTelemetry.
/// It travels with the guest (section "telemetry"), so that the first step at the target must
/// follow the last at the source. Thread: doorbell() and pause() of one vCPU from its thread; the
/// rest from any.
class StepLog {
 public:
  static constexpr const char* kSection = "telemetry";

  struct Doorbell {
    std::uint64_t step = 0;
    std::uint64_t counter = 0;
    std::uint64_t longest_ticks = 0;
    std::uint64_t touches = 0;               ///< WorkloadState::touches
    std::span<const guest::SlowTouch> slow;  ///< VcpuBlock::slow, first slow_count entries
    std::int64_t stamp_ns = 0;               ///< CLOCK_MONOTONIC on arrival
  };

  StepLog(std::uint32_t vcpus, std::uint64_t counter_hz);

  /// Books one step. A step that does not follow the last, or a counter that went back, is a guest
  /// error.
  void doorbell(std::uint32_t vcpu, const Doorbell& doorbell);
  /// Says that the vCPU did not run between these values of its counter (also across a migration,
  /// before the first doorbell), so that a touch around a pause is not taken for a slow one. Not
  /// needed where pauses fall between touches only.
  void pause(std::uint32_t vcpu, std::uint64_t from_counter, std::uint64_t to_counter);
  /// Says that all vCPUs are told to run, at `now_ns`, before they are.
  void entering(std::int64_t now_ns);
  /// Books what the guest reported; `kind` is a guest::kError...; `page` a memory page or a
  /// register's number.
  void guest_error(std::uint32_t vcpu,
                   std::uint32_t kind,
                   std::uint64_t page,
                   std::uint64_t expected,
                   std::uint64_t found);
  /// Books an error that the VMM itself noticed ("vCPU 0 shut down").
  void guest_error(const std::string& text);

  [[nodiscard]] GuestTelemetry telemetry() const;
  /// As Guest::throughput().
  [[nodiscard]] Throughput throughput(std::int64_t first, std::int64_t end) const;
  void reset_stall();

  /// State to migrate, and its counterpart. Requires: no vCPU runs.
  [[nodiscard]] engine::StateSection save() const;
  /// Checks without changing anything. Errors: kRefused.
  [[nodiscard]] Status check(const engine::StateSection& section) const;
  /// Takes over the source's book. Errors: as check().
  Status load(const engine::StateSection& section);

 private:
  struct Pause {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
  };
  struct Entry {
    mutable std::mutex mutex;
    GuestTelemetry::Vcpu vcpu;
    Histogram slow_touches;
    std::uint64_t touches = 0;  ///< as the last doorbell told
    ThroughputBook throughput;
    std::vector<Pause> pauses;  ///< since the last doorbell
    /// Where the present step began, on this host's clock; 0 = unknown.
    std::int64_t previous_ns = 0;
    std::int64_t entering_ns = 0;  ///< when the vCPU was last told to run
    bool arrived = false;          ///< migrated here, and no step has ended yet
  };
  struct Saved;
  [[nodiscard]] Result<Saved> decode(const engine::StateSection& section) const;
  [[nodiscard]] std::int64_t to_ns(std::uint64_t ticks) const;
  static std::uint64_t without_pauses(const Entry& entry, const guest::SlowTouch& touch);
  void count_error(std::string text, bool hole);

  const std::uint64_t counter_hz_;
  std::vector<std::unique_ptr<Entry>> entries_;
  mutable std::mutex error_mutex_;
  std::uint64_t errors_ = 0;
  std::uint64_t holes_ = 0;
  std::string first_error_;
};

}  // namespace godwit::vmm
