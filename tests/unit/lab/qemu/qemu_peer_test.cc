#include "qemu/qemu_peer.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "fake_monitor.h"
#include "qemu/guest_options.h"

namespace godwit::lab {
namespace {

TEST(QemuMode, ReadsNames) {
  const auto precopy = parse_qemu_mode("precopy");
  ASSERT_TRUE(precopy);
  EXPECT_EQ(precopy->channels, 0U);
  EXPECT_FALSE(precopy->postcopy);
  const auto multifd = parse_qemu_mode("multifd-8");
  ASSERT_TRUE(multifd);
  EXPECT_EQ(multifd->channels, 8U);
  const auto preempt = parse_qemu_mode("postcopy-preempt");
  ASSERT_TRUE(preempt);
  EXPECT_TRUE(preempt->postcopy && preempt->preempt);
  const auto both = parse_qemu_mode("multifd-64-postcopy");
  ASSERT_TRUE(both);
  EXPECT_TRUE(both->postcopy && both->channels == 64);
  for (const auto* name : {"",
                           "hybrid",
                           "multifd-",
                           "multifd-0",
                           "multifd-65",
                           "multifd-2x",
                           "multifd-postcopy",
                           "multifd--postcopy",
                           "multifd-0-postcopy"}) {
    EXPECT_FALSE(parse_qemu_mode(name)) << name;
  }
}

TEST(QemuMode, AllOfThemHaveNamesThatAreRead) {
  for (const auto& mode : all_qemu_modes()) {
    const auto read = parse_qemu_mode(mode.name);
    ASSERT_TRUE(read) << mode.name;
    EXPECT_EQ(read->capabilities(), mode.capabilities());
    EXPECT_EQ(read->channels, mode.channels);
  }
}

/// A monitor that keeps capabilities as QEMU does: `refusal` sees those that would be on then.
class Capabilities {
 public:
  using Refusal = std::function<std::string(const std::set<std::string>&)>;
  explicit Capabilities(Refusal refusal) : refusal_(std::move(refusal)) {}

  std::string answer(std::string_view line) {
    const auto command = parse_json(line);
    if (text_at(command, "/execute") != "migrate-set-capabilities") {
      return "{\"return\": {}}\n";
    }
    auto then = on_;
    for (const auto& one : command.at("arguments").at("capabilities")) {
      if (one.at("state").get<bool>()) {
        then.insert(text_at(one, "/capability"));
      } else {
        then.erase(text_at(one, "/capability"));
      }
    }
    if (const auto words = refusal_(then); !words.empty()) {
      return json_text({{"error", {{"class", "GenericError"}, {"desc", words}}}}) + "\n";
    }
    on_ = then;
    return "{\"return\": {}}\n";
  }
  [[nodiscard]] const std::set<std::string>& on() const { return on_; }

