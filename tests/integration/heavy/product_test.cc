// The whole product of guests, backings, dirty sources, channels, transports, vCPUs and modes,
// under a writer at full speed: some minutes. demo_matrix_test.cc has each pair of choices.

#include <vector>

#include "support/command/demo_case.h"

namespace godwit::test {
namespace {

class DemoProduct : public testing::TestWithParam<DemoCase> {};

TEST_P(DemoProduct, CompletesVerified) {
  run_demo_case(GetParam(), "64MiB");
}

std::vector<DemoCase> product() {
  std::vector<DemoCase> all;
  const auto add_guest = [&](const char* guest, const std::vector<const char*>& sources) {
    for (const auto* backing : {"memfd", "anonymous"}) {
      for (const auto* dirty : sources) {
        for (const int channels : {1, 4}) {
          for (const auto* transport : {"uring", "poll"}) {
            for (const int vcpus : {1, 2}) {
              for (const auto* mode : {"hybrid", "precopy", "postcopy"}) {
                all.push_back(
                    {mode, guest, vcpus, "random-write", backing, dirty, channels, transport});
              }
            }
          }
        }
      }
    }
  };
  add_guest("kvm", {"log", "ring"});
  add_guest("process", {"wp", "wp-async"});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Whole, DemoProduct, testing::ValuesIn(product()), name_of);

}  // namespace
}  // namespace godwit::test
