#include "judge/comparison.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

class FakePeer final : public Peer {
 public:
  [[nodiscard]] std::string name() const override { return "qemu postcopy"; }
  [[nodiscard]] PeerRun run(const PeerPlace& /*place*/) const override { return {}; }
};

/// What a comparison of A and B, of three runs each, writes and prints.
struct Compared {
  Json row;
  std::string printed;
};

Compared compare(const Side& a, const Side& b, double factor) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("godwit-comparison-test-" + std::to_string(::getpid()));
  std::vector<Sample> runs_a;
  std::vector<Sample> runs_b;
  for (const auto total : {1e9, 1.1e9, 1.2e9}) {
    runs_a.push_back({{"total_ns", total}});
    runs_b.push_back({{"total_ns", total * factor}});
  }
  Compared out;
  {
    auto results = Results::open(path.string(), false);
    EXPECT_TRUE(results);
    testing::internal::CaptureStdout();
    EXPECT_TRUE(write_comparison({&a, runs_a}, {&b, runs_b}, 0.2, *results));
    out.printed = testing::internal::GetCapturedStdout();
  }
  std::ifstream file(path);
  out.row = parse_json(file);
  std::filesystem::remove(path);
  return out;
}

TEST(Comparison, IsARowAndATable) {
  const Side a{"a", {"writer", {{"vcpus", 1}}, Json::object()}, "godwit"};
  const Side b{"b", {"writer", {{"vcpus", 2}}, Json::object()}, "godwit"};
  const auto compared = compare(a, b, 2);
  const auto& row = compared.row;
  EXPECT_EQ(text_at(row, "/kind"), "comparison");
  EXPECT_EQ(text_at(row, "/a"), "writer");
  EXPECT_EQ(number_at(row, "/options_b/vcpus"), 2);
  EXPECT_EQ(number_at(row, "/runs_b"), 3);
  EXPECT_NEAR(number_at(row, "/smallest_p"), 0.1, 1e-9);
  EXPECT_EQ(number_at(row, "/figures/total_ns/ratio"), 2);
  EXPECT_FALSE(row.contains("peer_b"));
  EXPECT_EQ(
      compared.printed,
      "                   A median (range)           B median (range)    B/A       p\n"
      "total_ns  1.10 s (1.00 s .. 1.20 s)  2.20 s (2.00 s .. 2.40 s)  2.000  0.1000  different\n");
}

TEST(Comparison, NamesThePeer) {
  const Side a{"godwit", {"writer", Json::object(), Json::object()}, "godwit"};
  Side b = a;
  b.peer = std::make_shared<FakePeer>();
  const auto compared = compare(a, b, 1);
  EXPECT_EQ(text_at(compared.row, "/peer_b"), "qemu postcopy");
  EXPECT_NE(compared.printed.find("1.000  1.0000  -"), std::string::npos) << compared.printed;
}

}  // namespace
}  // namespace godwit::lab
