#pragma once

#include <cstddef>
#include <cstdint>

// The only functions that read guest memory while the guest may write it. A torn copy is no harm:
// the write that tore it marks the page dirty, and the page goes again. This file alone is exempt
// from the race detector.
namespace godwit::engine {

/// Copies one page; returns whether it is all zero.
bool copy_guest_page(std::byte* to, const std::byte* from);
/// Whether one page is all zero.
bool guest_page_is_zero(const std::byte* page);

}  // namespace godwit::engine
