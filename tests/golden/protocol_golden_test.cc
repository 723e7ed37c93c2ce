// docs/protocol.md is normative: its hex examples are compared with what the encoder makes, byte by
// byte, and are decoded back. An example is a fenced block whose first line is ```hex NAME. Inside
// it stand pairs of hex digits, `xx*N` for N times the byte xx, and comments from # to the end of
// the line.
#include <cctype>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "godwit/wire/codec.h"
#include "godwit/wire/frame.h"
#include "godwit/wire/frame_reader.h"

#include "support/golden_frames.h"

namespace godwit::wire {
namespace {

using Bytes = std::vector<std::byte>;

std::optional<Bytes> parse_hex_line(const std::string& line) {
  Bytes bytes;
  std::istringstream words(line.substr(0, line.find('#')));
  for (std::string word; words >> word;) {
    if (word.size() < 2 || std::isxdigit(static_cast<unsigned char>(word[0])) == 0 ||
        std::isxdigit(static_cast<unsigned char>(word[1])) == 0 ||
        (word.size() > 2 && word[2] != '*')) {
      return std::nullopt;
    }
    const auto value = static_cast<std::byte>(std::stoul(word.substr(0, 2), nullptr, 16));
    bytes.insert(bytes.end(), word.size() > 2 ? std::stoul(word.substr(3)) : 1, value);
  }
  return bytes;
}

std::map<std::string, Bytes> read_examples() {
  const std::string fence = "```hex ";
  std::map<std::string, Bytes> examples;
  std::ifstream file(GODWIT_PROTOCOL_MD);
  EXPECT_TRUE(file.is_open()) << GODWIT_PROTOCOL_MD;
  std::string name;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.rfind(fence, 0) == 0) {
      name = line.substr(fence.size());
      EXPECT_TRUE(examples.emplace(name, Bytes()).second) << "two examples " << name;
    } else if (line.rfind("```", 0) == 0) {
      name.clear();
    } else if (!name.empty()) {
      const auto bytes = parse_hex_line(line);
      EXPECT_TRUE(bytes.has_value()) << "line " << number << ": " << line;
      if (bytes) {
        examples[name].insert(examples[name].end(), bytes->begin(), bytes->end());
      }
    }
  }
  return examples;
}

/// The bytes as the document writes them, eight a line, so that a failure shows what to paste.
std::string as_hex(const Bytes& bytes) {
  std::string text;
  std::size_t column = 0;
  for (std::size_t i = 0; i < bytes.size();) {
    std::size_t same = 1;
    while (i + same < bytes.size() && bytes[i + same] == bytes[i]) {
      ++same;
    }
    const auto value = static_cast<unsigned>(bytes[i]);
    if (same >= 64) {
      text += fmt::format("{}{:02x}*{}\n", column == 0 ? "" : "\n", value, same);
      column = 0;
      i += same;
    } else {
      text += fmt::format("{:02x}", value);
      column = (column + 1) % 8;
      text += column == 0 ? "\n" : " ";
      ++i;
    }
  }
  return text;
}

TEST(ProtocolDocument, EveryMessageTypeHasAnExample) {
  std::set<MessageType> shown;
  for (const auto& frame : golden_frames()) {
    shown.insert(frame.type);
  }
  EXPECT_EQ(shown.size(), kMessageTypeEnd - 1U);
}

TEST(ProtocolDocument, ExamplesEqualTheEncodersBytes) {
  const auto examples = read_examples();
  std::set<std::string> known;
  for (const auto& frame : golden_frames()) {
    known.insert(frame.name);
    const auto found = examples.find(frame.name);
    if (found == examples.end()) {
      ADD_FAILURE() << "no example ```hex " << frame.name << "\n" << as_hex(frame.bytes);
      continue;
    }
    EXPECT_TRUE(found->second == frame.bytes) << "```hex " << frame.name << "\n"
                                              << as_hex(frame.bytes);
  }
  for (const auto& [name, bytes] : examples) {
    EXPECT_EQ(known.count(name), 1U) << "example " << name << " is not checked against the encoder";
  }
}

TEST(ProtocolDocument, ExamplesDecodeAndEncodeToThemselves) {
  std::size_t decoded = 0;
  for (const auto& [name, bytes] : read_examples()) {
    SCOPED_TRACE(name);
    FrameReader reader(kMaxStateBody, kHeaderBytes);
    for (std::size_t at = 0; at < bytes.size();) {
      const auto space = reader.space();
      ASSERT_LE(space.size(), bytes.size() - at);
      std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), space.size(), space.begin());
      reader.commit(space.size());
      at += space.size();
      const auto frame = reader.next();
      ASSERT_TRUE(frame.has_value()) << frame.error().message();
      ASSERT_EQ(frame->has_value(), at == bytes.size());
      if (*frame) {
        const auto body = reencode((**frame).header.type, (**frame).body);
        ASSERT_TRUE(body.has_value()) << body.error().message();
        EXPECT_TRUE(
            std::equal(body->begin(), body->end(), (**frame).body.begin(), (**frame).body.end()));
        ++decoded;
      }
    }
  }
  EXPECT_EQ(decoded, golden_frames().size());
}

}  // namespace
}  // namespace godwit::wire
