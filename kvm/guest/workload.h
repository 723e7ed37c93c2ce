#pragma once

#include <stddef.h>
#include <stdint.h>

/// The guest's workload, shared word for word by the KVM payload (freestanding, no vector
/// registers, no libc) and by the process guest. It exists to notice damage: a page that was lost,
/// stale, torn or mixed up in a migration must be found by the guest itself, without help from the
/// engine.
///
/// How damage is found
/// - Every data page holds a function of (seed, page number, generation), and the check covers all
///   512 words. Damage is found by what the page holds instead:
///     lost      zeros
///     stale     an older generation
///     torn      two generations
///     mixed up  another page's content
/// - Generations are in a table in guest memory, one 32-bit entry a data page. If only the page or
///   only its table entry is stale, the two disagree.
/// - A page and its table entry that become stale *together* agree. Therefore each vCPU keeps the
///   sum of the generations of its slice in a register, never in guest memory: the sweep compares
///   it with the table.
/// - A migration may suspend the guest between any two instructions. That needs no care here:
///   nobody else writes these pages, and the check runs between touches only.
///
/// Steps: after each touch the counter is read, and the step ends when kStepUs have passed since
/// the last one ended or the touch took over kLongTouchUs. A step ends with a doorbell that the
/// host stamps; numbers rise by one.
///
/// All addresses in guest memory are guest-physical: the process guest is mapped elsewhere at the
/// target.
namespace godwit::guest {

inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint64_t kPageWords = kPageBytes / sizeof(uint64_t);
inline constexpr uint64_t kParamsMagic = 0x736D617261706777ULL;  // "wgparams"
inline constexpr uint64_t kBlockMagic = 0x6B636F6C62706777ULL;   // "wgpblock"
inline constexpr uint32_t kParamsVersion = 1;

inline constexpr uint64_t kStepUs = 100;       ///< a step lasts about this long
inline constexpr uint64_t kLongTouchUs = 20;   ///< a touch longer than this ends its step
inline constexpr uint64_t kSlowTouchUs = 5;    ///< a touch longer than this is reported one by one
inline constexpr uint64_t kSleepUs = 1000;     ///< an idle step; the longest sleep of a paced one
inline constexpr uint64_t kCatchUpUs = 10000;  ///< how much lost time a paced workload makes up for

/// Slow touches of one step: each takes over 5 us and the step ends once 100 us have passed, so 21
/// fit.
inline constexpr uint32_t kSlowTouchesPerStep = 32;
inline constexpr uint32_t kZipfOctaves = 48;
inline constexpr uint32_t kMaxSegments = 4;

// Values as in godwit::vmm::Workload and godwit::vmm::Fill.
inline constexpr uint32_t kIdle = 1;
inline constexpr uint32_t kSequentialWrite = 2;
inline constexpr uint32_t kRandomWrite = 3;
inline constexpr uint32_t kZipfWrite = 4;
inline constexpr uint32_t kRandomRead = 5;
inline constexpr uint32_t kSequentialRead = 6;
inline constexpr uint32_t kFillRandom = 1;
inline constexpr uint32_t kFillCompressible = 2;
inline constexpr uint32_t kFillZero = 3;
inline constexpr uint32_t kFillAlternating = 4;  ///< even pages random, odd pages zero

/// What the doorbell returns.
inline constexpr uint32_t kCommandNone = 0;
inline constexpr uint32_t kCommandSweep = 1;
inline constexpr uint32_t kCommandStop = 2;

/// What report_error() names, with its arguments:
///
///   kind                 page             expected             found
///   kErrorPage           data page        generation by table  generation found or kNoGeneration
///   kErrorGenerationSum  slice's first    sum by register      sum by table
///   kErrorCanary         register number  value at first       value now
inline constexpr uint32_t kErrorPage = 1;
inline constexpr uint32_t kErrorGenerationSum = 2;
inline constexpr uint32_t kErrorCanary = 3;
inline constexpr uint64_t kNoGeneration = ~0ULL;

/// Data pages first_page .. (next segment's first_page - 1) lie one after another from `gpa` on.
struct DataSegment {
  uint64_t first_page;
  uint64_t gpa;
};

/// What the VMM tells the guest. It lies in guest memory, is written once before boot and never
/// changes. Units: ticks of Platform::now().
struct WorkloadParams {
  uint64_t magic;
  uint32_t version;
  uint32_t vcpus;
  uint64_t seed;
  uint32_t workload;
  uint32_t fill;
  uint64_t ticks_per_ms;
  uint64_t touch_period_q8;  ///< ticks between two touches of one vCPU, times 256; 0 = full speed
  uint64_t table_gpa;        ///< uint32_t generation[data_pages]
  uint64_t blocks_gpa;       ///< VcpuBlock i at blocks_gpa + i * kPageBytes
  uint64_t data_pages;
  /// Of one vCPU, from the start of its slice; at least 1, at most the smallest slice.
  uint64_t working_set_pages;
  uint64_t zipf_stride;  ///< coprime to working_set_pages: spreads neighbouring ranks
  uint32_t segment_count;
  uint32_t zipf_octave_count;
  DataSegment segments[kMaxSegments];
  /// Cumulative weight of the ranks below 2^(i+1), in 1/2^32; the last is 2^32 - 1.
  uint32_t zipf_octaves[kZipfOctaves];
};
static_assert(sizeof(WorkloadParams) <= kPageBytes, "one page");

/// One touch that took over kSlowTouchUs. Units: ticks.
struct SlowTouch {
  uint64_t end;  ///< the counter after it: lets the host tell whether a pause lay inside
  uint64_t duration;
};

/// Where a vCPU is in its workload. The KVM payload keeps it in guest memory (inside the
/// VcpuBlock), the process guest outside of guest memory, as machine state.
struct WorkloadState {
  uint64_t started;
  uint64_t fill_next;  ///< next data page to fill; the end of the slice once filled
  uint64_t rng;
  uint64_t cursor;      ///< of the sequential workloads
  uint64_t step;        ///< number of the last step
  uint64_t step_start;  ///< counter when it ended
  uint64_t longest;     ///< longest touch of the present step, ticks
  uint64_t pace_base;
  uint64_t pace_touches;
  uint64_t touches;  ///< of the workload since it began; of an idle one, which has none, its steps
  uint32_t slow_count;  ///< of VcpuBlock::slow in the present step
  uint32_t sweeping;  ///< a sweep was asked for and is not done: after a migration it starts again
};

/// A vCPU's own page of guest memory.
struct VcpuBlock {
  uint64_t magic;
  uint32_t vcpu;
  uint32_t reserved;
  /// For a platform whose canaries include segment bases: what %fs:0 and %gs:0 read.
  uint64_t fs_canary;
  uint64_t gs_canary;
  WorkloadState state;
  /// Of the present step; valid at the doorbell, up to its slow_count.
  SlowTouch slow[kSlowTouchesPerStep];
};
static_assert(sizeof(VcpuBlock) <= kPageBytes, "one page");

/// A data page range of one vCPU.
struct Slice {
  uint64_t first;
  uint64_t end;
};

inline Slice slice_of(uint64_t data_pages, uint32_t vcpus, uint32_t vcpu) {
  return Slice{data_pages * vcpu / vcpus, data_pages * (vcpu + 1ULL) / vcpus};
}

/// Guest-physical address of a data page.
inline uint64_t data_page_gpa(const WorkloadParams& params, uint64_t page) {
  uint32_t segment = params.segment_count - 1;
  while (segment > 0 && page < params.segments[segment].first_page) {
    --segment;
  }
  return params.segments[segment].gpa + (page - params.segments[segment].first_page) * kPageBytes;
}

// ------------------------------------------------------------------------------------ page content

inline constexpr uint64_t kWordStep = 0x9E3779B97F4A7C15ULL;  // odd: 512 steps never meet
// Odd: a bijection, so distinct inputs stay distinct.
inline constexpr uint64_t kWordFactor = 0xD6E8FEB86659FD93ULL;

/// Full avalanche, for page bases and random numbers. Source: the finaliser of SplitMix64 (OOPSLA
/// 2014).
inline uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

/// One multiply a word: the base is avalanched already, the word only has to look random to a
/// compressor.
inline uint64_t mix_word(uint64_t x) {
  return (x ^ (x >> 32)) * kWordFactor;
}

inline uint64_t page_base(uint64_t seed, uint64_t page, uint64_t generation) {
  return mix64(mix64(seed + page * kWordStep) ^ ((generation + 1) * kWordFactor));
}

/// A fill that packs to about an eighth: one random word, seven that repeat within the page.
inline uint64_t compressible_word(uint64_t base, uint64_t i) {
  return (i & 7) == 0 ? mix_word(base + i) : base >> 8;
}

/// What a page is filled with, when fills differ by page.
inline uint32_t fill_of_page(uint32_t fill, uint64_t page) {
  if (fill == kFillAlternating) {
    return (page & 1) == 0 ? kFillRandom : kFillZero;
  }
  return fill;
}

/// Word `i` of a page: the definition. The loops below are its fast forms.
inline uint64_t page_word(
    uint64_t seed, uint32_t fill, uint64_t page, uint64_t generation, uint64_t i) {
  const uint64_t base = page_base(seed, page, generation);
  fill = fill_of_page(fill, page);
  if (generation == 0 && fill == kFillZero) {
    return 0;
  }
  if (generation == 0 && fill == kFillCompressible) {
    return compressible_word(base, i);
  }
  return mix_word(base + i * kWordStep);
}

/// Writes a whole page. The initial fill (generation 0) follows `fill`, later generations never
/// compress.
inline void write_page(
    uint64_t* words, uint64_t seed, uint32_t fill, uint64_t page, uint64_t generation) {
  const uint64_t base = page_base(seed, page, generation);
  fill = fill_of_page(fill, page);
  if (generation != 0 || fill == kFillRandom) {
    uint64_t x = base;
    for (uint64_t i = 0; i < kPageWords; ++i, x += kWordStep) {
      words[i] = mix_word(x);
    }
    return;
  }
  // Volatile, because a page of zeros must be written too (it becomes populated) and must not turn
  // into a call of memset, which the freestanding payload lacks.
  volatile uint64_t* out = words;
  for (uint64_t i = 0; i < kPageWords; ++i) {
    out[i] = fill == kFillZero ? 0 : compressible_word(base, i);
  }
}

/// Whether every word is that of the generation. Cost: reads the page once, no early exit.
inline bool check_page(
    const uint64_t* words, uint64_t seed, uint32_t fill, uint64_t page, uint64_t generation) {
  const uint64_t base = page_base(seed, page, generation);
  uint64_t wrong = 0;
  fill = fill_of_page(fill, page);
  if (generation != 0 || fill == kFillRandom) {
    uint64_t x = base;
    for (uint64_t i = 0; i < kPageWords; ++i, x += kWordStep) {
      wrong |= words[i] ^ mix_word(x);
    }
  } else {
    for (uint64_t i = 0; i < kPageWords; ++i) {
      wrong |= words[i] ^ (fill == kFillZero ? 0 : compressible_word(base, i));
    }
  }
  return wrong == 0;
}

/// Which generation a wrong page holds (up to 256 back and one ahead), or kNoGeneration: for the
/// report only.
inline uint64_t find_generation(
    const uint64_t* words, uint64_t seed, uint32_t fill, uint64_t page, uint64_t expected) {
  for (uint64_t back = 0; back <= 257 && back <= expected + 1; ++back) {
    if (check_page(words, seed, fill, page, expected + 1 - back)) {
      return expected + 1 - back;
    }
  }
  return kNoGeneration;
}

// --------------------------------------------------------------------------------- the vCPU's loop

/// What Platform::begin_touch() says.
enum class Gate : uint32_t {
  kGo,      ///< go on; no time was lost here
  kParked,  ///< the vCPU was parked inside this call: read the counter afresh
  kStop     ///< leave run()
};

/// One vCPU's workload. `Platform` provides (all may be inline and empty where nothing is to do):
///   uint64_t now();                     the counter, ticks
///   void sleep(uint64_t ticks);         about that long; earlier is fine
///   Gate begin_touch();                 before every touch and between sleeps; KVM: always kGo
///   uint64_t* words(uint64_t gpa);      where guest-physical memory is; 8-byte aligned
///   void wrote(uint64_t gpa);           after writing within that page; KVM: nothing
///   uint64_t generation_sum();          kept in a register
///   void set_generation_sum(uint64_t);
///   void check_canaries();              once a step; reports kErrorCanary by itself
///   void filled();                      the slice is filled
///   uint32_t doorbell(uint64_t step, uint64_t counter, uint64_t longest, uint32_t slow_count);
///                                       at the end of a step; returns a command
///   void report_error(uint32_t kind, uint64_t page, uint64_t expected, uint64_t found);
///   void sweep_done(uint64_t checked, uint64_t mismatches, uint64_t first_bad_page);
/// Requires: `params`, `block` and `state` outlive it; for a new guest the state is zero, and the
/// platform's generation sum too. After a migration the same state goes on.
template <typename Platform>
class VcpuWorkload {
 public:
  VcpuWorkload(const WorkloadParams& params,
               uint32_t vcpu,
               VcpuBlock& block,
               WorkloadState& state,
               Platform& platform)
      : params_(params),
        block_(block),
        block_gpa_(params.blocks_gpa + vcpu * kPageBytes),
        state_(state),
        platform_(platform),
        vcpu_(vcpu),
        slice_(slice_of(params.data_pages, params.vcpus, vcpu)) {}

