#include "godwit/uffd/uffd.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>

#include <gtest/gtest.h>

#include "uffd_support.h"

namespace godwit::uffd {
namespace {

TEST(Uffd, ProbeReportsWhatOpenThenEnables) {
  GODWIT_NEEDS_UFFD(Features{});
  const auto offered = probe_features();
  ASSERT_TRUE(offered) << offered.error().message();
  const auto opened = Uffd::open(*offered, Mode::kUserFaultsEnough);
  EXPECT_TRUE(opened) << opened.error().message();
}

// A kernel that lacks something cannot be had here, but what open() asks of it can.
TEST(CheckOffered, NamesEveryMissingFeatureAndItsKernel) {
  struct Case {
    bool Features::*member;
    const char* kernel;
  };
  const Case cases[] = {{&Features::missing_shmem, "4.11"},
                        {&Features::minor_shmem, "5.14"},
                        {&Features::wp, "5.7"},
                        {&Features::wp_shmem, "5.19"},
                        {&Features::wp_async, "6.7"}};
  Features all;
  for (const auto& c : cases) {
    all.*c.member = true;
  }
  EXPECT_TRUE(check_offered(all, all));
  EXPECT_TRUE(check_offered(Features{}, Features{}));
  for (const auto& c : cases) {
    SCOPED_TRACE(c.kernel);
    auto offered = all;
    offered.*c.member = false;
    EXPECT_TRUE(check_offered(offered, offered));
    const auto status = check_offered(all, offered);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kUnsupported);
    const auto text = status.error().message();
    for (const auto& other : cases) {
      const auto named = text.find(std::string("Linux ") + other.kernel + ")") != std::string::npos;
      EXPECT_EQ(named, other.member == c.member) << text;
    }
  }
}

/// What a child that gave up its privileges found.
enum ChildResult : int {
  kAsPromised = 0,
  kWrongError,
  kWrongText,
  kNoFallback,
  kNotLimited,
  kMayOpenIt,
  kCannotDrop
};

int open_as_nobody() {
  constexpr uid_t kNobody = 65534;
  if (::setresgid(kNobody, kNobody, kNobody) != 0 || ::setresuid(kNobody, kNobody, kNobody) != 0) {
    return kCannotDrop;
  }
  const auto refused = Uffd::open(placing(), Mode::kAllFaults);
  if (refused) {
    return kMayOpenIt;
  }
  if (refused.error().code != ErrorCode::kPermission) {
    return kWrongError;
  }
  if (refused.error().message() !=
      "userfaultfd: permission denied; open /dev/userfaultfd to this user or set "
      "vm.unprivileged_userfaultfd=1") {
    return kWrongText;
  }
  const auto limited = Uffd::open(placing(), Mode::kUserFaultsEnough);
  if (!limited) {
    return kNoFallback;
  }
  return limited->user_faults_only() ? kAsPromised : kNotLimited;
}

TEST(Uffd, OrdinaryUserGetsTheRemedyOrUserFaultsOnly) {
  GODWIT_NEEDS_UFFD(placing());
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can become another user";
  }
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::_exit(open_as_nobody());
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kMayOpenIt || WEXITSTATUS(status) == kCannotDrop) {
    GTEST_SKIP() << "ordinary users may use userfaultfd here, or cannot be become";
  }
  EXPECT_EQ(WEXITSTATUS(status), kAsPromised);
}

TEST(Uffd, RegisterRefusesWhatAnotherOneHas) {
  GODWIT_NEEDS_UFFD(placing());
  TestMemory memory({4});
  auto first = Uffd::open(placing(), Mode::kUserFaultsEnough).value();
  auto second = Uffd::open(placing(), Mode::kUserFaultsEnough).value();
  auto* start = memory.get().regions[0].guest;
  ASSERT_TRUE(first.register_range(start, 4 * kPageBytes, Registration::kMissingAndMinor));
  const auto refused = second.register_range(start, 4 * kPageBytes, Registration::kMissingAndMinor);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kState);
  ASSERT_TRUE(first.unregister_range(start, 4 * kPageBytes));
  EXPECT_TRUE(second.register_range(start, 4 * kPageBytes, Registration::kMissingAndMinor));
}

TEST(Uffd, RegisterRefusesAnonymousMemoryWhenMinorFaultsAreAsked) {
  GODWIT_NEEDS_UFFD(placing());
  const auto anonymous = Mapping::anonymous(4 * kPageBytes).value();
  auto uffd = Uffd::open(placing(), Mode::kUserFaultsEnough).value();
  EXPECT_FALSE(
      uffd.register_range(anonymous.data(), anonymous.size(), Registration::kMissingAndMinor));
  // Not left behind half registered: touching it does not wait.
  anonymous.data()[0] = std::byte{1};
}

TEST(Uffd, ReadReturnsNothingWhenNobodyFaulted) {
  GODWIT_NEEDS_UFFD(placing());
  auto uffd = Uffd::open(placing(), Mode::kUserFaultsEnough).value();
  std::array<RawFault, 8> faults;
  EXPECT_EQ(uffd.read_faults(faults).value(), 0U);
  EXPECT_EQ(uffd.read_faults({}).value(), 0U);
}

}  // namespace
}  // namespace godwit::uffd
