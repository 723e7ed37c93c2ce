#include "kvm/canaries.h"

#include "godwit/base/random.h"

#include "guest/platform.h"

namespace godwit::vmm {

kvm::StateRegister canary_register(std::uint32_t number) {
  using Kind = kvm::StateRegister::Kind;
  if (number >= guest::kCanaryGs) {
    return {Kind::kGsBase, 0};
  }
  if (number >= guest::kCanaryFs) {
    return {Kind::kFsBase, 0};
  }
  if (number >= guest::kCanaryX87) {
    return {Kind::kX87, number - guest::kCanaryX87};
  }
  if (number >= guest::kCanaryYmmHigh) {
    return {Kind::kYmmHigh, number - guest::kCanaryYmmHigh};
  }
  if (number >= guest::kCanaryXmm) {
    return {Kind::kXmm, number - guest::kCanaryXmm};
  }
  return {Kind::kGeneral, 12 + number};
}

kvm::StateRegister skipped_register(std::uint64_t seed, bool avx) {
  SplitMix64 random(seed);
  std::uint32_t number = 0;
  do {
    number = static_cast<std::uint32_t>(random.below(guest::kCanaryCount));
  } while (!avx && number >= guest::kCanaryYmmHigh && number < guest::kCanaryX87);
  return canary_register(number);
}

}  // namespace godwit::vmm