  /// Fills the slice if that is not done, then works until told to stop.
  void run() {
    if (state_.started == 0) {
      state_.fill_next = slice_.first;
      state_.rng = mix64(params_.seed + vcpu_ + 1);
      state_.step_start = platform_.now();
      state_.pace_base = state_.step_start;
      state_.started = 1;
    }
    mark_ = platform_.now();
    if (!fill()) {
      return;
    }
    for (;;) {
      if (state_.sweeping != 0 && !sweep()) {
        return;
      }
      if (!one_touch()) {
        return;
      }
    }
  }

 private:
  static constexpr bool kGoOn = true;

  [[nodiscard]] uint64_t ticks(uint64_t us) const { return params_.ticks_per_ms * us / 1000; }

  uint32_t* table_entry(uint64_t page) {
    const uint64_t word = page / 2;
    uint64_t* base = platform_.words(params_.table_gpa);
    return reinterpret_cast<uint32_t*>(base + word) + page % 2;
  }
  [[nodiscard]] uint64_t table_entry_gpa(uint64_t page) const {
    return params_.table_gpa + page * sizeof(uint32_t);
  }

  /// Lets the platform park this vCPU. Returns false to stop.
  bool pass_gate() {
    const Gate gate = platform_.begin_touch();
    if (gate == Gate::kParked) {
      mark_ = platform_.now();
    }
    return gate != Gate::kStop;
  }

