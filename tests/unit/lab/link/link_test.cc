#include "link/link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/clock.h"

#include "support/link_support.h"

// Real packets through real namespaces. Times are compared with each other, widely: the host may be
// busy.

namespace godwit::lab {
namespace {

sockaddr_in address_of(const char* host, std::uint16_t port) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  ::inet_pton(AF_INET, host, &in.sin_addr);
  return in;
}

/// A socket that lives in a site, whoever uses it.
Fd socket_in(const NetworkSite& site, int type, const char* host, std::uint16_t port) {
  Fd made;
  const auto done = site.within([&]() -> Status {
    made = Fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
    const auto in = address_of(host, port);
    if (::bind(made.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in) != 0) {
      return fail_errno(errno, "bind");
    }
    return {};
  });
  EXPECT_TRUE(done) << done.error().message();
  return made;
}

constexpr std::uint16_t kPort = 7000;

/// Median of `rounds` round trips of small packets.
std::int64_t round_trip_ns(const Link& link, int rounds) {
  const auto here = socket_in(link.source(), SOCK_DGRAM, Link::kSourceAddress, kPort);
  const auto there = socket_in(link.target(), SOCK_DGRAM, Link::kTargetAddress, kPort);
  std::jthread echo([&] {
    char byte = 0;
    sockaddr_in from{};
    socklen_t length = sizeof from;
    auto* generic = reinterpret_cast<sockaddr*>(&from);
    while (::recvfrom(there.get(), &byte, 1, 0, generic, &length) == 1 && byte != 'q') {
      ::sendto(there.get(), &byte, 1, 0, generic, length);
    }
  });
  const auto to = address_of(Link::kTargetAddress, kPort);
  const auto* generic = reinterpret_cast<const sockaddr*>(&to);
  std::vector<std::int64_t> times;
  char byte = 'x';
  for (int i = 0; i < rounds; ++i) {
    const auto began = monotonic_ns();
    ::sendto(here.get(), &byte, 1, 0, generic, sizeof to);
    pollfd polled{here.get(), POLLIN, 0};
    if (::poll(&polled, 1, 5000) != 1 || ::recv(here.get(), &byte, 1, 0) != 1) {
      ADD_FAILURE() << "no answer to packet " << i;
      break;
    }
    times.push_back(monotonic_ns() - began);
  }
  byte = 'q';
  ::sendto(here.get(), &byte, 1, 0, generic, sizeof to);
  if (times.empty()) {
    ::shutdown(there.get(), SHUT_RDWR);
    return 0;
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

/// Bytes per second of one TCP stream of so many bytes.
double stream_rate(const Link& link, std::size_t bytes) {
  const auto listener = socket_in(link.target(), SOCK_STREAM, Link::kTargetAddress, kPort);
  ::listen(listener.get(), 1);
  const auto client = socket_in(link.source(), SOCK_STREAM, Link::kSourceAddress, 0);
  const auto to = address_of(Link::kTargetAddress, kPort);
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    ADD_FAILURE() << "no connection";
    return 0;
  }
  const Fd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  std::jthread sender([&] {
    const std::vector<std::byte> chunk(64 << 10);
    for (std::size_t sent = 0; sent < bytes;) {
      const auto done =
          ::send(client.get(), chunk.data(), std::min(chunk.size(), bytes - sent), MSG_NOSIGNAL);
      if (done <= 0) {
        break;
      }
      sent += static_cast<std::size_t>(done);
    }
    ::shutdown(client.get(), SHUT_WR);
  });
  std::vector<std::byte> buffer(64 << 10);
  const auto began = monotonic_ns();
  std::size_t received = 0;
  for (ssize_t got = 0; (got = ::recv(server.get(), buffer.data(), buffer.size(), 0)) > 0;) {
    received += static_cast<std::size_t>(got);
  }
  EXPECT_EQ(received, bytes);
  return static_cast<double>(received) * 1e9 / static_cast<double>(monotonic_ns() - began);
}

Link make(const LinkSpec& spec) {
  auto link = Link::create(spec);
  EXPECT_TRUE(link) << link.error().message();
  return std::move(*link);
}

TEST(Link, TheRoundTripGrowsByTheDelay) {
  const LinkSpec at_once{.emulated = true};
  GODWIT_NEED_LINK(at_once);
  const auto without = round_trip_ns(make(at_once), 200);
  const auto with = round_trip_ns(make({.delay_us = 20'000, .emulated = true}), 30);
  ASSERT_GT(without, 0);
  EXPECT_GE(with, 20'000'000) << "no packet is early";
  EXPECT_NEAR(static_cast<double>(with - without), 20e6, 5e6);
}

TEST(Link, AStreamKeepsToTheBandwidthOfTheEmulator) {
  const LinkSpec spec{.bandwidth_bits_per_s = 80'000'000,
                      .delay_us = 1000,
                      .buffer_bytes = 1 << 18,
                      .emulated = true};
  GODWIT_NEED_LINK(spec);
  const auto link = make(spec);
  const auto rate = stream_rate(link, 5'000'000);
  EXPECT_LT(rate, 10.5e6);
  EXPECT_GT(rate, 4e6);
  EXPECT_GT(link.counts()->delivered, 3000U) << "packets, not bundles of them";
}

TEST(Link, AStreamKeepsToTheBandwidthOfTheKernelsLink) {
  const LinkSpec spec{.bandwidth_bits_per_s = 80'000'000, .buffer_bytes = 1 << 18};
  GODWIT_NEED_LINK(spec);
  const auto link = make(spec);
  EXPECT_FALSE(link.counts());
  const auto rate = stream_rate(link, 5'000'000);
  EXPECT_LT(rate, 11e6);
  EXPECT_GT(rate, 4e6);
}

TEST(Link, AStreamSurvivesLossAndIsSlowerForIt) {
  const LinkSpec spec{.delay_us = 2000, .loss = 0.02, .emulated = true};
  GODWIT_NEED_LINK(spec);
  const auto lossy = make(spec);
  const auto slow = stream_rate(lossy, 2'000'000);
  const auto counts = *lossy.counts();
  EXPECT_GT(counts.lost, 0U);
  EXPECT_LT(counts.lost, counts.delivered / 10);
  EXPECT_LT(slow, stream_rate(make({.delay_us = 2000, .emulated = true}), 2'000'000));
}

TEST(Link, AnUnboundedStreamIsCarriedInBundles) {
  const LinkSpec spec{.emulated = true};
  GODWIT_NEED_LINK(spec);
  const auto link = make(spec);
  EXPECT_GT(stream_rate(link, 50'000'000), 20e6);
  EXPECT_LT(link.counts()->delivered, 50'000'000U / 1448) << "larger than a packet on average";
  EXPECT_EQ(link.counts()->refused, 0U);
}

TEST(Link, ACutLinkIsSilent) {
  LinkSpec spec{.emulated = true};
  spec.cut_after_ns = 0;
  GODWIT_NEED_LINK(spec);
  const auto link = make(spec);
  const auto here = socket_in(link.source(), SOCK_DGRAM, Link::kSourceAddress, kPort);
  const auto there = socket_in(link.target(), SOCK_DGRAM, Link::kTargetAddress, kPort);
  const auto to = address_of(Link::kTargetAddress, kPort);
  for (int i = 0; i < 20; ++i) {
    ::sendto(here.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  }
  pollfd polled{there.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&polled, 1, 200), 0);
  EXPECT_EQ(link.counts()->delivered, 0U);
  EXPECT_GE(link.counts()->cut, 20U);
}

TEST(Link, BothEndsChooseTheSameCongestionControl) {
  const LinkSpec spec{.emulated = true};
  GODWIT_NEED_LINK(spec);
  const auto link = make(spec);
  std::array<std::string, 2> names;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& site = i == 0 ? link.source() : link.target();
    ASSERT_TRUE(site.within([&]() -> Status {
      std::array<char, 32> text{};
      std::FILE* file = std::fopen("/proc/sys/net/ipv4/tcp_congestion_control", "re");
      if (file != nullptr) {
        names.at(i).assign(text.data(), std::fread(text.data(), 1, text.size(), file));
        std::fclose(file);
      }
      return {};
    }));
  }
  EXPECT_EQ(names[0], names[1]);
  EXPECT_TRUE(names[0] == "cubic\n" || names[0] == "reno\n") << names[0];
}

TEST(Link, TheDemoIsToldWhereItsEndsAre) {
  const LinkSpec spec{.emulated = true};
  GODWIT_NEED_LINK(spec);
  const auto words = make(spec).demo_arguments();
  ASSERT_EQ(words.size(), 6U);
  EXPECT_EQ(words[0], "--source-netns");
  EXPECT_NE(words[1], words[3]) << "two namespaces";
}

}  // namespace
}  // namespace godwit::lab
