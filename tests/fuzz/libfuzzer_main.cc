// The entry that libFuzzer calls, once a target: GODWIT_FUZZ_TARGET names it.
#include <algorithm>

#include "godwit/base/check.h"

#include "fuzz_target.h"

namespace {

const godwit::fuzz::Target& target() {
  const auto all = godwit::fuzz::targets();
  const auto found = std::find_if(all.begin(), all.end(), [](const godwit::fuzz::Target& one) {
    return one.name == GODWIT_FUZZ_TARGET;
  });
  GODWIT_CHECK(found != all.end());
  return *found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto run = target().run;
  run(std::as_bytes(std::span(data, size)));
  return 0;
}
