#pragma once

#include <gtest/gtest.h>

#include "link/link.h"
#include "support/require.h"

/// Skips a test where such a link cannot be made (no root, no TUN, no iproute2), and says why;
/// fails instead where GODWIT_REQUIRE asks for links.
#define GODWIT_NEED_LINK(spec)                                                      \
  do {                                                                              \
    if (const auto why = ::godwit::lab::link_unusable_reason(spec); !why.empty()) { \
      GODWIT_MISSING("link", why);                                                  \
    }                                                                               \
  } while (false)
