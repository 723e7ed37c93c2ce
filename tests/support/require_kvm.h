#pragma once

#include <gtest/gtest.h>

#include "godwit/kvm/system.h"

#include "support/require.h"

/// Skips a test where KVM cannot be used, and says why; fails instead where GODWIT_REQUIRE asks for
/// KVM.
#define GODWIT_NEED_KVM()                                                  \
  do {                                                                     \
    if (const auto why = ::godwit::kvm::unusable_reason(); !why.empty()) { \
      GODWIT_MISSING("kvm", why);                                          \
    }                                                                      \
  } while (false)

/// Asserts that a Result or Status holds a value, and shows its error otherwise.
#define ASSERT_OK(expr)                                                          \
  do {                                                                           \
    const auto& godwit_outcome = (expr);                                         \
    ASSERT_TRUE(godwit_outcome.has_value()) << godwit_outcome.error().message(); \
  } while (false)
