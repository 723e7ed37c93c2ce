// The guest's configuration as a source describes it, up to the plan that a target makes of it.
#include "godwit/base/check.h"
#include "godwit/base/units.h"
#include "godwit/vmm/guest.h"

#include "fuzz_target.h"
#include "workload/workload_plan.h"

namespace godwit::fuzz {
namespace {

enum Form : std::uint8_t { kRaw, kFields };

/// A section whose fields have widths that a guest could have, so that many are valid.
engine::StateSection take_fields(Taker& in) {
  vmm::GuestConfig config;
  config.kind = static_cast<vmm::GuestKind>(in.take<std::uint8_t>());
  config.workload = static_cast<vmm::Workload>(in.take<std::uint8_t>());
  config.fill = static_cast<vmm::Fill>(in.take<std::uint8_t>());
  config.vcpus = in.take<std::uint8_t>();
  config.memory_bytes = in.take<std::uint32_t>() * (2 * kMiB);
  config.populated_bytes = in.take<std::uint32_t>() * kPageBytes;
  config.working_set_bytes = in.take<std::uint64_t>();
  config.rate_bytes_per_s = in.take<std::uint64_t>();
  config.seed = in.take<std::uint64_t>();
  config.skip_register = in.take<std::uint8_t>() != 0;
  return vmm::encode_config(config);
}

engine::StateSection take_raw(Taker& in) {
  engine::StateSection section;
  section.name = in.take<std::uint8_t>() % 8 != 0 ? vmm::kConfigSection : in.take_text(8);
  section.version = in.take<std::uint8_t>();
  section.instance = in.take<std::uint8_t>();
  section.payload.assign(in.rest().begin(), in.rest().end());
  return section;
}

void check_layout(const vmm::GuestConfig& config) {
  std::uint64_t end = 0;
  std::uint64_t pages = 0;
  for (const auto& region : vmm::region_layout(config.memory_bytes)) {
    GODWIT_CHECK(region.page_count != 0 && region.gpa % kPageBytes == 0 && region.gpa >= end);
    end = region.gpa + region.page_count * kPageBytes;
    pages += region.page_count;
  }
  GODWIT_CHECK(pages * kPageBytes == config.memory_bytes);
}

void check_plan(const vmm::GuestConfig& config) {
  constexpr std::uint64_t kCounterHz = 1'000'000'000;
  const auto plan = vmm::plan_workload(config, 0, kCounterHz);
  if (!plan) {
    return;
  }
  GODWIT_CHECK(plan->params_page < plan->blocks_page && plan->blocks_page < plan->table_page);
  GODWIT_CHECK(plan->table_page < plan->data_page && plan->data_pages != 0);
  GODWIT_CHECK(plan->first_hole() <= plan->populated_pages);
  GODWIT_CHECK(plan->populated_pages * kPageBytes == config.populated_bytes);
  GODWIT_CHECK(plan->total_pages * kPageBytes == config.memory_bytes);
}

}  // namespace

void run_guest_config(Bytes input) {
  Taker in(input);
  const auto section = in.take<std::uint8_t>() % 2 == kRaw ? take_raw(in) : take_fields(in);
  const auto config = vmm::decode_config(section);
  if (!config) {
    GODWIT_CHECK(!config.error().message().empty());
    return;
  }
  GODWIT_CHECK(vmm::validate(*config).has_value());
  // What is of an older version is written in the present one.
  const auto again = vmm::encode_config(*config);
  GODWIT_CHECK(again.version != section.version || again.payload == section.payload);
  check_layout(*config);
  check_plan(*config);
}

std::vector<Seed> guest_config_seeds() {
  vmm::GuestConfig config;
  config.kind = vmm::GuestKind::kProcess;
  config.memory_bytes = 16 * kMiB;
  config.populated_bytes = 8 * kMiB;
  config.working_set_bytes = 2 * kMiB;
  const auto payload = vmm::encode_config(config).payload;
  const auto fields = [](std::uint8_t kind, std::uint8_t workload, std::uint32_t memory_2m) {
    Giver out;
    out.give<std::uint8_t>(kFields).give(kind).give(workload).give<std::uint8_t>(1);
    out.give<std::uint8_t>(2).give(memory_2m).give<std::uint32_t>(2048);
    out.give<std::uint64_t>(2 * kMiB).give<std::uint64_t>(1 << 20).give<std::uint64_t>(1);
    return out.give<std::uint8_t>(0).done();
  };
  return {{"raw",
           Giver()
               .give<std::uint8_t>(kRaw)
               .give<std::uint8_t>(1)
               .give<std::uint8_t>(1)
               .give<std::uint8_t>(0)
               .give_bytes(payload)
               .done()},
          {"small", fields(2, 3, 8)},
          {"zipf", fields(2, 4, 64)},
          {"two regions", fields(1, 2, 2048)}};
}

}  // namespace godwit::fuzz
