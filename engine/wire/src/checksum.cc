#include "godwit/wire/checksum.h"

#if defined(__x86_64__)
// The widest vectors that the processor has, chosen at run time: hashing 1 GiB that lies in the
// cache takes 25-35 ms instead of 75-125 (docs/performance.md).
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

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

std::uint64_t hash64(std::span<const std::byte> first, std::span<const std::byte> second) {
  if (second.empty()) {
    return hash64(first);
  }
  thread_local BodyHasher hasher;
  hasher.reset();
  hasher.update(first);
  hasher.update(second);
  return hasher.digest();
}

}  // namespace godwit::wire
