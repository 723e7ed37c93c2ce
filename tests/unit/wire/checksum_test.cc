#include "godwit/wire/checksum.h"

#include <cstring>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/random.h"

namespace godwit::wire {
namespace {

TEST(Checksum, EqualsThePublishedValueForNoBytes) {
  // XXH3-64, seed 0, empty input, as the algorithm's specification gives it.
  EXPECT_EQ(hash64({}), 0x2D06800538D394C2ULL);
}

TEST(BodyHasher, EqualsHash64HoweverTheBytesAreCut) {
  SplitMix64 random(1);
  std::vector<std::byte> bytes(70000);
  for (auto& byte : bytes) {
    byte = static_cast<std::byte>(random.next());
  }
  BodyHasher hasher;
  for (int round = 0; round < 50; ++round) {
    const std::size_t size = random.below(bytes.size());
    const std::span<const std::byte> part(bytes.data(), size);
    hasher.reset();
    for (std::size_t at = 0; at < size;) {
      const std::size_t n = std::min<std::size_t>(size - at, 1 + random.below(9000));
      hasher.update(part.subspan(at, n));
      at += n;
    }
    ASSERT_EQ(hasher.digest(), hash64(part)) << "size " << size;
  }
}

}  // namespace
}  // namespace godwit::wire
