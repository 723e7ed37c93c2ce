#include "cli/advice.h"

#include <cerrno>
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "godwit/base/clock.h"
#include "godwit/kvm/system.h"
#include "godwit/net/transport.h"
#include "godwit/vmm/guest.h"

namespace godwit::app {
namespace {

using vmm::GuestConfig;

// Against the libraries' own errors: a table that no longer fits them is noticed here.

TEST(Advice, NamesTheOptionsOfAGuestThatIsOff) {
  const struct {
    std::function<void(GuestConfig&)> spoil;
    const char* says;
  } cases[] = {
      {[](GuestConfig& c) { c.vcpus = 65; }, "--vcpus is 65; 1 to 64 are possible"},
      {[](GuestConfig& c) { c.memory_bytes = 4096; },
       "--memory is 4096 bytes; 4194304 to 70368744177664 are possible"},
      {[](GuestConfig& c) { c.memory_bytes += 4096; },
       "--memory is 16781312 bytes; it must be a multiple of 2 MiB"},
      {[](GuestConfig& c) { c.populated_bytes = c.memory_bytes + 4096; },
       "--populated is 16781312 bytes, more than --memory (16777216)"},
      {[](GuestConfig& c) { c.populated_bytes -= 1; },
       "--populated is 8388607 bytes; it must be a multiple of 4 KiB"},
      {[](GuestConfig& c) { c.populated_bytes = 4096; },
       "--populated is 4096 bytes; this guest needs at least 3276800 for itself"},
      {[](GuestConfig& c) { c.working_set_bytes = c.populated_bytes + 1; },
       "--working-set is 8388609 bytes, more than --populated (8388608)"},
      {[](GuestConfig& c) { c.working_set_bytes = 0; },
       "--working-set is 0 bytes; 1 vCPUs need a page of 4 KiB each"},
  };
  for (const auto& one : cases) {
    GuestConfig config;
    config.memory_bytes = 16 * kMiB;
    config.populated_bytes = 8 * kMiB;
    config.working_set_bytes = 2 * kMiB;
    one.spoil(config);
    const auto status = vmm::validate(config);
    ASSERT_FALSE(status) << one.says;
    EXPECT_EQ(advised(status.error()).message(), one.says);
    EXPECT_EQ(advised(status.error()).code, ErrorCode::kInvalidArgument);
  }
}

TEST(Advice, NamesTheDirtySource) {
  const auto wrong = vmm::check_dirty_choice(vmm::GuestKind::kKvm, vmm::DirtyChoice::kWp);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(advised(wrong.error()).message(), "--dirty-source wp: a KVM guest has log and ring");
  const auto here = vmm::probe_dirty_choice(vmm::GuestKind::kKvm, vmm::DirtyChoice::kWp);
  ASSERT_FALSE(here);
  EXPECT_EQ(advised(here.error()).message(),
            "--dirty-source wp: a KVM guest has log and ring; --dirty-source auto takes what is "
            "possible");
}

TEST(Advice, OffersTheGuestThatNeedsNoKvm) {
  const auto system = kvm::System::open("/dev/no-such-device");
  ASSERT_FALSE(system);
  EXPECT_NE(advised(system.error()).message().find("; or use --guest process"), std::string::npos)
      << advised(system.error()).message();
}

TEST(Advice, SaysWhatIsMissingWhereNobodyListens) {
  const auto peer = net::parse_endpoint("tcp:127.0.0.1:1").value();
  auto transport = net::make_transport(net::LoopKind::kPoll, {.peer = peer}).value();
  const auto channel =
      transport->connect(engine::ChannelKind::kControl, Deadline::after_ns(5'000'000'000));
  ASSERT_FALSE(channel);
  EXPECT_EQ(advised(channel.error()).message(),
            "connect: nobody listens at tcp:127.0.0.1:1; start `godwit receive` there, or check "
            "the address: Connection refused");
}

TEST(Advice, LeavesOtherErrorsAsTheyAre) {
  for (const auto& error : {make_error(ErrorCode::kRefused, "target", "no"),
                            errno_error(ECONNREFUSED, "--control", "x"),
                            errno_error(ETIMEDOUT, "connect", "tcp:x:1")}) {
    EXPECT_EQ(advised(error).message(), error.message());
  }
}

}  // namespace
}  // namespace godwit::app
