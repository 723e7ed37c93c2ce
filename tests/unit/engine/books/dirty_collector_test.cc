#include "books/dirty_collector.h"

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

TEST(DirtyCollector, GivesEachConsumerItsOwnCopy) {
  DirtyCollector collector;
  RegionBitmaps first({64, 128});
  RegionBitmaps second({64, 128});
  ASSERT_TRUE(collector.attach(first));
  ASSERT_TRUE(collector.attach(second));
  collector.mark(1, 1, 0b11);
  EXPECT_EQ(first[1].claim(1, ~0ULL), 0b11U);
  EXPECT_EQ(second[1].word(1), 0b11U) << "one consumer took another's bits";
}

TEST(DirtyCollector, ForgetsADetachedConsumer) {
  DirtyCollector collector;
  RegionBitmaps only({64});
  collector.mark(0, 0, 1);  // nobody listens
  ASSERT_TRUE(collector.attach(only));
  collector.detach(only);
  collector.mark(0, 0, 1);
  EXPECT_EQ(only[0].word(0), 0U);
}

TEST(DirtyCollector, RefusesMoreConsumersThanItHasPlaces) {
  DirtyCollector collector;
  std::vector<std::unique_ptr<RegionBitmaps>> maps;
  for (std::size_t i = 0; i <= DirtyCollector::kMaxConsumers; ++i) {
    maps.push_back(std::make_unique<RegionBitmaps>(std::vector<std::uint64_t>{64}));
    EXPECT_EQ(collector.attach(*maps.back()), i < DirtyCollector::kMaxConsumers);
  }
  collector.detach(*maps.front());
  EXPECT_TRUE(collector.attach(*maps.back()));
}

}  // namespace
}  // namespace godwit::engine
