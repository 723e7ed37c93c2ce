#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace godwit::wire {

/// "region 0 pages 512-575", read from a PAGES body that may be damaged. Guarantees: never reads
/// outside `body`.
std::string describe_pages(std::span<const std::byte> body, std::span<const std::byte> rest);

}  // namespace godwit::wire
