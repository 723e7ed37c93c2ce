// Every committed input through its target, in every build: no fuzzer is needed to keep what one
// once found.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "fuzz_target.h"

namespace godwit::fuzz {

/// How GoogleTest names a parameter: not by its bytes, which hold addresses.
void PrintTo(const Target& target, std::ostream* out);   // NOLINT(readability-identifier-naming)
void PrintTo(const Target& target, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << target.name;
}

namespace {

namespace fs = std::filesystem;

fs::path directory_of(const Target& target) {
  return fs::path(GODWIT_FUZZ_CORPUS) / target.name;
}

std::vector<std::byte> read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  return Giver().give_text(text).done();
}

/// "seed-two-lines": seeds are told from what fuzzing added.
std::string file_name(const Seed& seed) {
  auto name = "seed-" + seed.name;
  for (auto& c : name) {
    c = c == ' ' || c == '/' ? '-' : c;
  }
  return name;
}

class Corpus : public testing::TestWithParam<Target> {};

TEST_P(Corpus, RunsThroughItsTarget) {
  const auto& target = GetParam();
  ASSERT_TRUE(fs::is_directory(directory_of(target))) << "no corpus";
  std::size_t inputs = 0;
  for (const auto& entry : fs::directory_iterator(directory_of(target))) {
    // Named before it runs: a broken promise ends the process.
    fmt::print("{}\n", entry.path().filename().string());
    std::fflush(stdout);
    target.run(read_file(entry.path()));
    ++inputs;
  }
  target.run({});
  EXPECT_GE(inputs, target.seeds().size());
}

// Seeds are made by the encoders, so a change of the format shows here. To write them anew:
// GODWIT_WRITE_CORPUS=1 build/release/tests/fuzz_corpus_test
TEST_P(Corpus, HasTheSeedsThatTheEncodersMake) {
  const auto& target = GetParam();
  const bool write = std::getenv("GODWIT_WRITE_CORPUS") != nullptr;
  for (const auto& seed : target.seeds()) {
    const auto path = directory_of(target) / file_name(seed);
    if (write) {
      fs::create_directories(path.parent_path());
      std::ofstream(path, std::ios::binary)
          .write(reinterpret_cast<const char*>(seed.bytes.data()),
                 static_cast<std::streamsize>(seed.bytes.size()));
    }
    EXPECT_EQ(read_file(path), seed.bytes) << path << " is not what the encoder makes";
  }
}

INSTANTIATE_TEST_SUITE_P(Fuzz,
                         Corpus,
                         testing::ValuesIn(targets().begin(), targets().end()),
                         [](const auto& given) { return std::string(given.param.name); });

}  // namespace
}  // namespace godwit::fuzz
