#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "link/link_emulator.h"
#include "link/link_spec.h"
#include "link/network_site.h"

namespace godwit::lab {

/// Two network namespaces with a link between them: a veth pair with tbf where only a bandwidth is
/// said, else two TUN devices with the emulator between them. Ownership: everything goes with it,
/// and with this process if that is killed.
class Link {
 public:
  static constexpr const char* kSourceAddress = "198.18.0.1";  // RFC 2544: for measuring
  static constexpr const char* kTargetAddress = "198.18.0.2";

  /// Errors: kPermission (not root), kUnsupported (no iproute2), kIo.
  static Result<Link> create(const LinkSpec& spec, std::uint64_t seed = 1);
  /// The namespaces, for setns().
  [[nodiscard]] const NetworkSite& source() const { return source_; }
  [[nodiscard]] const NetworkSite& target() const { return target_; }
  /// The congestion control of new connections at both ends. Errors: kIo.
  [[nodiscard]] Result<std::string> congestion() const { return source_.congestion(); }
  /// Options that put both processes of a `godwit demo` at the ends of this link.
  [[nodiscard]] std::vector<std::string> demo_arguments() const;
  /// The member `link` of a row.
  [[nodiscard]] Json json() const { return link_json(spec_); }
  /// What the emulator did with packets; nothing for the kernel's link.
  [[nodiscard]] std::optional<LinkCounts> counts() const;

 private:
  Link(const LinkSpec& spec, NetworkSite source, NetworkSite target)
      : spec_(spec), source_(std::move(source)), target_(std::move(target)) {}
  Status join_by_veth();
  Status join_by_emulator(std::uint64_t seed);

  LinkSpec spec_;
  NetworkSite source_;
  NetworkSite target_;
  std::unique_ptr<LinkEmulator> emulator_;
};

/// The member `link_packets` of a row.
Json counts_json(const LinkCounts& counts);

/// Why such a link cannot be made here; empty when it can. Cost: makes one.
std::string link_unusable_reason(const LinkSpec& spec);

}  // namespace godwit::lab
