// The messages that speak of the machine: its description, its state and its pages.
#include "godwit/wire/codec.h"

#include <algorithm>
#include <string>
#include <utility>

#include "godwit/wire/checksum.h"

#include "bytes.h"

namespace godwit::wire {
namespace {

// name count, instance, version, required + reserved, payload count, hash
constexpr std::size_t kSectionBytes = 4 + 4 + 4 + 4 + 4 + 8;

bool valid_name(const std::string& name) {
  return name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), printable);
}

std::size_t encoded_bytes(const std::vector<Section>& sections) {
  std::size_t bytes = 4;
  for (const auto& section : sections) {
    bytes += kSectionBytes + section.name.size() + section.payload.size();
  }
  return bytes;
}

tl::unexpected<Error> unfit(std::string detail) {
  return fail(ErrorCode::kInvalidArgument, "encode", std::move(detail));
}

Status validate_sections(const std::vector<Section>& sections) {
  if (sections.size() > kMaxSections) {
    return unfit(fmt::format("{} sections are over {}", sections.size(), kMaxSections));
  }
  for (const auto& section : sections) {
    if (section.name.empty() || !valid_name(section.name)) {
      return unfit(fmt::format("a section name of {} bytes is empty, over {} or not printable",
                               section.name.size(),
                               kMaxNameBytes));
    }
  }
  return {};
}

void put_sections(ByteWriter& out, const std::vector<Section>& sections) {
  out.put_count(sections.size(), kMaxSections);
  for (const auto& section : sections) {
    const std::size_t start = out.size();
    out.put_string(section.name, kMaxNameBytes).put(section.instance).put(section.version);
    out.put(static_cast<std::uint32_t>(section.required ? 1 : 0));
    out.put_count(section.payload.size(), kMaxStateBody).put_bytes(section.payload);
    out.put(hash64(out.from(start)));
  }
}

std::vector<Section> get_sections(ByteReader& in) {
  std::vector<Section> sections(in.get_count("sections", 0, kMaxSections, kSectionBytes + 1));
  for (auto& section : sections) {
    const auto start = in.rest();
    section.name = in.get_string("section name", 1, kMaxNameBytes);
    section.instance = in.get<std::uint32_t>("section instance");
    section.version = in.get<std::uint32_t>("section version");
    section.required = in.get_bool("section required");
    in.get_reserved<std::uint8_t>("section reserved");
    in.get_reserved<std::uint16_t>("section reserved");
    const auto payload =
        in.get_bytes(in.get_count("section payload", 0, kMaxStateBody, 1), "section payload");
    section.payload.assign(payload.begin(), payload.end());
    if (!in.ok()) {
      break;
    }
    const auto covered = start.first(start.size() - in.rest().size());
    if (in.get<std::uint64_t>("section hash") != hash64(covered)) {
      in.refuse("section hash",
                fmt::format("section {} instance {} is damaged", section.name, section.instance),
                ErrorCode::kChecksum);
    }
  }
  return sections;
}

bool valid_region(const RegionInfo& region) {
  const std::uint64_t first = region.gpa >> kPageShift;
  return region.gpa % kPageBytes == 0 && region.page_count > 0 &&
         region.page_count <= kMaxPageIndex - first;
}

bool valid_run(std::uint64_t first, std::uint64_t count) {
  return count > 0 && first < kMaxPageIndex && count <= kMaxPageIndex - first;
}

std::vector<std::byte> encode_runs(const std::vector<PageRun>& runs) {
  ByteWriter out;
  out.put_count(runs.size(), kMaxStaleRuns);
  for (const auto& run : runs) {
    GODWIT_CHECK(valid_run(run.first, run.count));
    out.put(run.region).put(std::uint32_t{0}).put(run.first).put(run.count);
  }
  return out.take();
}

Result<std::vector<PageRun>> decode_runs(std::string_view name, std::span<const std::byte> body) {
  ByteReader in(name, body);
  std::vector<PageRun> runs(in.get_count("runs", 0, kMaxStaleRuns, 24));
  for (auto& run : runs) {
    run.region = in.get<std::uint32_t>("region");
    in.get_reserved<std::uint32_t>("reserved");
    run.first = in.get<std::uint64_t>("first");
    run.count = in.get<std::uint64_t>("count");
    if (!valid_run(run.first, run.count)) {
      in.refuse("runs", fmt::format("pages {}+{} are not legal", run.first, run.count));
    }
  }
  GODWIT_TRY(in.finish());
  return runs;
}

}  // namespace

