#include "layout.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "made_up_tree.h"

namespace godwit::tidy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Layout, TopLevelIsFixed) {
  EXPECT_THAT(wrong_top_level(project()), IsEmpty());
}

TEST(Layout, FoldersAndFilesStaySmall) {
  EXPECT_THAT(too_large(project()), IsEmpty());
}

TEST(Layout, EverySourceIsBuilt) {
  EXPECT_THAT(not_built(project()), IsEmpty());
}

TEST(Headers, EveryPublicHeaderIsDocumentedAndGuarded) {
  EXPECT_THAT(bare_headers(project()), IsEmpty());
}

TEST(MadeUpTopLevel, StrangersAndGapsAreSeen) {
  const MadeUpTree made_up({{"docs/x", ""},
                            {"engine/x", ""},
                            {"kvm/x", ""},
                            {"net/x", ""},
                            {"tests/x", ""},
                            {"uffd/x", ""},
                            {".git/x", ""},
                            {"CMakeLists.txt", ""}});
  EXPECT_THAT(wrong_top_level(made_up.tree()), IsEmpty());
  made_up.write("notes.txt", "");
  EXPECT_THAT(wrong_top_level(made_up.tree()), ElementsAre(HasSubstr("notes.txt")));
  const MadeUpTree bare({{"CMakeLists.txt", ""}});
  EXPECT_THAT(wrong_top_level(bare.tree()), testing::Contains("engine is missing"));
}

TEST(MadeUpSizes, ALongFileIsSeenUnlessExcused) {
  const std::string line = "x\n";
  std::string text;
  for (std::size_t i = 0; i < kLinesMax; ++i) {
    text += line;
  }
  const MadeUpTree made_up({{"net/src/loop.cc", text}});
  EXPECT_THAT(too_large(made_up.tree()), IsEmpty());
  made_up.write("net/src/loop.cc", text + line);
  EXPECT_THAT(too_large(made_up.tree()),
              ElementsAre("net/src/loop.cc has 601 lines, more than 600"));
  made_up.write("tests/tidy/large", "net/src/loop.cc  one table\n");
  EXPECT_THAT(too_large(made_up.tree()), IsEmpty());
  made_up.write("tests/tidy/large", "net/src/loop.cc\n");
  EXPECT_THAT(too_large(made_up.tree()), ElementsAre("large: net/src/loop.cc has no reason"));
}

TEST(MadeUpSizes, AFullFolderIsSeenAndANeedlessExcuseToo) {
  const MadeUpTree made_up({{"tests/tidy/large", ""}});
  for (std::size_t i = 0; i < kFilesMax; ++i) {
    made_up.write("net/src/f" + std::to_string(i), "");
  }
  EXPECT_THAT(too_large(made_up.tree()), IsEmpty());
  made_up.write("net/src/one_more", "");
  EXPECT_THAT(too_large(made_up.tree()), ElementsAre("net/src has 26 files, more than 25"));
  made_up.write("tests/tidy/large", "net/src  data\nkvm/src  long ago\n");
  EXPECT_THAT(too_large(made_up.tree()), ElementsAre("large: kvm/src is not"));
}

/// A library and its test.
MadeUpTree small_build() {
  return MadeUpTree(
      {{"CMakeLists.txt", "add_subdirectory(net)\nadd_subdirectory(tests)\n"},
       {"net/CMakeLists.txt", "godwit_library(net SOURCES \"${here}/src/loop.cc\")\n"},
       {"net/src/loop.cc", ""},
       {"net/src/loop.h", ""},
       {"tests/CMakeLists.txt", "add_subdirectory(\"unit/net\")\n"},
       {"tests/unit/net/CMakeLists.txt", "godwit_test(net_test SOURCES loop_test.cc)\n"},
       {"tests/unit/net/loop_test.cc", ""}});
}

TEST(MadeUpBuild, IsWhole) {
  EXPECT_THAT(not_built(small_build().tree()), IsEmpty());
}

TEST(MadeUpBuild, ATestThatIsNotListedIsSeen) {
  const auto made_up = small_build();
  made_up.write("tests/unit/net/socket_test.cc", "");
  EXPECT_THAT(not_built(made_up.tree()),
              ElementsAre("tests/unit/net/socket_test.cc is in no CMakeLists.txt"));
  made_up.write("tests/unit/net/CMakeLists.txt",
                "# socket_test.cc\ngodwit_test(x my_loop_test.cc)\n");
  EXPECT_THAT(not_built(made_up.tree()), testing::SizeIs(2)) << "a comment and a part of a name";
}

TEST(MadeUpBuild, AFolderThatIsNotAddedIsSeen) {
  const auto made_up = small_build();
  made_up.write("tests/CMakeLists.txt", "");
  EXPECT_THAT(not_built(made_up.tree()),
              ElementsAre("tests/unit/net is added by no CMakeLists.txt"));
}

TEST(MadeUpHeaders, NeedADocstringAndAGuard) {
  const MadeUpTree made_up({{"net/include/godwit/net/good.h", "#pragma once\n/// Good.\n"},
                            {"net/include/godwit/net/bare.h", "// Bare.\n"},
                            {"net/src/private.h", ""}});
  EXPECT_THAT(bare_headers(made_up.tree()),
              ElementsAre("net/include/godwit/net/bare.h has no docstring",
                          "net/include/godwit/net/bare.h lacks #pragma once"));
}

}  // namespace
}  // namespace godwit::tidy
