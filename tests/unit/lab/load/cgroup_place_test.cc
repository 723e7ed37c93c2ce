#include "load/cgroup_place.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

std::string shown(std::string_view mountinfo, std::string_view groups) {
  std::string text;
  for (const auto& place : cgroup_places(mountinfo, groups)) {
    text += (text.empty() ? "" : " ") + place.directory + (place.unified ? "*" : "");
  }
  return text;
}

constexpr const char* kV1 =
    "22 1 0:5 / /proc rw - proc proc rw\n"
    "30 25 0:26 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
    "31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n";
constexpr const char* kV2 = "33 25 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";

TEST(CgroupPlace, OfVersion1IsTheOwnGroup) {
  EXPECT_EQ(shown(kV1, "3:cpuset:/other\n2:cpu,cpuacct:/\n0::/\n"), "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_EQ(shown(kV1, "2:cpu,cpuacct:/a/b\n"), "/sys/fs/cgroup/cpu,cpuacct/a/b");
  EXPECT_EQ(shown(kV1, "3:cpuset:/other\n"), "") << "cpuset is another controller";
}

TEST(CgroupPlace, OfVersion2IsTheOwnGroupOrOneAbove) {
  EXPECT_EQ(shown(kV2, "0::/user.slice/session-1.scope\n"),
            "/sys/fs/cgroup/user.slice/session-1.scope* /sys/fs/cgroup/user.slice* "
            "/sys/fs/cgroup*");
  EXPECT_EQ(shown(kV2, "0::/\n"), "/sys/fs/cgroup*");
}

TEST(CgroupPlace, Version1IsTriedFirst) {
  EXPECT_EQ(shown(fmt::format("{}{}", kV1, kV2), "2:cpu,cpuacct:/x\n0::/y\n"),
            "/sys/fs/cgroup/cpu,cpuacct/x /sys/fs/cgroup/y* /sys/fs/cgroup*");
}

TEST(CgroupPlace, APartOfAHierarchyIsSeenThroughItsMount) {
  const auto* part = "33 25 0:28 /box /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(shown(part, "0::/box/in\n"), "/sys/fs/cgroup/in* /sys/fs/cgroup*");
  EXPECT_EQ(shown(part, "0::/box\n"), "/sys/fs/cgroup*");
  EXPECT_EQ(shown(part, "0::/boxes/in\n"), "/sys/fs/cgroup*") << "not below the mount";
}

TEST(CgroupPlace, NothingComesOfNonsense) {
  EXPECT_EQ(shown("", ""), "");
  EXPECT_EQ(shown("a b c\n - cgroup2\n", "0\n::\n"), "");
}

}  // namespace
}  // namespace godwit::lab
