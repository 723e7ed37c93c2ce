#include "qemu/peers.h"

#include <array>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ground/temporary_directory.h"

namespace godwit::lab {
namespace {

TEST(QemuMode, ParsesPeersOnceEach) {
  const auto all = parse_peers({"qemu:multifd-3", "qemu", "qemu:postcopy"});
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), all_qemu_modes().size() + 1);
  EXPECT_EQ(all->front().name, "multifd-3");
  EXPECT_FALSE(parse_peers({"xen"}));
  EXPECT_FALSE(parse_peers({"xen:precopy"}));
}

/// Rows that were written while `body` ran.
template <typename Body>
std::vector<Json> rows_of(Body body) {
  const auto directory = TemporaryDirectory::create();
  EXPECT_TRUE(directory);
  const auto path = directory->file("rows");
  {
    auto results = Results::open(path, false);
    EXPECT_TRUE(results);
    body(*results);
  }
  std::vector<Json> rows;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    rows.push_back(parse_json(line));
  }
  return rows;
}

FoundPeer peer_of(std::array<unsigned, 3> release, const std::vector<std::string>& modes) {
  FoundPeer peer;
  peer.program.release = release;
  for (const auto& mode : modes) {
    peer.modes.push_back(*parse_qemu_mode(mode));
  }
  return peer;
}

TEST(Peers, AProgramThatDoesNotAnswerIsLeftOutAndWritten) {
  testing::internal::CaptureStderr();
  const auto rows = rows_of([](Results& results) {
    const auto found = find_peers(all_qemu_modes(), {"/no/such/qemu", "/bin/true"}, -1, results);
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_TRUE(found->empty());
  });
  EXPECT_NE(testing::internal::GetCapturedStderr().find("left out: qemu: "), std::string::npos);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(text_at(rows[0], "/kind"), "left_out");
  EXPECT_EQ(text_at(rows[0], "/peer/name"), "qemu");
  EXPECT_NE(text_at(rows[0], "/reason").find("install Debian's"), std::string::npos);
}

TEST(Peers, EachVersionIsAColumnOfItsOwn) {
  const auto rows = rows_of([](Results& results) {
    const auto sides = peer_sides(
        {peer_of({10, 0, 2}, {"precopy", "multifd-2"}), peer_of({7, 2, 22}, {"precopy"})},
        {"test", {{"memory", "64MiB"}}, Json::object()},
        results);
    ASSERT_TRUE(sides) << sides.error().message();
    std::vector<std::string> labels;
    for (const auto& side : *sides) {
      labels.push_back(side.label);
    }
    EXPECT_EQ(labels,
              (std::vector<std::string>{
                  "qemu 10.0.2 precopy", "qemu 10.0.2 multifd-2", "qemu 7.2.22 precopy"}));
  });
  EXPECT_TRUE(rows.empty());
}

TEST(Peers, APointThatOnlyGodwitCanRunIsLeftOutAndWritten) {
  testing::internal::CaptureStderr();
  const auto rows = rows_of([](Results& results) {
    const auto sides = peer_sides(
        {peer_of({7, 2, 22}, {"precopy"})}, {"test", {{"vcpus", 2}}, Json::object()}, results);
    ASSERT_TRUE(sides);
    EXPECT_TRUE(sides->empty());
  });
  testing::internal::GetCapturedStderr();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_NE(text_at(rows[0], "/reason").find("has one vCPU"), std::string::npos);
}

TEST(Peers, AWrongOptionIsAnErrorAndNotLeftOut) {
  auto results = Results::open("", false);
  ASSERT_TRUE(results);
  const auto sides = peer_sides({}, {"test", {{"memory", "1GB"}}, Json::object()}, *results);
  ASSERT_FALSE(sides);
  EXPECT_EQ(sides.error().code, ErrorCode::kInvalidArgument);
}

TEST(Peers, BothSidesShareACongestionControl) {
  Point point{"test", {{"congestion", "no-such-control"}}, Json::object()};
  share_congestion(point);
  EXPECT_NE(text_at(point.options, "/congestion"), "no-such-control");
}

}  // namespace
}  // namespace godwit::lab
