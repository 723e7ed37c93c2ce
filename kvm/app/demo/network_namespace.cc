#include "demo/network_namespace.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <cerrno>

#include <fmt/format.h>

namespace godwit::app {
namespace {

constexpr const char* kNamed = "/run/netns/";  // ip-netns(8)

}  // namespace

Result<NetworkNamespace> NetworkNamespace::open(const std::string& name, const char* option) {
  if (name.empty()) {
    return NetworkNamespace(name, option, Fd());
  }
  const auto path = name.find('/') == std::string::npos ? kNamed + name : name;
  Fd there(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!there.valid()) {
    const bool missing = errno == ENOENT;
    return fail_errno(errno,
                      option,
                      fmt::format("{}: {}",
                                  path,
                                  missing ? "make it with 'ip netns add', or name its path"
                                          : "cannot be opened (be root)"));
  }
  if (::ioctl(there.get(), NS_GET_NSTYPE) != CLONE_NEWNET) {
    // The surroundings, not the command line: whatever lies at that path today.
    return fail(ErrorCode::kUnsupported, option, fmt::format("{} is no network namespace", path));
  }
  return NetworkNamespace(path, option, std::move(there));
}

Status NetworkNamespace::within(const std::function<Status()>& body) const {
  if (!there_.valid()) {
    return body();
  }
  const Fd here(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!here.valid()) {
    return fail_errno(errno, "open", "/proc/thread-self/ns/net");
  }
  if (::setns(there_.get(), CLONE_NEWNET) != 0) {
    return fail_errno(
        errno, option_, fmt::format("cannot enter {} (needs CAP_SYS_ADMIN: be root)", name_));
  }
  auto done = body();
  if (::setns(here.get(), CLONE_NEWNET) != 0) {
    return fail_errno(errno, option_, fmt::format("cannot come back from {}", name_));
  }
  return done;
}

}  // namespace godwit::app
