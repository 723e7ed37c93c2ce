#include <fmt/format.h>

#include "commands/commands.h"
#include "scenario/scenario.h"

namespace godwit::lab {

int perform(const Common& common, const ListLine& /*line*/) {
  const auto lines = Library(common.scenarios).list();
  if (!lines) {
    fmt::print(stderr, "godwit-lab: {}\n", lines.error().message());
    return kExitEnvironment;
  }
  for (const auto& line : *lines) {
    fmt::print("{}\n", line);
  }
  return kExitOk;
}

}  // namespace godwit::lab
