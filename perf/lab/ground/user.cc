#include "ground/user.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace godwit::lab {
namespace {

/// The errno of `attempt` (which returns it) by that user, in a process of its own.
template <typename Attempt>
int errno_as(const User& user, Attempt attempt) {
  const auto pid = ::fork();
  if (pid == 0) {
    ::_exit(become_user(user) ? attempt() : errno);
  }
  int status = 0;
  while (pid > 0 && ::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : EAGAIN;
}

}  // namespace

Result<User> find_user(const std::string& name) {
  std::array<char, 16384> buffer;
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "user", fmt::format("there is no user '{}'", name));
  }
  User user{name, entry.pw_uid, entry.pw_gid, {}};
  int count = 64;
  user.groups.resize(static_cast<std::size_t>(count));
  if (::getgrouplist(name.c_str(), user.gid, user.groups.data(), &count) < 0) {
    user.groups.resize(static_cast<std::size_t>(count));
    (void)::getgrouplist(name.c_str(), user.gid, user.groups.data(), &count);
  }
  user.groups.resize(static_cast<std::size_t>(count));
  return user;
}

bool is_this_user(const User& user) {
  return user.uid == ::geteuid();
}

bool become_user(const User& user) {
  if (is_this_user(user)) {
    return true;
  }
  // A service manager or a container may have given root's processes more than a login gives.
  const rlimit nothing{0, 0};
  return ::setrlimit(RLIMIT_NICE, &nothing) == 0 && ::setrlimit(RLIMIT_RTPRIO, &nothing) == 0 &&
         ::setgroups(user.groups.size(), user.groups.data()) == 0 && ::setgid(user.gid) == 0 &&
         ::setuid(user.uid) == 0;
}

std::string why_not_executable(const User& user, const std::string& program) {
  const auto error =
      errno_as(user, [&] { return ::access(program.c_str(), X_OK) == 0 ? 0 : errno; });
  return error == 0 ? std::string()
                    : fmt::format(
                          "user {} cannot execute {}: {}; the folders on the way to it must "
                          "be open to all",
                          user.name,
                          program,
                          std::strerror(error));
}

std::string why_not_openable(const User& user, const std::string& device) {
  const auto error =
      errno_as(user, [&] { return ::open(device.c_str(), O_RDWR | O_CLOEXEC) >= 0 ? 0 : errno; });
  return error == 0
             ? std::string()
             : fmt::format("user {} cannot open {}: {}", user.name, device, std::strerror(error));
}

}  // namespace godwit::lab
