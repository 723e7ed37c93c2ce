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
            "               runs       total_ns  downtime_ns  guest_gap_ns  largest_stall_ns  "
            "cpu_source_ns  cpu_target_ns  wire_bytes\n"
            "godwit            2         2.00 s      2.00 ms             -                 -  "
            "            -              -           -\n"
            "qemu precopy      1  3.00 s (1.50)            -             -                 -  "
            "            -              -    1.00 KiB\n"
            "qemu postcopy     0              -            -             -                 -  "
            "            -              -           -\n\n");
}

TEST(PeerTable, NothingIsAShareOfZero) {
  Measured measured;
  measured.samples = {{{{"downtime_ns", 0}}}, {{{"downtime_ns", 5}}}};
  const auto text = peer_table({side("godwit"), side("qemu")}, measured);
  EXPECT_EQ(text.find('('), text.find("(and what")) << text;
  EXPECT_NE(text.find("5 ns"), std::string::npos) << text;
}

}  // namespace
}  // namespace godwit::lab
