#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "godwit/base/result.h"

namespace godwit::lab {

/// A user of this system, as whom a program may be started.
struct User {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

/// Errors: kInvalidArgument (there is none of that name).
Result<User> find_user(const std::string& name);

/// Whether this process is that user's already.
bool is_this_user(const User& user);

/// Makes this process that user's, without capabilities and without the right to more than nice 0,
/// as after a login. Only calls that are safe after a fork. False, with errno, when it may not.
bool become_user(const User& user);

/// Why `user` cannot execute `program`; empty when it can. Requires: may become the user.
std::string why_not_executable(const User& user, const std::string& program);

/// Why `user` cannot open `device` for reading and writing; empty when it can. Requires: the same.
std::string why_not_openable(const User& user, const std::string& device);

}  // namespace godwit::lab
