#include "warm.h"

#include <algorithm>

#include "godwit/base/mapping.h"
#include "godwit/base/units.h"

#include "environment.h"

namespace godwit::app {

void warm_memory(std::uint64_t bytes) {
  const auto most = std::min(bytes, available_memory() / 2) & ~(kPageBytes - 1);
  if (most == 0) {
    return;
  }
  auto memory = Mapping::anonymous(most);
  if (!memory) {
    return;  // a cold run is slower, not wrong
  }
  for (std::uint64_t at = 0; at < most; at += kPageBytes) {
    *reinterpret_cast<volatile char*>(memory->data() + at) = 1;
  }
}

}  // namespace godwit::app
