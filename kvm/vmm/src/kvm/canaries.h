#pragma once

#include <cstdint>

#include "godwit/kvm/vcpu_state.h"

namespace godwit::vmm {

/// The register that a canary's number stands for.
kvm::StateRegister canary_register(std::uint32_t number);

/// The canary that GuestConfig::skip_register leaves out, by the seed; upper halves only exist
/// where there is AVX.
kvm::StateRegister skipped_register(std::uint64_t seed, bool avx);

}  // namespace godwit::vmm
