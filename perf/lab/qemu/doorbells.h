#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "godwit/vmm/throughput.h"

namespace godwit::lab {

/// Where doorbells came from.
enum class End : std::uint8_t { kSource = 0, kTarget = 1 };

struct SweepAnswer {
  bool done = false;
  std::uint64_t checked = 0;
  std::uint64_t mismatches = 0;
  std::uint64_t first_bad_page = 0;
};

/// Reads the bytes of a guest's serial port (guest/pc_platform.h), those of the source, then those
/// of the target: one stream, as the guest is one. A message that the migration cut in two is whole
/// again.
class Doorbells {
 public:
  /// Takes bytes that were read at `stamp_ns`.
  void feed(End end, std::span<const std::uint8_t> bytes, std::int64_t stamp_ns);

  [[nodiscard]] bool filled() const { return filled_; }
  [[nodiscard]] const SweepAnswer& sweep() const { return sweep_; }
  /// What the guest or the order of its steps say is wrong: empty when nothing is.
  [[nodiscard]] const std::string& error() const { return error_; }
  [[nodiscard]] std::uint64_t errors() const { return errors_; }
  [[nodiscard]] std::uint64_t steps() const { return steps_; }
  /// Stamps of the steps, in order.
  [[nodiscard]] std::span<const std::int64_t> stamps(End end) const {
    return stamps_[static_cast<std::size_t>(end)];
  }
  /// From the last step at the source to the first at the target; 0 when there is none yet.
  [[nodiscard]] std::int64_t gap_ns() const;
  /// The longest time between two steps that follow each other, of which the later one was stamped
  /// in from .. to. The gap counts.
  [[nodiscard]] std::int64_t largest_stall_ns(std::int64_t from_ns, std::int64_t to_ns) const;
  /// Intervals `first` to before `end`. The guest tells its touches every guest::kPcTouchesMs or
  /// later; they are booked in equal parts where the steps lie that it made meanwhile.
  [[nodiscard]] vmm::Throughput throughput(std::int64_t first, std::int64_t end) const;

 private:
  void step(End end, std::uint8_t low, std::int64_t stamp_ns);
  void begin(std::uint8_t kind);
  void digit(std::uint8_t bits);
  void message();
  void book_touches(std::uint64_t touches);
  void wrong(std::string text);

  std::array<std::vector<std::int64_t>, 2> stamps_;
  std::vector<std::int64_t> untold_;                 ///< steps whose touches are not told yet
  std::map<std::int64_t, std::uint64_t> intervals_;  ///< touches by vmm::Throughput::number_of()
  std::uint64_t steps_ = 0;
  bool filled_ = false;
  SweepAnswer sweep_;
  std::string error_;
  std::uint64_t errors_ = 0;
  std::uint8_t kind_ = 0;  ///< of the message that is being read; 0 = none
  std::size_t digits_ = 0;
  std::array<std::uint64_t, 4> numbers_{};
};

}  // namespace godwit::lab
