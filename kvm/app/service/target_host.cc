#include "service/target_host.h"

#include <utility>

#include <fmt/format.h>

#include "godwit/base/check.h"
#include "godwit/base/log.h"
#include "godwit/kvm/system.h"
#include "godwit/uffd/target_parts.h"

#include "cli/units_text.h"
#include "demo/planted.h"
#include "host/capabilities.h"
#include "host/huge_pages.h"
#include "host/memory.h"

namespace godwit::app {
namespace {

/// What the receiving process needs besides the guest: buffers of the channels, page states, its
/// own code.
constexpr std::uint64_t kProcessBytes = 64 * kMiB;
/// What a page with content takes beyond itself: 8 bytes in the page table of each of the two
/// mappings, in that of the guest, and in KVM's own books of it and of who maps it. A page without
/// content takes none: it has no entry.
constexpr std::uint64_t kTableBytesPage = 40;

tl::unexpected<Error> refuse(std::string why) {
  return fail(ErrorCode::kRefused, "target", std::move(why));
}

Result<vmm::GuestConfig> find_config(const engine::MachineDescription& description) {
  const auto wanted = vmm::encode_config({}).name;
  for (const auto& section : description.config) {
    if (section.name == wanted) {
      auto config = vmm::decode_config(section);
      if (!config) {
        return refuse(config.error().message());
      }
      return config;
    }
    if (section.required) {
      return refuse(fmt::format("the section '{}' is required and unknown here", section.name));
    }
  }
  return refuse("the description has no guest configuration");
}

Status check_layout(const engine::MachineDescription& description, const vmm::GuestConfig& config) {
  const auto regions = vmm::region_layout(config.memory_bytes);
  bool same = regions.size() == description.regions.size();
  for (std::size_t i = 0; same && i < regions.size(); ++i) {
    same = regions[i].gpa == description.regions[i].gpa &&
           regions[i].page_count == description.regions[i].page_count;
  }
  if (!same) {
    return refuse("the memory layout is not that of this machine's version");
  }
  if (description.vcpus != config.vcpus || description.kind != vmm::kind_name(config.kind)) {
    return refuse("the description contradicts its guest configuration");
  }
  return {};
}

/// After COMMIT a failing allocation would lose the guest: so the memory is counted before.
Status check_memory(const vmm::GuestConfig& config, bool prealloc) {
  const bool huge_pages = config.backing == vmm::Backing::kHugetlb;
  if (huge_pages) {
    if (const auto enough = check_huge_pages(config.memory_bytes, "the guest needs"); !enough) {
      return refuse(enough.error().message());
    }
  }
  // Huge pages are in their pool already, and no part of what is available otherwise.
  const auto populated = prealloc ? config.memory_bytes : config.populated_bytes;
  const auto guest = huge_pages ? 0 : populated;
  const auto needed = guest + populated / kPageBytes * kTableBytesPage + kProcessBytes;
  if (const auto available = available_memory(); available < needed) {
    return refuse(fmt::format(
        "the guest needs {}, only {} of memory are available here (host and cgroup limits)",
        size_text(needed),
        size_text(available)));
  }
  // Two mappings, and the page states: a byte a page.
  const auto space = 2 * config.memory_bytes + config.memory_bytes / kPageBytes + kProcessBytes;
  if (const auto available = available_address_space(); available < space) {
    return refuse(fmt::format("the guest needs {} of address space, RLIMIT_AS leaves {}",
                              size_text(space),
                              size_text(available)));
  }
  return {};
}

Status check_kind(const vmm::GuestConfig& config) {
  if (config.kind == vmm::GuestKind::kKvm) {
    if (const auto reason = kvm::unusable_reason(); !reason.empty()) {
      return refuse(fmt::format("a KVM guest cannot run here: {}", reason));
    }
  }
  return {};
}

}  // namespace

Result<engine::TargetHost::Machine> TargetHost::create(
    const engine::MachineDescription& description, const Options& options) {
  GODWIT_TRY_ASSIGN(auto config, find_config(description));
  config.backing = limits_.backing.value_or(config.backing);
  GODWIT_TRY(check_layout(description, config));
  GODWIT_TRY(check_kind(config));
  if (limits_.memory_cap && config.memory_bytes > *limits_.memory_cap) {
    return refuse(fmt::format("the guest has {} of memory, --memory allows {}",
                              size_text(config.memory_bytes),
                              size_text(*limits_.memory_cap)));
  }
  if (options.postcopy) {
    if (const auto reason = uffd_unusable_reason(config.kind, config.backing); !reason.empty()) {
      return refuse(
          fmt::format("this host cannot serve page faults, so it takes no hybrid or "
                      "post-copy migration: {}; use --mode precopy",
                      reason));
    }
  }
  GODWIT_TRY(check_memory(config, options.prealloc));
  config.skip_register = limits_.skip_register;

  auto guest = vmm::make_guest(config,
                               vmm::MemoryOptions{.with_alias = true,
                                                  .register_in_background = options.postcopy,
                                                  .in_core_dumps = limits_.in_core_dumps});
  if (!guest) {
    return refuse(guest.error().message());
  }
  auto parts = uffd::make_target_parts((*guest)->memory(),
                                       {.postcopy = options.postcopy,
                                        .prealloc = options.prealloc,
                                        .process_guest = config.kind == vmm::GuestKind::kProcess});
  if (!parts) {
    return refuse(parts.error().message());
  }
  if (parts->prealloc_left_out) {
    log_warn(
        "--prealloc populates nothing: a page of anonymous memory that is there cannot be waited "
        "for; use --backing memfd, or --mode precopy");
  }
  log_info("accepted a {} guest of {} on {} memory",
           vmm::kind_name(config.kind),
           size_text(config.memory_bytes),
           vmm::backing_name(config.backing));
  made_ = guest->get();
  Machine machine;
  machine.guest = std::move(*guest);
  machine.placer = limits_.drop_page ? drop_page(std::move(parts->placer), *limits_.drop_page)
                                     : std::move(parts->placer);
  machine.faults = std::move(parts->faults);
  machine.prealloc_ns = parts->prealloc_ns;
  return machine;
}

std::unique_ptr<vmm::Guest> TargetHost::own(std::unique_ptr<engine::TargetGuest> guest) const {
  GODWIT_CHECK(guest.get() == made_);
  static_cast<void>(guest.release());
  return std::unique_ptr<vmm::Guest>(made_);
}

}  // namespace godwit::app