  /// Reads the counter after a touch, keeps its time and ends the step when that is due. Returns
  /// false to stop.
  bool after_touch() {
    const uint64_t now = platform_.now();
    const uint64_t duration = now - mark_;
    mark_ = now;
    if (duration > state_.longest) {
      state_.longest = duration;
    }
    if (duration > ticks(kSlowTouchUs) && state_.slow_count < kSlowTouchesPerStep) {
      block_.slow[state_.slow_count].end = now;
      block_.slow[state_.slow_count].duration = duration;
      ++state_.slow_count;
      platform_.wrote(block_gpa_);
    }
    if (duration > ticks(kLongTouchUs) || now - state_.step_start >= ticks(kStepUs)) {
      return end_step(now);
    }
    return kGoOn;
  }

  bool end_step(uint64_t now) {
    platform_.check_canaries();
    ++state_.step;
    const uint64_t longest = state_.longest;
    const uint32_t slow_count = state_.slow_count;
    state_.longest = 0;
    state_.slow_count = 0;
    state_.step_start = now;
    const uint32_t command = platform_.doorbell(state_.step, now, longest, slow_count);
    if (command == kCommandSweep) {
      state_.sweeping = 1;
    }
    mark_ = platform_.now();
    return command != kCommandStop;
  }

  bool fill() {
    if (state_.fill_next >= slice_.end) {
      return kGoOn;
    }
    while (state_.fill_next < slice_.end) {
      if (!pass_gate()) {
        return false;
      }
      const uint64_t page = state_.fill_next;
      const uint64_t gpa = data_page_gpa(params_, page);
      write_page(platform_.words(gpa), params_.seed, params_.fill, page, 0);
      *static_cast<volatile uint32_t*>(table_entry(page)) = 0;  // populates the table
      platform_.wrote(gpa);
      platform_.wrote(table_entry_gpa(page));
      state_.fill_next = page + 1;
      if (!after_touch()) {
        return false;
      }
    }
    platform_.filled();
    return kGoOn;
  }

