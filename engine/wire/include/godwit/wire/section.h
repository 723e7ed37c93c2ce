#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace godwit::wire {

/// One named, versioned piece of machine state or configuration; the payload is opaque here.
struct Section {
  std::string name;  ///< "vcpu", "workload", ...
  std::uint32_t instance = 0;
  std::uint32_t version = 1;
  bool required = true;  ///< a receiver that does not know it refuses; otherwise it skips it
  std::vector<std::byte> payload;
  friend bool operator==(const Section&, const Section&) = default;
};

}  // namespace godwit::wire
