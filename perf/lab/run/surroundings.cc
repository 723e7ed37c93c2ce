#include "run/surroundings.h"

#include <unistd.h>

#include <utility>

namespace godwit::lab {
namespace {

constexpr const char* kKvm = "/dev/kvm";

/// Whether the guest is one that takes KVM, by choice or because it is there.
bool wants_kvm(const Json& options) {
  return text_at(options, "/guest") != "process";
}

std::string why_not_user(const User& user, const Point& point, const std::string& godwit) {
  if (is_this_user(user)) {
    return {};
  }
  if (::geteuid() != 0) {
    return "running as user " + user.name + " takes root";
  }
  if (auto reason = why_not_executable(user, godwit); !reason.empty()) {
    return reason;
  }
  // Not a process guest in silence: its figures are others.
  if (wants_kvm(point.options)) {
    if (auto reason = why_not_openable(user, kKvm); !reason.empty()) {
      return reason + R"(; give it access, or take "guest": "process")";
    }
  }
  return {};
}

}  // namespace

Result<Surroundings> Surroundings::make(const Point& point,
                                        std::uint64_t round,
                                        std::int64_t longest_ns) {
  Surroundings made;
  if (!point.user.empty()) {
    GODWIT_TRY_ASSIGN(auto user, find_user(point.user));
    made.user_name_ = user.name;
    if (!is_this_user(user)) {
      made.user_ = std::move(user);
    }
  }
  if (!point.link.is_null()) {
    GODWIT_TRY_ASSIGN(const auto spec, parse_link(point.link, point.scenario));
    GODWIT_TRY_ASSIGN(auto link, Link::create(spec, round));
    made.link_.emplace(std::move(link));
  }
  if (!point.load.is_null()) {
    GODWIT_TRY_ASSIGN(const auto spec, parse_load(point.load, point.scenario));
    GODWIT_TRY_ASSIGN(auto load, Load::start(spec, longest_ns));
    made.load_.emplace(std::move(load));
    made.load_json_ = load_json(spec);
  }
  return made;
}

void Surroundings::describe(Json& row) const {
  row["link"] = link_ ? link_->json() : Json(nullptr);
  row["load"] = load_json_;
  row["user"] = user_name_;
}

void Surroundings::account(Json& row) const {
  if (link_ && link_->counts()) {
    row["link_packets"] = counts_json(*link_->counts());
  }
  if (load_) {
    row["load_seen"] = load_->seen();
  }
}

Result<std::string> why_impossible(const Point& point, const std::string& godwit) {
  std::string reason;
  if (!point.link.is_null()) {
    GODWIT_TRY_ASSIGN(const auto spec, parse_link(point.link, point.scenario));
    reason = link_unusable_reason(spec);
  }
  if (reason.empty() && !point.load.is_null()) {
    GODWIT_TRY_ASSIGN(const auto spec, parse_load(point.load, point.scenario));
    reason = load_unusable_reason(spec);
  }
  if (reason.empty() && !point.user.empty()) {
    GODWIT_TRY_ASSIGN(const auto user, find_user(point.user));
    reason = why_not_user(user, point, godwit);
  }
  return reason;
}

}  // namespace godwit::lab
