#pragma once

#include <string>

#include <gtest/gtest.h>

#include "support/command/command.h"
#include "support/require_kvm.h"

namespace godwit::test {

/// One migration through the command itself: two processes, verified by the guest.
struct DemoCase {
  std::string mode;
  std::string guest;
  int vcpus;
  std::string workload = "random-write";
  std::string backing = "memfd";
  std::string dirty = "auto";
  int channels = 1;
  std::string transport = "uring";
  bool unix_socket = false;
};

std::string name_of(const testing::TestParamInfo<DemoCase>& info);

/// What the guest found of its pages, and what was sent of them.
void expect_verified(const Json& report);

/// Runs the case and checks all that holds for every completed migration.
void run_demo_case(const DemoCase& c, const std::string& memory);

}  // namespace godwit::test
