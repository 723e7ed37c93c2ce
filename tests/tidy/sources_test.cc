#include "sources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "made_up_tree.h"

namespace godwit::tidy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Sources, EachHasItsTestOrALineThatSaysWhoCoversIt) {
  EXPECT_THAT(untested_sources(project()), IsEmpty());
}

TEST(Sources, EachUnitTestIsNamedAfterOne) {
  EXPECT_THAT(tests_of_nothing(project()), IsEmpty());
}

/// A tested source, one that another's test covers, and a folder that none does.
MadeUpTree small_tree() {
  return MadeUpTree(
      {{"net/src/sockets/listener.cc", ""},
       {"net/src/sockets/address.cc", ""},
       {"net/include/godwit/net/loop.h", ""},
       {"perf/micro/bench.cc", ""},
       {"perf/micro/main.cc", ""},
       {"tests/run", ""},
       {"tests/unit/net/sockets/listener_test.cc", ""},
       {"tests/unit/net/loop_test.cc", ""},
       {"tests/tidy/untested",
        "# SOURCE TEST WHY\n"
        "net/src/sockets/address.cc  tests/unit/net/sockets/listener_test.cc  its text\n"
        "perf/micro  tests/run  measures\n"}});
}

TEST(MadeUpSources, AreCovered) {
  EXPECT_THAT(untested_sources(small_tree().tree()), IsEmpty());
  EXPECT_THAT(tests_of_nothing(small_tree().tree()), IsEmpty());
}

TEST(MadeUpSources, ASourceWithoutATestIsSeen) {
  const auto made_up = small_tree();
  made_up.write("net/src/sockets/socket.cc", "");
  made_up.write("tests/unit/net/socket_test.cc", "");  // not in its place
  EXPECT_THAT(untested_sources(made_up.tree()),
              ElementsAre(HasSubstr("net/src/sockets/socket.cc has no "
                                    "tests/unit/net/sockets/socket_test.cc")));
  EXPECT_THAT(tests_of_nothing(made_up.tree()),
              ElementsAre(HasSubstr("tests/unit/net/socket_test.cc is named after nothing")));
}

TEST(MadeUpSources, ATestOfNoSourceNeedsALineAndTheLineATest) {
  const auto made_up = small_tree();
  made_up.write("tests/unit/net/contract_test.cc", "");
  made_up.write("tests/tidy/untested",
                "+ tests/unit/net/contract_test.cc  of all loops\n"
                "+ tests/unit/net/loop_test.cc  has its header\n"
                "+ tests/unit/net/gone_test.cc\n");
  EXPECT_THAT(tests_of_nothing(made_up.tree()),
              ElementsAre("untested: a test alone lacks its name, or why",
                          HasSubstr("tests/unit/net/loop_test.cc has its source")));
}

TEST(MadeUpSources, ALineThatIsNoLongerTrueIsSeen) {
  const auto made_up = small_tree();
  made_up.write("tests/unit/net/sockets/address_test.cc", "");
  EXPECT_THAT(untested_sources(made_up.tree()),
              ElementsAre(HasSubstr("net/src/sockets/address.cc has its test")));
  made_up.write("tests/tidy/untested",
                "net/src/gone.cc  tests/run  was there once\n"
                "perf/micro  tests/gone  measures\n"
                "perf/lab  tests/run\n");
  EXPECT_THAT(untested_sources(made_up.tree()),
              ElementsAre("untested: there is no tests/gone to cover perf/micro",
                          "untested: perf/lab lacks who covers it, or why",
                          HasSubstr("net/src/gone.cc has its test, or is not there")));
}

}  // namespace
}  // namespace godwit::tidy
