#include "godwit/wire/page_batch.h"

#include <algorithm>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "godwit/base/check.h"

#include "page_names.h"

namespace godwit::wire {
namespace {

template <typename... Args>
tl::unexpected<Error> bad(fmt::format_string<Args...> format, Args&&... args) {
  return fail(ErrorCode::kProtocol, "PAGES body", fmt::format(format, std::forward<Args>(args)...));
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

std::uint64_t end_of(const PageBatchRun& run) {
  return run.first + run.count;
}

// Senders mostly emit ascending runs, which are seen to be disjoint in one pass; only the order of
// recent faults or of heat needs the comparison of all pairs, at most 2016.
bool disjoint(std::span<const PageBatchRun> runs) {
  bool ascending = true;
  for (std::size_t i = 1; i < runs.size(); ++i) {
    ascending = ascending && end_of(runs[i - 1]) <= runs[i].first;
  }
  if (ascending) {
    return true;
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    for (std::size_t j = i + 1; j < runs.size(); ++j) {
      if (runs[i].first < end_of(runs[j]) && runs[j].first < end_of(runs[i])) {
        return false;
      }
    }
  }
  return true;
}

Result<PageBatchRun> decode_run(const std::byte* at, std::size_t i) {
  PageBatchRunWire wire;
  std::memcpy(&wire, at, sizeof(wire));
  if (!all_zero(std::as_bytes(std::span(wire.reserved)))) {
    return bad("run {}: reserved bytes are not zero", i);
  }
  if (wire.kind != PageKind::kData && wire.kind != PageKind::kZero) {
    return bad("run {}: unknown kind {}", i, static_cast<unsigned>(wire.kind));
  }
  if (wire.count == 0) {
    return bad("run {}: empty", i);
  }
  if (wire.first >= kMaxPageIndex || wire.count > kMaxPageIndex - wire.first) {
    return bad("run {}: pages {}+{} are beyond any region", i, wire.first, wire.count);
  }
  return PageBatchRun{wire.first, wire.count, wire.kind};
}

}  // namespace

std::uint64_t PageBatchView::page_count() const {
  std::uint64_t sum = 0;
  for (const auto& run : runs()) {
    sum += run.count;
  }
  return sum;
}

Result<PageBatchView> decode_page_batch(std::span<const std::byte> body,
                                        std::span<const std::byte> placed) {
  PageBatchHeader header;
  if (body.size() < sizeof(header)) {
    return bad("{} bytes are too few", body.size());
  }
  std::memcpy(&header, body.data(), sizeof(header));
  if (!all_zero(std::as_bytes(std::span(header.reserved)))) {
    return bad("reserved bytes are not zero");
  }
  if (header.phase < PagePhase::kPrecopy || header.phase > PagePhase::kBackground) {
    return bad("unknown phase {}", static_cast<unsigned>(header.phase));
  }
  if (header.run_count == 0 || header.run_count > kMaxBatchRuns) {
    return bad("{} runs are outside 1-{}", header.run_count, kMaxBatchRuns);
  }
  if (header.data_pages > kMaxBatchPages) {
    return bad("{} data pages are over {}", header.data_pages, kMaxBatchPages);
  }
  const std::size_t prefix = page_prefix_bytes(header.run_count);
  const std::size_t length = prefix + header.data_pages * kPageBytes;
  if (body.size() + placed.size() != length || (!placed.empty() && body.size() != prefix)) {
    return bad("{} bytes where its counts say {}", body.size() + placed.size(), length);
  }

  PageBatchView view;
  view.region_ = header.region;
  view.phase_ = header.phase;
  view.run_count_ = header.run_count;
  view.data_pages_ = header.data_pages;
  view.data_ = placed.empty() ? body.data() + prefix : placed.data();
  std::uint64_t data_pages = 0;
  for (std::size_t i = 0; i < header.run_count; ++i) {
    const std::byte* at = body.data() + sizeof(header) + i * sizeof(PageBatchRunWire);
    GODWIT_TRY_ASSIGN(view.runs_[i], decode_run(at, i));
    view.data_offset_[i] = static_cast<std::uint32_t>(data_pages << kPageShift);
    if (view.runs_[i].kind == PageKind::kData) {
      data_pages += view.runs_[i].count;
      if (data_pages > header.data_pages) {
        return bad("run {}: more data pages than the {} announced", i, header.data_pages);
      }
    }
  }
  if (data_pages != header.data_pages) {
    return bad("{} data pages in its runs, {} announced", data_pages, header.data_pages);
  }
  const std::size_t used = sizeof(header) + header.run_count * sizeof(PageBatchRunWire);
  if (!all_zero(body.subspan(used, prefix - used))) {
    return bad("padding is not zero");
  }
  if (!disjoint(view.runs())) {
    return bad("a page occurs twice");
  }
  return view;
}

std::optional<SingleRun> single_run_of(std::span<const std::byte> prefix) {
  PageBatchHeader header;
  if (prefix.size() < sizeof header + sizeof(PageBatchRunWire)) {
    return std::nullopt;
  }
  std::memcpy(&header, prefix.data(), sizeof header);
  const auto run = decode_run(prefix.data() + sizeof header, 0);
  if (!run || header.run_count != 1 || run->kind != PageKind::kData ||
      run->count != header.data_pages) {
    return std::nullopt;
  }
  return SingleRun{header.region, header.phase, *run};
}

std::size_t encode_page_prefix(std::span<std::byte> out,
                               RegionIndex region,
                               PagePhase phase,
                               std::span<const PageBatchRun> runs) {
  GODWIT_CHECK(!runs.empty() && runs.size() <= kMaxBatchRuns);
  const std::size_t prefix = page_prefix_bytes(runs.size());
  GODWIT_CHECK(out.size() >= prefix);
  PageBatchHeader header;
  header.region = region;
  header.phase = phase;
  header.run_count = static_cast<std::uint32_t>(runs.size());
  std::byte* at = out.data() + sizeof(header);
  for (const auto& run : runs) {
    GODWIT_CHECK(run.count > 0 && run.first < kMaxPageIndex &&
                 run.count <= kMaxPageIndex - run.first);
    if (run.kind == PageKind::kData) {
      GODWIT_CHECK(run.count <= kMaxBatchPages - header.data_pages);
      header.data_pages += run.count;
    }
    PageBatchRunWire wire;
    wire.first = run.first;
    wire.count = run.count;
    wire.kind = run.kind;
    std::memcpy(at, &wire, sizeof(wire));
    at += sizeof(wire);
  }
  std::memcpy(out.data(), &header, sizeof(header));
  std::memset(at, 0, static_cast<std::size_t>(out.data() + prefix - at));
  return prefix;
}

std::string describe_pages(std::span<const std::byte> body, std::span<const std::byte> rest) {
  constexpr std::size_t kNamedRuns = 4;
  const auto batch = decode_page_batch(body, rest);
  if (!batch) {
    return "pages unknown (" + batch.error().detail + ")";
  }
  std::string text = fmt::format("region {} pages ", batch->region());
  const auto runs = batch->runs();
  std::size_t named = 0;
  for (std::size_t i = 0; i < runs.size();) {
    // Runs that continue one another (data, zero, data) are one range to a reader.
    const std::uint64_t first = runs[i].first;
    std::uint64_t end = end_of(runs[i]);
    for (++i; i < runs.size() && runs[i].first == end; ++i) {
      end = end_of(runs[i]);
    }
    if (named == kNamedRuns) {
      return text + " and more";
    }
    text += named++ == 0 ? "" : ", ";
    text += end - first == 1 ? fmt::format("{}", first) : fmt::format("{}-{}", first, end - 1);
  }
  return text;
}

}  // namespace godwit::wire
