#pragma once

#include <gtest/gtest.h>

namespace godwit::test {

/// Whether GODWIT_REQUIRE, a list of names, asks for `facility`: kvm, uffd, uring, hugepages, link,
/// surroundings (root, and what root may take from a process: mounts, networks, memory groups), or
/// a program.
bool required(const char* facility);

}  // namespace godwit::test

/// Leaves a test that `facility` is missing for: skipped with the reason, or failed where
/// GODWIT_REQUIRE names it.
#define GODWIT_MISSING(facility, why)                                \
  do {                                                               \
    if (::godwit::test::required(facility)) {                        \
      FAIL() << "GODWIT_REQUIRE names " facility ", but: " << (why); \
    }                                                                \
    GTEST_SKIP() << (why);                                           \
  } while (false)
