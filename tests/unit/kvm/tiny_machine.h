#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "godwit/base/mapping.h"
#include "godwit/base/result.h"
#include "godwit/kvm/system.h"
#include "godwit/kvm/vcpu.h"
#include "godwit/kvm/vm.h"

namespace godwit::kvm {

/// A machine of a few lines: long mode at CPL 3, and a program that writes its counter into random
/// pages for ever and calls port 0x510 every 2^`quiet_bits` writes.
///
///   rcx   writes so far
///   page  (random >> 20) & page_mask
///   word  the counter, so no two are equal
class TinyMachine {
 public:
  static constexpr std::uint64_t kFirstDataPage = 512;  ///< at 2 MiB
  static constexpr std::uint16_t kPort = 0x510;

  struct Options {
    std::uint32_t vcpus = 1;         ///< all run the program over the same pages
    std::uint32_t ring_entries = 0;  ///< of each vCPU's dirty ring; 0 = no rings
    std::uint64_t slot_pages = 0;    ///< memory is cut into slots of so many; 0 = one slot
    bool data_slots = true;          ///< false: KVM knows of the program's pages only
  };

  /// `data_pages` is a power of two; a slot of `extra_pages` more follows it, so that it need not
  /// end at a whole word.
  static Result<std::unique_ptr<TinyMachine>> create(std::uint64_t data_pages,
                                                     std::uint64_t extra_pages,
                                                     unsigned quiet_bits,
                                                     Options options);
  static Result<std::unique_ptr<TinyMachine>> create(std::uint64_t data_pages,
                                                     std::uint64_t extra_pages,
                                                     unsigned quiet_bits) {
    return create(data_pages, extra_pages, quiet_bits, Options{});
  }

  System system;
  Mapping memory;
  Vm vm;
  std::vector<Vcpu> vcpus;
  Vcpu* vcpu = nullptr;  ///< the first one
  std::uint64_t data_pages = 0;
  std::uint64_t page_count = 0;

  [[nodiscard]] std::uint64_t word_of_page(std::uint64_t page) const;
  /// rcx of the first vCPU, parked.
  [[nodiscard]] std::uint64_t writes() const;

 private:
  TinyMachine(System s, Mapping m, Vm v)
      : system(std::move(s)), memory(std::move(m)), vm(std::move(v)) {}
  void write_program();
  Status enter(const Vcpu& cpu, unsigned quiet_bits);
};

}  // namespace godwit::kvm
