#include "include_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "made_up_tree.h"

namespace godwit::tidy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(IncludeGraph, ArrowsPointOnlyToLowerLayers) {
  EXPECT_THAT(wrong_arrows(project()), IsEmpty());
}

TEST(IncludeGraph, PrivateHeadersOfAnotherLayerAreNotReached) {
  EXPECT_THAT(headers_out_of_reach(project()), IsEmpty());
}

TEST(IncludeGraph, EverySourceIncludesItsHeaderFirst) {
  EXPECT_THAT(own_headers_late(project()), IsEmpty());
}

TEST(IncludeGraph, RoomsKeepTheirOrder) {
  EXPECT_THAT(wrong_rooms(project()), IsEmpty());
}

TEST(IncludeGraph, KernelAndLibrariesHaveOneHomeEach) {
  EXPECT_THAT(wrong_homes(project()), IsEmpty());
}

TEST(IncludeGraph, ProjectIsFoundAndReadWhole) {
  for (const auto* folder : {"engine", "uffd", "net", "kvm", "perf", "tests"}) {
    EXPECT_GT(project().code(folder).size(), 10U) << folder;
  }
  for (const auto* table : {"layers", "private_headers", "rooms", "homes"}) {
    EXPECT_THAT(project().table(table), testing::Not(IsEmpty())) << table;
  }
}

/// Two layers, the upper one with two rooms.
MadeUpTree two_layers() {
  return MadeUpTree({
      {"tests/tidy/layers", "engine base engine # itself too\nnet base engine net\n"},
      {"tests/tidy/private_headers", "engine engine/src\nnet net/src engine/tables/ =made.h\n"},
      {"tests/tidy/rooms", "net/src low:\nnet/src high: low\n"},
      {"tests/tidy/homes", "liburing.h: net/src/low\n"},
      {"engine/include/godwit/engine/ports.h", "#include \"godwit/base/fd.h\"\n"},
      {"engine/src/ledger.h", ""},
      {"engine/src/ledger.cc", "#include \"ledger.h\"\n#include <vector>\n"},
      {"engine/tables/table.h", ""},
      {"engine/tables/inner.h", ""},
      {"net/src/low/ring.h", "#include <liburing.h>\n"},
      {"net/src/low/ring.cc", "#include \"low/ring.h\"\n#include \"made.h\"\n"},
      {"net/src/high/loop.h", ""},
      {"net/src/high/loop.cc",
       "#include \"high/loop.h\"\n#include \"godwit/engine/ports.h\"\n#include \"low/ring.h\"\n"
       "#include \"tables/table.h\"\n"},
  });
}

TEST(MadeUpIncludes, AreAllRight) {
  const auto made_up = two_layers();
  EXPECT_THAT(wrong_arrows(made_up.tree()), IsEmpty());
  EXPECT_THAT(headers_out_of_reach(made_up.tree()), IsEmpty());
  EXPECT_THAT(own_headers_late(made_up.tree()), IsEmpty());
  EXPECT_THAT(wrong_rooms(made_up.tree()), IsEmpty());
  EXPECT_THAT(wrong_homes(made_up.tree()), IsEmpty());
}

TEST(MadeUpIncludes, AnArrowUpwardsIsSeen) {
  const auto made_up = two_layers();
  made_up.write("engine/src/ledger.cc", "  # include \"godwit/net/socket.h\"\n");
  EXPECT_THAT(wrong_arrows(made_up.tree()),
              ElementsAre(HasSubstr("engine/src/ledger.cc includes godwit/net/socket.h")));
}

TEST(MadeUpIncludes, AFolderOfNoLayerIsSeen) {
  const auto made_up = two_layers();
  made_up.write("uffd/src/uffd.cc", "");
  EXPECT_THAT(wrong_arrows(made_up.tree()), ElementsAre("uffd/src/uffd.cc belongs to no layer"));
}

TEST(MadeUpIncludes, APrivateHeaderOfAnotherLayerIsOutOfReach) {
  const auto made_up = two_layers();
  // As the compiler would find it if the folder were on the include path, and as it always does.
  for (const auto* way : {"ledger.h", "../../../engine/src/ledger.h", "engine/src/ledger.h"}) {
    made_up.write("net/src/high/loop.cc", std::string("#include \"") + way + "\"\n");
    EXPECT_THAT(headers_out_of_reach(made_up.tree()),
                ElementsAre(HasSubstr("net/src/high/loop.cc includes")))
        << way;
  }
}

TEST(MadeUpIncludes, ARoomLentByAnotherLayerLendsNothingElse) {
  const auto made_up = two_layers();
  made_up.write("net/src/high/loop.cc", "#include \"src/ledger.h\"\n");
  EXPECT_THAT(headers_out_of_reach(made_up.tree()), testing::SizeIs(1));
}

TEST(MadeUpIncludes, AHeaderAfterAnotherIsSeen) {
  const auto made_up = two_layers();
  made_up.write("engine/src/ledger.cc", "#include <vector>\n\n#include \"ledger.h\"\n");
  EXPECT_THAT(own_headers_late(made_up.tree()),
              ElementsAre("engine/src/ledger.cc includes \"ledger.h\" late"));
}

TEST(MadeUpIncludes, ARoomAgainstTheOrderIsSeen) {
  const auto made_up = two_layers();
  made_up.write("net/src/low/ring.cc", "#include \"high/loop.h\"\n");
  EXPECT_THAT(wrong_rooms(made_up.tree()), ElementsAre(HasSubstr("low must not know high")));
}

TEST(MadeUpIncludes, RoomsAndTheirTableAreTheSame) {
  const auto made_up = two_layers();
  made_up.write("net/src/attic/box.cc", "");
  made_up.write("tests/tidy/rooms", "net/src low: high\nnet/src high: low\nnet/src cellar:\n");
  EXPECT_THAT(wrong_rooms(made_up.tree()),
              ElementsAre("rooms: net/src low names high, which is not above it",
                          "net/src/attic is missing in rooms",
                          "rooms: there is no net/src/cellar"));
}

TEST(MadeUpIncludes, AHeaderOutsideOfItsHomeIsSeen) {
  const auto made_up = two_layers();
  made_up.write("net/src/high/loop.cc", "#include <liburing.h>\n");
  EXPECT_THAT(wrong_homes(made_up.tree()), ElementsAre(HasSubstr("net/src/high/loop.cc")));
  made_up.write("net/src/high/loop.cc", "");
  made_up.write("net/src/low/ring.h", "");
  EXPECT_THAT(wrong_homes(made_up.tree()), ElementsAre(HasSubstr("nothing in net/src/low")));
}

}  // namespace
}  // namespace godwit::tidy