Status validate(const State& message) {
  GODWIT_TRY(validate_sections(message.sections));
  if (const auto bytes = encoded_bytes(message.sections); bytes > kMaxStateBody) {
    return unfit(fmt::format("machine state of {} bytes is over {}", bytes, kMaxStateBody));
  }
  return {};
}

Status validate(const Describe& message) {
  GODWIT_TRY(validate_sections(message.config));
  if (!valid_name(message.kind)) {
    return unfit("the machine's kind is too long or not printable");
  }
  if (message.bulk_channels == 0 || message.bulk_channels > kMaxBulkChannels) {
    return unfit(
        fmt::format("{} bulk channels are outside 1-{}", message.bulk_channels, kMaxBulkChannels));
  }
  if (message.regions.empty() || message.regions.size() > kMaxRegions) {
    return unfit(
        fmt::format("{} memory regions are outside 1-{}", message.regions.size(), kMaxRegions));
  }
  for (const auto& region : message.regions) {
    if (!valid_region(region)) {
      return unfit(
          fmt::format("a region at {:#x} of {} pages is not legal", region.gpa, region.page_count));
    }
  }
  const auto bytes =
      16 + message.kind.size() + 16 * message.regions.size() + encoded_bytes(message.config);
  if (bytes > kMaxControlBody) {
    return unfit(fmt::format("a description of {} bytes is over {}", bytes, kMaxControlBody));
  }
  return {};
}

std::vector<std::byte> encode(const Describe& message) {
  GODWIT_CHECK(validate(message).has_value());
  ByteWriter out;
  out.put(std::uint8_t{message.prealloc}).put(std::uint8_t{message.postcopy_possible});
  out.put(message.bulk_channels).put(std::uint8_t{0}).put(message.vcpus);
  out.put_string(message.kind, kMaxNameBytes);
  out.put_count(message.regions.size(), kMaxRegions);
  for (const auto& region : message.regions) {
    out.put(region.gpa).put(region.page_count);
  }
  put_sections(out, message.config);
  return out.take();
}

Result<Describe> decode_describe(std::span<const std::byte> body) {
  ByteReader in("DESCRIBE", body);
  Describe message;
  message.prealloc = in.get_bool("prealloc");
  message.postcopy_possible = in.get_bool("postcopy_possible");
  message.bulk_channels = in.get<std::uint8_t>("bulk_channels");
  if (message.bulk_channels == 0 || message.bulk_channels > kMaxBulkChannels) {
    in.refuse("bulk_channels",
              fmt::format("{} is outside 1-{}", message.bulk_channels, kMaxBulkChannels));
  }
  in.get_reserved<std::uint8_t>("reserved");
  message.vcpus = in.get<std::uint32_t>("vcpus");
  message.kind = in.get_string("kind", 0, kMaxNameBytes);
  message.regions.resize(in.get_count("regions", 1, kMaxRegions, 16));
  for (auto& region : message.regions) {
    region.gpa = in.get<std::uint64_t>("gpa");
    region.page_count = in.get<std::uint64_t>("page_count");
    if (!valid_region(region)) {
      in.refuse("regions",
                fmt::format("{:#x} with {} pages is not legal", region.gpa, region.page_count));
    }
  }
  message.config = get_sections(in);
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const State& message) {
  GODWIT_CHECK(validate(message).has_value());
  ByteWriter out;
  put_sections(out, message.sections);
  return out.take();
}

Result<State> decode_state(std::span<const std::byte> body) {
  ByteReader in("STATE", body);
  State message;
  message.sections = get_sections(in);
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const Stale& message) {
  return encode_runs(message.runs);
}

Result<Stale> decode_stale(std::span<const std::byte> body) {
  GODWIT_TRY_ASSIGN(auto runs, decode_runs("STALE", body));
  return Stale{std::move(runs)};
}

std::vector<std::byte> encode(const Missing& message) {
  return encode_runs(message.runs);
}

Result<Missing> decode_missing(std::span<const std::byte> body) {
  GODWIT_TRY_ASSIGN(auto runs, decode_runs("MISSING", body));
  return Missing{std::move(runs)};
}

std::vector<std::byte> encode(const PageRequest& message) {
  GODWIT_CHECK(!message.pages.empty());
  ByteWriter out;
  out.put_count(message.pages.size(), kMaxRequestPages);
  for (const auto& page : message.pages) {
    GODWIT_CHECK(page.index < kMaxPageIndex);
    out.put(page.region).put(std::uint32_t{0}).put(page.index);
  }
  return out.take();
}

