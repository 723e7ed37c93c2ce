#include <array>
#include <vector>

#include "godwit/base/units.h"
#include "godwit/wire/checksum.h"
#include "godwit/wire/codec.h"
#include "godwit/wire/frame.h"
#include "godwit/wire/frame_reader.h"
#include "godwit/wire/page_batch.h"

#include "bench.h"

// checksum.cc, page_batch.cc, frame.cc, frame_reader.cc.

namespace godwit::micro {
namespace {

constexpr std::uint32_t kBatch = 64;

/// XXH3 as page frames use it: fed page by page. The argument is the number of pages.
void checksum_pages(benchmark::State& state) {
  const auto bytes = random_bytes(static_cast<std::size_t>(state.range(0)) * kPageBytes, 1);
  wire::BodyHasher hasher;
  Outcome outcome(state);
  for (auto _ : state) {
    hasher.reset();
    for (std::size_t at = 0; at < bytes.size(); at += kPageBytes) {
      hasher.update(std::span(bytes).subspan(at, kPageBytes));
    }
    outcome.is(hasher.digest());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK(checksum_pages)->Arg(1)->Arg(64)->Arg(4096);

/// A prefix of 64 runs of one page, encoded and decoded; the data is never touched.
void page_batch_codec(benchmark::State& state) {
  std::vector<wire::PageBatchRun> runs;
  for (std::uint32_t i = 0; i < kBatch; ++i) {
    runs.push_back({std::uint64_t{i} * 3, 1, wire::PageKind::kData});
  }
  std::vector<std::byte> body(wire::page_prefix_bytes(kBatch) + kBatch * kPageBytes);
  Outcome outcome(state);
  for (auto _ : state) {
    const auto prefix = wire::encode_page_prefix(body, 0, wire::PagePhase::kPrecopy, runs);
    const auto view = wire::decode_page_batch(body);
    if (!view) {
      state.SkipWithError(view.error().message().c_str());
      return;
    }
    auto hash = fold(prefix, view->page_count());
    for (const auto& run : view->runs()) {
      hash = fold(hash, run.first);
    }
    outcome.is(hash);
  }
}
BENCHMARK(page_batch_codec);

/// A whole bulk frame through the reader: header and body hash verified. Its sequence number would
/// go on, so each iteration takes a reader of its own; only the parsing is timed.
void frame_read_bulk(benchmark::State& state) {
  std::vector<wire::PageBatchRun> runs{{0, kBatch, wire::PageKind::kData}};
  std::vector<std::byte> body(wire::page_prefix_bytes(runs.size()) + kBatch * kPageBytes);
  fill_random(body, 2);
  [[maybe_unused]] const auto prefix =
      wire::encode_page_prefix(body, 0, wire::PagePhase::kPrecopy, runs);
  wire::FrameWriter writer;
  const auto frame = writer.frame(wire::MessageType::kPages, body);
  Outcome outcome(state);
  wire::FrameReader reader(wire::kMaxControlBody, wire::kHeaderBytes);
  for (auto _ : state) {
    state.PauseTiming();
    reader = wire::FrameReader(wire::kMaxControlBody, wire::kHeaderBytes);
    state.ResumeTiming();
    std::uint64_t hash = 0;
    for (std::size_t at = 0; at < frame.size();) {
      const auto space = reader.space();
      const auto count = std::min(space.size(), frame.size() - at);
      std::memcpy(space.data(), frame.data() + at, count);
      at += count;
      reader.commit(count);
      const auto got = reader.next();
      if (!got) {
        state.SkipWithError(got.error().message().c_str());
        return;
      }
      if (*got) {
        hash = (*got)->header.body_hash;
      }
    }
    outcome.is(hash);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(frame.size()));
}
BENCHMARK(frame_read_bulk)->Unit(benchmark::kMicrosecond);

void page_request_codec(benchmark::State& state) {
  wire::PageRequest request;
  for (std::uint64_t i = 0; i < 4; ++i) {
    request.pages.push_back({0, i * 1000});
  }
  Outcome outcome(state);
  for (auto _ : state) {
    const auto body = wire::encode(request);
    const auto read = wire::decode_page_request(body);
    if (!read || read->pages.size() != request.pages.size()) {
      state.SkipWithError("the request came back otherwise");
      return;
    }
    outcome.is(wire::hash64(body));
  }
}
BENCHMARK(page_request_codec);

}  // namespace
}  // namespace godwit::micro