  bool one_touch() {
    if (!pass_gate()) {
      return false;
    }
    uint64_t wait = ticks(kSleepUs);
    if (params_.workload != kIdle) {
      wait = time_ahead();
    }
    if (wait != 0) {
      return rest(wait);
    }
    touch(slice_.first + pick());
    ++state_.touches;
    return after_touch();
  }

  /// Sleeps, and ends the step if it is over. A sleep is not a touch: it enters no latency.
  bool rest(uint64_t wait) {
    platform_.sleep(wait);
    mark_ = platform_.now();
    if (mark_ - state_.step_start >= ticks(kStepUs)) {
      state_.touches += params_.workload == kIdle ? 1 : 0;
      return end_step(mark_);
    }
    return kGoOn;
  }

  /// How long to sleep to keep the rate; 0 while less than a step ahead, because short sleeps are
  /// mostly overhead.
  uint64_t time_ahead() {
    if (params_.touch_period_q8 == 0) {
      return 0;
    }
    const uint64_t due = state_.pace_base + ((state_.pace_touches * params_.touch_period_q8) >> 8);
    if (mark_ > due + ticks(kCatchUpUs)) {  // a pause or a slow time: that much is not made up for
      state_.pace_base = mark_;
      state_.pace_touches = 0;
    } else if (due >= mark_ + ticks(kStepUs)) {
      const uint64_t ahead = due - mark_;
      return ahead < ticks(kSleepUs) ? ahead : ticks(kSleepUs);
    } else if (state_.pace_touches >= (1U << 16)) {  // before the product overflows
      state_.pace_base = due;
      state_.pace_touches = 0;
    }
    ++state_.pace_touches;
    return 0;
  }

