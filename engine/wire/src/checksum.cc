#include "godwit/wire/checksum.h"

#include <xxhash.h>

#include "godwit/base/check.h"

// The library is called, not inlined: it is built without ThreadSanitizer, so hashing a staging
// copy whose source the guest writes meanwhile is not reported from inside the hash.
namespace godwit::wire {
namespace {
XXH3_state_t* state_of(void* state) {
  return static_cast<XXH3_state_t*>(state);
}
}  // namespace

std::uint64_t hash64(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

BodyHasher::BodyHasher() : state_(XXH3_createState()) {
  GODWIT_CHECK(state_ != nullptr);
  reset();
}

void BodyHasher::Free::operator()(void* state) const {
  XXH3_freeState(state_of(state));
}

void BodyHasher::reset() {
  XXH3_64bits_reset(state_of(state_.get()));
}

void BodyHasher::update(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_of(state_.get()), bytes.data(), bytes.size());
}

std::uint64_t BodyHasher::digest() const {
  return XXH3_64bits_digest(state_of(state_.get()));
}

}  // namespace godwit::wire
