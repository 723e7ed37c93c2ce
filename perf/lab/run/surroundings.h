#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "godwit/base/result.h"
#include "godwit/json/json.h"

#include "ground/user.h"
#include "link/link.h"
#include "load/load.h"
#include "scenario/scenario.h"

namespace godwit::lab {

/// What a point wants around one run: a link, a load, a user. Ownership: link and load end with it.
class Surroundings {
 public:
  /// A new link for each run: nothing is remembered of the last, and its losses differ by `round`.
  /// `longest_ns`: a load ends then by itself. Errors: as Link::create(), Load::start(),
  /// find_user().
  static Result<Surroundings> make(const Point& point,
                                   std::uint64_t round,
                                   std::int64_t longest_ns);

  [[nodiscard]] const Link* link() const { return link_ ? &*link_ : nullptr; }
  [[nodiscard]] int cgroup_fd() const { return load_ ? load_->cgroup_fd() : -1; }
  /// Who runs godwit, if it is not who runs the lab.
  [[nodiscard]] const std::optional<User>& user() const { return user_; }
  /// Why they were not there to the end of the run; empty = they were.
  [[nodiscard]] std::string broken_reason() const { return load_ ? load_->broken_reason() : ""; }
  /// Sets the members `link`, `load` and `user` of a row.
  void describe(Json& row) const;
  /// Sets what they have seen by now: `link_packets` and `load_seen`.
  void account(Json& row) const;

 private:
  Surroundings() = default;
  std::optional<Link> link_;
  std::optional<Load> load_;
  std::optional<User> user_;
  Json load_json_ = nullptr;
  Json user_name_ = nullptr;
};

/// Why this host cannot give them to a run of `godwit`; empty when it can. Errors: kInvalidArgument
/// (members that make no sense, no such user). Cost: makes each for a moment.
Result<std::string> why_impossible(const Point& point, const std::string& godwit);

}  // namespace godwit::lab
