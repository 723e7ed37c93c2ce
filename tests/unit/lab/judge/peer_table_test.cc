#include "judge/peer_table.h"

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

Side side(const char* label) {
  return {label, {"writer", Json::object(), {{"vcpus", 1}}}, "godwit"};
}

TEST(PeerTable, SetsMediansBesideTheFirstSides) {
  Measured measured;
  measured.samples = {
      {{{"total_ns", 1e9}, {"downtime_ns", 2e6}}, {{"total_ns", 3e9}, {"downtime_ns", 2e6}}},
      {{{"total_ns", 3e9}, {"wire_bytes", 1024}}},
      {}};
  EXPECT_EQ(peer_table({side("godwit"), side("qemu precopy"), side("qemu postcopy")}, measured),
            "\nwriter vcpus=1, medians (and what they are of godwit's)\n"
            "                   godwit   qemu precopy  qemu postcopy\n"
            "runs                    2              1              0\n"
            "total_ns           2.00 s  3.00 s (1.50)              -\n"
            "downtime_ns       2.00 ms              -              -\n"
            "guest_gap_ns            -              -              -\n"
            "largest_stall_ns        -              -              -\n"
            "cpu_source_ns           -              -              -\n"
            "cpu_target_ns           -              -              -\n"
            "wire_bytes              -       1.00 KiB              -\n\n");
}

TEST(PeerTable, NothingIsAShareOfZero) {
  Measured measured;
  measured.samples = {{{{"downtime_ns", 0}}}, {{{"downtime_ns", 5}}}};
  const auto text = peer_table({side("godwit"), side("qemu")}, measured);
  EXPECT_NE(text.find("0 ns  5 ns\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace godwit::lab
