#pragma once

#include <cstdint>

#include "godwit/base/result.h"

namespace godwit::app {

/// Whether the host's pool has `bytes` in huge pages of 2 MiB that nobody has reserved.
/// `whose`: "the guest needs". Errors: kNoMemory with how to reserve more, kUnsupported.
/// Source: Documentation/admin-guide/mm/hugetlbpage.rst
Status check_huge_pages(std::uint64_t bytes, const char* whose);

}  // namespace godwit::app