  uint64_t random() {
    state_.rng += kWordStep;
    return mix64(state_.rng);
  }

  /// The next page of the working set, counted from the slice's start.
  uint64_t pick() {
    const uint64_t pages = params_.working_set_pages;
    switch (params_.workload) {
      case kRandomWrite:
      case kRandomRead:
        return ((random() >> 32) * pages) >> 32;
      case kZipfWrite:
        return pick_zipf(pages);
      default: {
        const uint64_t page = state_.cursor;
        state_.cursor = page + 1 < pages ? page + 1 : 0;
        return page;
      }
    }
  }

  /// Zipf with theta 0.99, approximated without floating point: the octave of the rank (1, 2-3,
  /// 4-7, ...) follows the exact weights that the VMM computed; within an octave all ranks are
  /// equally likely (truth: a factor of two between its ends). The stride spreads the ranks over
  /// the working set, so that hot pages are not neighbours.
  uint64_t pick_zipf(uint64_t pages) {
    const uint64_t number = random();
    const auto share = static_cast<uint32_t>(number >> 32);
    uint32_t octave = 0;
    while (octave + 1 < params_.zipf_octave_count && share >= params_.zipf_octaves[octave]) {
      ++octave;
    }
    const uint64_t first = (1ULL << octave) - 1;  // rank counted from 0
    uint64_t width = 1ULL << octave;
    if (first + width > pages) {
      width = pages - first;
    }
    const uint64_t rank = first + (((number & 0xFFFFFFFFULL) * width) >> 32);
    return rank * params_.zipf_stride % pages;
  }

  [[nodiscard]] bool writes() const {
    return params_.workload >= kSequentialWrite && params_.workload <= kZipfWrite;
  }

  /// Checks a page against its generation and, in a writing workload, writes the next one.
  void touch(uint64_t page) {
    const uint64_t gpa = data_page_gpa(params_, page);
    uint64_t* words = platform_.words(gpa);
    uint32_t* entry = table_entry(page);
    const uint32_t generation = *entry;
    if (!check_page(words, params_.seed, params_.fill, page, generation)) {
      platform_.report_error(kErrorPage,
                             page,
                             generation,
                             find_generation(words, params_.seed, params_.fill, page, generation));
    }
    if (writes()) {
      write_page(words, params_.seed, params_.fill, page, generation + 1ULL);
      *entry = generation + 1;
      platform_.set_generation_sum(platform_.generation_sum() + 1);
      platform_.wrote(gpa);
      platform_.wrote(table_entry_gpa(page));
    }
  }

  /// Checks the whole slice and the generation sum. Steps go on meanwhile: a sweep is no stall.
  bool sweep() {
    uint64_t sum = 0;
    uint64_t checked = 0;
    uint64_t mismatches = 0;
    uint64_t first_bad = 0;
    for (uint64_t page = slice_.first; page < slice_.end; ++page) {
      if (!pass_gate()) {
        return false;
      }
      const uint64_t* words = platform_.words(data_page_gpa(params_, page));
      const uint32_t generation = *table_entry(page);
      sum += generation;
      ++checked;
      if (!check_page(words, params_.seed, params_.fill, page, generation)) {
        if (mismatches == 0) {
          first_bad = page;
          platform_.report_error(
              kErrorPage,
              page,
              generation,
              find_generation(words, params_.seed, params_.fill, page, generation));
        }
        ++mismatches;
      }
      if (!after_touch()) {
        return false;
      }
    }
    if (sum != platform_.generation_sum()) {
      platform_.report_error(kErrorGenerationSum, slice_.first, platform_.generation_sum(), sum);
      first_bad = mismatches == 0 ? slice_.first : first_bad;
      ++mismatches;
    }
    state_.sweeping = 0;
    platform_.sweep_done(checked, mismatches, first_bad);
    return kGoOn;
  }

  const WorkloadParams& params_;
  VcpuBlock& block_;
  const uint64_t block_gpa_;
  WorkloadState& state_;
  Platform& platform_;
  const uint32_t vcpu_;
  const Slice slice_;
  uint64_t mark_ = 0;  ///< the counter where the present touch began
};

}  // namespace godwit::guest
