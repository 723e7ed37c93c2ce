#include "link/private_network.h"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "link/network_site.h"
#include "support/link_support.h"

namespace godwit::lab {
namespace {

TEST(PeerNetwork, IsANamespaceWithAUsualCongestionControl) {
  GODWIT_NEED_LINK(LinkSpec{.emulated = true});
  const auto network = make_peer_network("auto");
  EXPECT_TRUE(network.name_space.valid());
  const auto usual = usual_congestion();
  EXPECT_NE(std::find(usual.begin(), usual.end(), network.congestion), usual.end())
      << network.congestion;
  EXPECT_EQ(network.note, "");
}

TEST(PeerNetwork, WhatIsNotToBeHadIsNoted) {
  const auto network = make_peer_network("no-such-control");
  EXPECT_NE(network.congestion, "no-such-control");
  EXPECT_NE(network.note.find("not no-such-control"), std::string::npos) << network.note;
}

}  // namespace
}  // namespace godwit::lab
