#include "qemu/qemu_figures.h"

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

TEST(QemuRun, TakesFiguresThatQemuReports) {
  const auto figures =
      qemu_figures(parse_json(R"({"downtime": 12, "ram": {"transferred": 4096}})"));
  EXPECT_EQ(number_at(figures, "/downtime_ns"), 12e6);
  EXPECT_EQ(number_at(figures, "/wire_bytes"), 4096);
  EXPECT_TRUE(qemu_figures(Json::object()).empty());
}

}  // namespace
}  // namespace godwit::lab
