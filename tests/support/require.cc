#include "support/require.h"

#include <cstdlib>
#include <cstring>

namespace godwit::test {

bool required(const char* facility) {
  const char* list = std::getenv("GODWIT_REQUIRE");
  return list != nullptr && std::strstr(list, facility) != nullptr;
}

}  // namespace godwit::test
