#pragma once

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "link/link.h"

/// Skips a test where such a link cannot be made (no root, no TUN, no iproute2), and says why;
/// fails instead where GODWIT_REQUIRE asks for links.
#define GODWIT_NEED_LINK(spec)                                                            \
  do {                                                                                    \
    if (const auto why = ::godwit::lab::link_unusable_reason(spec); !why.empty()) {       \
      const char* require = std::getenv("GODWIT_REQUIRE");                                \
      if (require != nullptr && std::string(require).find("link") != std::string::npos) { \
        FAIL() << "a link is required and cannot be made: " << why;                       \
      }                                                                                   \
      GTEST_SKIP() << why;                                                                \
    }                                                                                     \
  } while (false)
