// A hundred hybrid migrations in a row of a writer at full speed: too long for every run, so it has
// a label of its own.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/command/command.h"

namespace godwit::test {
namespace {

TEST(Soak, HundredHybridMigrationsVerify) {
  for (int i = 0; i < 100; ++i) {
    const auto ran =
        run(fmt::format("demo --json --memory 256MiB --workload random-write --guest {} --seed {}",
                        i % 2 == 0 ? "kvm" : "process",
                        i + 1));
    ASSERT_EQ(ran.code, 0) << "run " << i << "\n" << ran.all();
    ASSERT_EQ(ran.json["verified"]["mismatches"], 0);
  }
}

}  // namespace
}  // namespace godwit::test