 private:
  Refusal refusal_;
  std::set<std::string> on_;
};

QemuPeer probed(std::array<unsigned, 3> release, const Capabilities::Refusal& refusal) {
  Capabilities capabilities(refusal);
  QemuPeer peer;
  peer.release = release;
  {
    FakeMonitor monitor([&](std::string_view line) { return capabilities.answer(line); });
    auto qmp = Qmp::start(monitor.take(), {}, Deadline::after_ns(10'000'000'000));
    EXPECT_TRUE(qmp);
    EXPECT_TRUE(probe_capabilities(*qmp, peer));
  }
  EXPECT_TRUE(capabilities.on().empty()) << "one that is left on changes the next answer";
  return peer;
}

std::string preempt_alone(const std::set<std::string>& on) {
  return on.count("postcopy-preempt") != 0 && on.count("postcopy-ram") == 0
             ? "Postcopy preempt requires postcopy-ram"
             : "";
}

TEST(QemuPeer, CapabilitiesAreTriedAloneAndOnlySuchSetsAsModesNeed) {
  const auto peer = probed({10, 0, 2}, [](const std::set<std::string>& on) {
    return on.count("multifd") != 0 && on.count("postcopy-ram") != 0
               ? "Postcopy is not yet compatible with multifd"
               : preempt_alone(on);
  });
  for (const auto* mode : {"precopy", "multifd-2", "multifd-4", "postcopy", "postcopy-preempt"}) {
    EXPECT_EQ(why_not(peer, *parse_qemu_mode(mode)), "") << mode;
  }
  EXPECT_EQ(
      why_not(peer, *parse_qemu_mode("multifd-4-postcopy")),
      "QEMU 10.0.2 refuses events, multifd, postcopy-ram: migrate-set-capabilities: Postcopy is "
      "not yet compatible with multifd");
}

TEST(QemuPeer, WhatIsLackedIsNamedAloneInThePeersWords) {
  const auto peer = probed({6, 2, 0}, [](const std::set<std::string>& on) {
    return on.count("postcopy-preempt") != 0 ? "does not accept value 'postcopy-preempt'" : "";
  });
  EXPECT_EQ(why_not(peer, *parse_qemu_mode("postcopy")), "");
  EXPECT_EQ(why_not(peer, *parse_qemu_mode("postcopy-preempt")),
            "QEMU 6.2.0 refuses postcopy-preempt: migrate-set-capabilities: does not accept value "
            "'postcopy-preempt'");
}

TEST(QemuPeer, MultifdWithPostcopyIsOfVersionsThatCanDoIt) {
  const auto mode = *parse_qemu_mode("multifd-2-postcopy");
  EXPECT_NE(why_not(probed({7, 2, 22}, preempt_alone), mode).find("works since 10.1.0"),
            std::string::npos);
  EXPECT_EQ(why_not(probed({10, 1, 0}, preempt_alone), mode), "");
}

TEST(QemuPeer, AMissingProgramIsUnsupported) {
  const auto peer = probe_qemu("/no/such/qemu", -1);
  ASSERT_FALSE(peer);
  EXPECT_EQ(peer.error().code, ErrorCode::kUnsupported);
}

TEST(QemuPeer, AProgramThatIsNoQemuIsUnsupported) {
  const auto peer = probe_qemu("/bin/true", -1);
  ASSERT_FALSE(peer);
  EXPECT_EQ(peer.error().code, ErrorCode::kUnsupported) << peer.error().message();
}

Point point_of(const char* options) {
  return {"test", parse_json(options), Json::object()};
}

TEST(GuestOptions, ReadsSizesTimesAndNames) {
  const auto options = guest_options(point_of(
      R"({"memory": "64MiB", "workload": "zipf-write", "rate": "1GiB", "fill": "zero", "vcpus": 1,
          "downtime_limit": "20ms", "max_bandwidth": 1000, "prealloc": true, "mode": "postcopy"})"));
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->guest.memory_bytes, 64ULL << 20);
  EXPECT_EQ(options->guest.populated_bytes, 64ULL << 20);
  EXPECT_EQ(options->guest.working_set_bytes, 32ULL << 20);
  EXPECT_EQ(options->guest.workload, vmm::Workload::kZipfWrite);
  EXPECT_EQ(options->guest.fill, vmm::Fill::kZero);
  EXPECT_EQ(options->guest.rate_bytes_per_s, 1ULL << 30);
  EXPECT_EQ(options->downtime_limit_ns, 20'000'000);
  EXPECT_EQ(options->max_bandwidth, 1000U);
  EXPECT_TRUE(options->prealloc);
  EXPECT_EQ(options->switch_after_rounds, 0U);
}

TEST(GuestOptions, WhatOnlyGodwitCanDoIsUnsupported) {
  for (const auto* text :
       {R"({"vcpus": 2})", R"({"guest": "process"})", R"({"inject": "drop-page"})"}) {
    const auto options = guest_options(point_of(text));
    ASSERT_FALSE(options) << text;
    EXPECT_EQ(options.error().code, ErrorCode::kUnsupported);
  }
  auto as_nobody = point_of(R"({"memory": "64MiB"})");
  as_nobody.user = "nobody";
  EXPECT_EQ(guest_options(as_nobody).error().code, ErrorCode::kUnsupported);
  for (const auto* text : {R"({"memory": "1GB"})",
                           R"({"memory": "99999999999GiB"})",
                           R"({"workload": "dance"})",
                           R"({"downtime_limit": "20"})"}) {
    const auto options = guest_options(point_of(text));
    ASSERT_FALSE(options) << text;
    EXPECT_EQ(options.error().code, ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace godwit::lab
