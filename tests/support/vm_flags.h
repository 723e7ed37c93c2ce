#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace godwit::test {

/// The kernel's flags of the mapping at `address`, each two letters: "rd wr mr mw me dd ".
/// Source: proc_pid_smaps(5), VmFlags
inline std::string vm_flags(const void* address) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  std::ifstream smaps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char dash = 0;
    std::istringstream head(line);
    if (head >> std::hex >> begin >> dash >> end && dash == '-') {
      here = wanted >= begin && wanted < end;
    } else if (here && line.rfind("VmFlags:", 0) == 0) {
      return line.substr(9) + " ";
    }
  }
  return "";
}

}  // namespace godwit::test
