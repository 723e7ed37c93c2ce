#pragma once

#include <functional>
#include <string>
#include <vector>

#include "godwit/base/fd.h"
#include "godwit/base/result.h"

namespace godwit::lab {

/// What a network's congestion control is where nobody chooses: the first that is allowed. Every
/// kernel has the last.
inline std::vector<std::string> usual_congestion() {
  return {"cubic", "reno"};
}

/// A network namespace that only this process's descriptor and those who live in it keep: the
/// kernel takes it away with the last of them, however they end, and its devices with it.
class NetworkSite {
 public:
  /// With its loopback up and, as its congestion control, the first of `congestion` that the kernel
  /// allows to a namespace; where it allows none, what new namespaces have. Errors: kPermission,
  /// kIo.
  static Result<NetworkSite> create(
      const std::vector<std::string>& congestion = usual_congestion());
  /// For `setns` by others, as long as this process keeps it.
  [[nodiscard]] std::string path() const;
  /// A descriptor for setns() that keeps it. Errors: kIo.
  [[nodiscard]] Result<Fd> open() const;
  /// What new connections there use. Errors: kIo.
  [[nodiscard]] Result<std::string> congestion() const;
  /// Runs `body` on a thread that lives in it; children that it starts live there too.
  [[nodiscard]] Status within(const std::function<Status()>& body) const;

 private:
  explicit NetworkSite(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

/// The congestion control of the network that this thread lives in; empty = it cannot be told.
std::string congestion_here();

/// Gives a device its address in a net of four and switches it on. Thread: within a site.
Status bring_up(const std::string& device, const char* address);

/// A TUN device in the namespace of this thread; gone with its descriptor. `bundles`: takes TCP
/// segments before the kernel has cut them to size (GSO). Errors: kIo, kPermission.
Result<Fd> make_tun(const std::string& device, bool bundles);

/// Runs a system tool (`ip`, `tc`) to its end. Errors: kUnsupported when there is none; kIo with
/// what it said when it fails.
Status run_tool(const std::string& name, const std::vector<std::string>& arguments);

}  // namespace godwit::lab