Result<PageRequest> decode_page_request(std::span<const std::byte> body) {
  ByteReader in("PAGE_REQUEST", body);
  PageRequest message;
  message.pages.resize(in.get_count("pages", 1, kMaxRequestPages, 16));
  for (auto& page : message.pages) {
    page.region = in.get<std::uint32_t>("region");
    in.get_reserved<std::uint32_t>("reserved");
    page.index = in.get<std::uint64_t>("index");
    if (page.index >= kMaxPageIndex) {
      in.refuse("index", fmt::format("page {} is beyond any region", page.index));
    }
  }
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const Barrier& message) {
  return ByteWriter().put(message.id).take();
}

Result<Barrier> decode_barrier(std::span<const std::byte> body) {
  ByteReader in("BARRIER", body);
  Barrier message;
  message.id = in.get<std::uint64_t>("id");
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const BarrierAck& message) {
  return ByteWriter().put(message.id).take();
}

Result<BarrierAck> decode_barrier_ack(std::span<const std::byte> body) {
  ByteReader in("BARRIER_ACK", body);
  BarrierAck message;
  message.id = in.get<std::uint64_t>("id");
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const FinalSync& message) {
  return ByteWriter().put(message.pending_pages).put(message.pending_hash).take();
}

Result<FinalSync> decode_final_sync(std::span<const std::byte> body) {
  ByteReader in("FINAL_SYNC", body);
  FinalSync message;
  message.pending_pages = in.get<std::uint64_t>("pending_pages");
  message.pending_hash = in.get<std::uint64_t>("pending_hash");
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const MissingEnd& message) {
  return ByteWriter().put(message.pages).put(message.hash).take();
}

Result<MissingEnd> decode_missing_end(std::span<const std::byte> body) {
  ByteReader in("MISSING_END", body);
  MissingEnd message;
  message.pages = in.get<std::uint64_t>("pages");
  message.hash = in.get<std::uint64_t>("hash");
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const Complete& message) {
  GODWIT_CHECK(valid_name(message.boot_id));
  ByteWriter out;
  out.put(kFiguresVersion).put(std::uint8_t{message.scheduling_degraded}).put(std::uint8_t{0});
  out.put(message.installed).put(message.retracted).put(message.retracted_at_switch);
  out.put(message.cpu_ns).put(message.first_run_ns).put(message.run_ended_ns);
  out.put(message.fault_max_ns).put_string(message.boot_id, kMaxNameBytes);
  out.put_count(message.fault_buckets.size(), kMaxFaultBuckets);
  for (const auto& bucket : message.fault_buckets) {
    GODWIT_CHECK(bucket.number < kMaxFaultBuckets && bucket.count != 0);
    out.put(bucket.number).put(std::uint32_t{0}).put(bucket.count);
  }
  return out.take();
}

Result<Complete> decode_complete(std::span<const std::byte> body) {
  ByteReader in("COMPLETE", body);
  Complete message;
  if (const auto version = in.get<std::uint16_t>("version"); version != kFiguresVersion) {
    in.refuse("version", fmt::format("{} is not {}", version, kFiguresVersion));
  }
  message.scheduling_degraded = in.get_bool("scheduling_degraded");
  in.get_reserved<std::uint8_t>("reserved");
  message.installed = in.get<std::uint64_t>("installed");
  message.retracted = in.get<std::uint64_t>("retracted");
  message.retracted_at_switch = in.get<std::uint64_t>("retracted_at_switch");
  message.cpu_ns = in.get<std::uint64_t>("cpu_ns");
  message.first_run_ns = in.get<std::uint64_t>("first_run_ns");
  message.run_ended_ns = in.get<std::uint64_t>("run_ended_ns");
  message.fault_max_ns = in.get<std::uint64_t>("fault_max_ns");
  message.boot_id = in.get_string("boot_id", 0, kMaxNameBytes);
  message.fault_buckets.resize(in.get_count("fault_buckets", 0, kMaxFaultBuckets, 16));
  std::uint32_t least = 0;  // the lowest number that may come next
  for (auto& bucket : message.fault_buckets) {
    bucket.number = in.get<std::uint32_t>("bucket number");
    in.get_reserved<std::uint32_t>("reserved");
    bucket.count = in.get<std::uint64_t>("bucket count");
    if (bucket.number < least || bucket.number >= kMaxFaultBuckets || bucket.count == 0) {
      in.refuse("fault_buckets",
                fmt::format("bucket {} with {} is not legal", bucket.number, bucket.count));
    }
    least = bucket.number + 1;
  }
  GODWIT_TRY(in.finish());
  return message;
}

}  // namespace godwit::wire
