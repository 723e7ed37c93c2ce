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
      28 + message.kind.size() + 16 * message.regions.size() - 4 + encoded_bytes(message.config);
  if (bytes > kMaxControlBody) {
    return unfit(fmt::format("a description of {} bytes is over {}", bytes, kMaxControlBody));
  }
  return {};
}

std::vector<std::byte> encode(const Describe& message) {
  GODWIT_CHECK(validate(message).has_value());
  ByteWriter out;
  out.put(message.mode)
      .put(static_cast<std::uint8_t>(message.prealloc))
      .put(static_cast<std::uint8_t>(message.postcopy_possible));
  out.put(std::uint8_t{0}).put(message.vcpus).put_string(message.kind, kMaxNameBytes);
  out.put_count(message.regions.size(), kMaxRegions);
  for (const auto& region : message.regions) {
    out.put(region.gpa).put(region.page_count);
  }
  out.put(message.populated_pages);
  put_sections(out, message.config);
  return out.take();
}

Result<Describe> decode_describe(std::span<const std::byte> body) {
  ByteReader in("DESCRIBE", body);
  Describe message;
  message.mode = in.get_enum("mode", Mode::kStopAndCopy);
  message.prealloc = in.get_bool("prealloc");
  message.postcopy_possible = in.get_bool("postcopy_possible");
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
  message.populated_pages = in.get<std::uint64_t>("populated_pages");
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
  ByteWriter out;
  out.put_count(message.runs.size(), kMaxStaleRuns);
  for (const auto& run : message.runs) {
    GODWIT_CHECK(valid_run(run.first, run.count));
    out.put(run.region).put(std::uint32_t{0}).put(run.first).put(run.count);
  }
  return out.take();
}

Result<Stale> decode_stale(std::span<const std::byte> body) {
  ByteReader in("STALE", body);
  Stale message;
  message.runs.resize(in.get_count("runs", 0, kMaxStaleRuns, 24));
  for (auto& run : message.runs) {
    run.region = in.get<std::uint32_t>("region");
    in.get_reserved<std::uint32_t>("reserved");
    run.first = in.get<std::uint64_t>("first");
    run.count = in.get<std::uint64_t>("count");
    if (!valid_run(run.first, run.count)) {
      in.refuse("runs", fmt::format("pages {}+{} are not legal", run.first, run.count));
    }
  }
  GODWIT_TRY(in.finish());
  return message;
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

std::vector<std::byte> encode(const BackgroundEnd& message) {
  return ByteWriter().put(message.pages).take();
}

Result<BackgroundEnd> decode_background_end(std::span<const std::byte> body) {
  ByteReader in("BACKGROUND_END", body);
  BackgroundEnd message;
  message.pages = in.get<std::uint64_t>("pages");
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const Complete& message) {
  ByteWriter out;
  return out.put_count(message.figures.size(), kMaxFiguresBytes).put_bytes(message.figures).take();
}

Result<Complete> decode_complete(std::span<const std::byte> body) {
  ByteReader in("COMPLETE", body);
  Complete message;
  const auto figures = in.get_bytes(in.get_count("figures", 0, kMaxFiguresBytes, 1), "figures");
  message.figures.assign(figures.begin(), figures.end());
  GODWIT_TRY(in.finish());
  return message;
}

}  // namespace godwit::wire
