// Bodies of PAGES. Their length must agree with their counts to the byte, so the input gives header
// and runs, and the data is added here.
#include "godwit/wire/page_batch.h"

#include <algorithm>

#include "godwit/base/check.h"

#include "check_message.h"
#include "fuzz_target.h"
#include "support/golden_frames.h"

namespace godwit::fuzz {
namespace {

using wire::PageBatchHeader;
using wire::PageBatchRunWire;

enum Form : std::uint8_t { kRaw, kGivenCounts, kMatchingCounts };

std::vector<std::byte> make_body(Taker& in, bool matching) {
  PageBatchHeader header;
  const auto fields = in.take_bytes(sizeof header);
  std::copy(fields.begin(), fields.end(), reinterpret_cast<std::byte*>(&header));
  std::vector<PageBatchRunWire> runs(in.rest().size() / sizeof(PageBatchRunWire));
  std::uint64_t data_pages = 0;
  for (auto& run : runs) {
    std::memcpy(&run, in.take_bytes(sizeof run).data(), sizeof run);
    data_pages += run.kind == wire::PageKind::kData ? run.count : 0;
  }
  if (matching) {
    header.run_count = static_cast<std::uint32_t>(runs.size());
    header.data_pages = static_cast<std::uint32_t>(data_pages);
  }
  const auto pages = std::min(header.data_pages, wire::kMaxBatchPages + 1);
  std::vector<std::byte> body(wire::page_prefix_bytes(runs.size()) + pages * kPageBytes);
  std::memcpy(body.data(), &header, sizeof header);
  if (!runs.empty()) {
    std::memcpy(body.data() + sizeof header, runs.data(), runs.size() * sizeof runs[0]);
  }
  return body;
}

void check_view(const wire::PageBatchView& view, Bytes body) {
  const auto runs = view.runs();
  GODWIT_CHECK(!runs.empty() && runs.size() <= wire::kMaxBatchRuns);
  const auto* expected = body.data() + wire::page_prefix_bytes(runs.size());
  std::uint64_t pages = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto& run = runs[i];
    pages += run.count;
    GODWIT_CHECK(run.count != 0 && run.first + run.count <= wire::kMaxPageIndex);
    for (std::size_t j = 0; j < i; ++j) {
      const auto& other = runs[j];
      GODWIT_CHECK(run.first + run.count <= other.first || other.first + other.count <= run.first);
    }
    if (run.kind == wire::PageKind::kData) {
      GODWIT_CHECK(view.data(i) == expected);
      expected += run.count * kPageBytes;
    } else {
      GODWIT_CHECK(view.data(i) == nullptr);
    }
  }
  GODWIT_CHECK(expected == body.data() + body.size());
  GODWIT_CHECK(view.page_count() == pages && view.data_pages() <= wire::kMaxBatchPages);
}

}  // namespace

void run_page_batch(Bytes input) {
  Taker in(input);
  const auto form = in.take<std::uint8_t>() % 3;
  std::vector<std::byte> made;
  if (form != kRaw) {
    made = make_body(in, form == kMatchingCounts);
  }
  const auto body = form == kRaw ? in.rest() : Bytes(made);
  if (const auto view = wire::decode_page_batch(body)) {
    check_view(*view, body);
  }
  check_message(wire::MessageType::kPages, body);
}

std::vector<Seed> page_batch_seeds() {
  std::vector<Seed> seeds;
  for (const auto& frame : wire::golden_frames()) {
    if (frame.type != wire::MessageType::kPages) {
      continue;
    }
    const auto body = Bytes(frame.bytes).subspan(wire::kHeaderBytes);
    PageBatchHeader header;
    std::memcpy(&header, body.data(), sizeof header);
    const auto told = body.first(sizeof header + header.run_count * sizeof(PageBatchRunWire));
    if (frame.bytes.size() < 4096) {
      seeds.push_back({frame.name, Giver().give<std::uint8_t>(kRaw).give_bytes(body).done()});
    }
    seeds.push_back({frame.name + " matching",
                     Giver().give<std::uint8_t>(kMatchingCounts).give_bytes(told).done()});
    seeds.push_back(
        {frame.name + " given", Giver().give<std::uint8_t>(kGivenCounts).give_bytes(told).done()});
  }
  return seeds;
}

}  // namespace godwit::fuzz
