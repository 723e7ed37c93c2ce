#pragma once

#include <cstddef>
#include <span>

#include "godwit/base/result.h"

namespace godwit::kvm {

/// Whether a host that offers one CPUID (kvm_cpuid2) has the CPU features of another.
/// Errors: kRefused naming the leaf and the bits that it lacks.
Status check_cpuid_features(std::span<const std::byte> wanted, std::span<const std::byte> offered);

}  // namespace godwit::kvm
