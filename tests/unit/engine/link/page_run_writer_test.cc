#include "link/page_run_writer.h"

#include <gtest/gtest.h>

#include "fake_channel.h"

namespace godwit::engine {
namespace {

/// The runs of each STALE frame that `count` announcements of one page make.
std::vector<std::vector<PageRun>> frames_of(std::uint64_t count) {
  auto fake = std::make_unique<FakeChannel>();
  auto* far = fake.get();
  IdleLoop loop;
  FrameChannel channel(std::move(fake), wire::kMaxControlBody, 4096);
  EXPECT_TRUE(channel.attach(loop, {}));
  {
    StaleWriter stale(channel);
    for (std::uint64_t page = 0; page < count; ++page) {
      stale.add({1, 2 * page, 1});
    }
  }
  far->take_all();
  std::vector<std::vector<PageRun>> runs;
  for (const auto& frame : far->frames()) {
    EXPECT_EQ(frame.header.type, wire::MessageType::kStale);
    const auto stale = wire::decode_stale(frame.body);
    EXPECT_TRUE(stale);
    runs.push_back(stale->runs);
  }
  return runs;
}

TEST(StaleWriter, SaysNothingWithoutAnnouncements) {
  EXPECT_TRUE(frames_of(0).empty());
}

TEST(StaleWriter, SendsWhatIsLeftWhenItEnds) {
  const auto frames = frames_of(3);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0], (std::vector<PageRun>{{1, 0, 1}, {1, 2, 1}, {1, 4, 1}}));
}

TEST(StaleWriter, CutsAtTheMostThatAFrameHolds) {
  const auto full = frames_of(wire::kMaxStaleRuns);
  ASSERT_EQ(full.size(), 1U) << "no empty frame follows a full one";
  const auto frames = frames_of(wire::kMaxStaleRuns + 2);
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_EQ(frames[0].size(), wire::kMaxStaleRuns);
  EXPECT_EQ(frames[1].size(), 2U);
  EXPECT_EQ(frames[1][0].first, 2 * wire::kMaxStaleRuns);
}

}  // namespace
}  // namespace godwit::engine
