#include "ground/host.h"

#include <unistd.h>

#include <fstream>

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

namespace fs = std::filesystem;

TEST(Host, ReadsWhatTheMachineTells) {
  const auto root = fs::temp_directory_path() / ("godwit-host-test-" + std::to_string(::getpid()));
  fs::create_directories(root / "proc");
  fs::create_directories(root / "sys/module/kvm_amd");
  fs::create_directories(root / "sys/devices/system/cpu/cpu0/cpufreq");
  std::ofstream(root / "proc/cpuinfo")
      << "model name\t: Some CPU @ 3GHz\nflags\t\t: fpu hypervisor sse\n";
  std::ofstream(root / "proc/meminfo") << "MemTotal:       1024 kB\n";
  std::ofstream(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") << "performance\n";
  const auto json = host_fingerprint(root);
  fs::remove_all(root);
  EXPECT_EQ(json.at("cpu"), "Some CPU @ 3GHz");
  EXPECT_EQ(json.at("hypervisor"), true);
  EXPECT_EQ(json.at("kvm"), "kvm_amd");
  EXPECT_EQ(json.at("memory_bytes"), 1024 * 1024);
  EXPECT_EQ(json.at("governor"), "performance");
}

TEST(Host, IsBusyWhenItsLoadIsAboveItsCores) {
  EXPECT_TRUE(host_is_busy({{"load_1min", "2.50"}, {"cores", 2}}));
  EXPECT_FALSE(host_is_busy({{"load_1min", "1.90"}, {"cores", 2}}));
  EXPECT_FALSE(host_is_busy({{"load_1min", nullptr}, {"cores", 2}}));
}

TEST(Host, WhatIsNotToldIsNull) {
  const auto json = host_fingerprint("/nowhere");
  EXPECT_TRUE(json.at("cpu").is_null());
  EXPECT_TRUE(json.at("kvm").is_null());
  EXPECT_TRUE(json.at("memory_bytes").is_null());
  EXPECT_TRUE(json.at("governor").is_null());
}

}  // namespace
}  // namespace godwit::lab
