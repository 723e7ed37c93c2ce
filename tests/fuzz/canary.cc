// A planted bug: a decoder that believes a length. If the fuzzer does not find it within seconds,
// it is the fuzzing that is broken (no coverage feedback, no sanitizer), and the silence of the
// real targets means nothing.
#include <cstdint>
#include <cstring>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kHeader = 6;
  if (size <= kHeader || data[0] != 'G' || data[1] != 'D' || data[2] != 'W' || data[3] != 2) {
    return 0;
  }
  std::uint16_t length = 0;
  std::memcpy(&length, data + 4, sizeof length);
  const std::vector<std::uint8_t> body(data + kHeader, data + size);
  [[maybe_unused]] volatile std::uint8_t last = 0;
  for (std::size_t i = 0; i < length; ++i) {
    last = body.data()[i];  // the bug: length may be over the size
  }
  return 0;
}
