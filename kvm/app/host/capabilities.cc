#include "host/capabilities.h"

#include <fmt/format.h>

#include "godwit/kvm/system.h"
#include "godwit/net/ring_loop.h"
#include "godwit/uffd/uffd.h"

namespace godwit::app {

Result<vmm::GuestKind> resolve_kind(GuestChoice choice, std::string& note) {
  if (choice == GuestChoice::kProcess) {
    return vmm::GuestKind::kProcess;
  }
  const auto reason = kvm::unusable_reason();
  if (reason.empty()) {
    if (choice == GuestChoice::kAuto) {
      note = "guest: kvm (chosen by --guest auto)";
    }
    return vmm::GuestKind::kKvm;
  }
  if (choice == GuestChoice::kKvm) {
    return fail(ErrorCode::kUnsupported, "--guest kvm", reason);
  }
  note = fmt::format("guest: process (chosen by --guest auto; KVM is not usable: {})", reason);
  return vmm::GuestKind::kProcess;
}

Result<net::LoopKind> resolve_transport(TransportChoice choice, std::string& note) {
  if (choice == TransportChoice::kPoll) {
    return net::LoopKind::kPoll;
  }
  const auto usable = net::probe_uring();
  if (usable) {
    return net::LoopKind::kUring;
  }
  if (choice == TransportChoice::kUring) {
    return fail(usable.error());
  }
  note = fmt::format("transport: poll (chosen by --transport auto; io_uring is not usable: {})",
                     usable.error().message());
  return net::LoopKind::kPoll;
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
