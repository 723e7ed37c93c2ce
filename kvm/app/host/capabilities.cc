#include "host/capabilities.h"

#include <cstdio>

#include <fmt/format.h>

#include "godwit/kvm/system.h"
#include "godwit/net/ring_loop.h"
#include "godwit/uffd/uffd.h"

#include "cli/output.h"

namespace godwit::app {

namespace {

/// The choice, once its note has been said.
template <typename T>
Result<T> say_note(const Result<Resolved<T>>& resolved) {
  if (!resolved) {
    return fail(resolved.error());
  }
  if (!resolved->note.empty()) {
    print_to(stderr, resolved->note + "\n");
  }
  return resolved->choice;
}

}  // namespace

Result<Resolved<vmm::GuestKind>> resolve_kind(GuestChoice choice) {
  using Kind = Resolved<vmm::GuestKind>;
  if (choice == GuestChoice::kProcess) {
    return Kind{vmm::GuestKind::kProcess, {}};
  }
  const auto reason = kvm::unusable_reason();
  if (reason.empty()) {
    return Kind{vmm::GuestKind::kKvm,
                choice == GuestChoice::kAuto ? "guest: kvm (chosen by --guest auto)" : ""};
  }
  if (choice == GuestChoice::kKvm) {
    return fail(ErrorCode::kUnsupported, "--guest kvm", reason + "; or use --guest process");
  }
  return Kind{
      vmm::GuestKind::kProcess,
      fmt::format("guest: process (chosen by --guest auto; KVM is not usable: {})", reason)};
}

Result<Resolved<net::LoopKind>> resolve_transport(TransportChoice choice) {
  using Loop = Resolved<net::LoopKind>;
  if (choice == TransportChoice::kPoll) {
    return Loop{net::LoopKind::kPoll, {}};
  }
  const auto usable = net::probe_uring();
  if (usable) {
    return Loop{net::LoopKind::kUring, {}};
  }
  if (choice == TransportChoice::kUring) {
    return fail(usable.error());
  }
  return Loop{
      net::LoopKind::kPoll,
      fmt::format("transport: poll (chosen by --transport auto; io_uring is not usable: {})",
                  usable.error().message())};
}

Result<vmm::GuestKind> announce_kind(GuestChoice choice) {
  return say_note(resolve_kind(choice));
}

Result<net::LoopKind> announce_transport(TransportChoice choice) {
  return say_note(resolve_transport(choice));
}

std::string uffd_unusable_reason(vmm::GuestKind kind, vmm::Backing backing) {
  const auto features = uffd::probe_features(
      kind == vmm::GuestKind::kKvm ? uffd::Mode::kAllFaults : uffd::Mode::kUserFaultsEnough);
  if (!features) {
    return features.error().message();
  }
  if (backing == vmm::Backing::kHugetlb &&
      (!features->missing_hugetlb || !features->minor_hugetlb)) {
    return "userfaultfd: this kernel has no MINOR faults on hugetlbfs; Linux 5.13 or later is "
           "needed";
  }
  if (backing == vmm::Backing::kMemfd && (!features->missing_shmem || !features->minor_shmem)) {
    return "userfaultfd: this kernel has no MINOR faults on shared memory; Linux 5.14 or later is "
           "needed";
  }
  return {};
}

}  // namespace godwit::app
