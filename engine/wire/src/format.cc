#include "godwit/wire/format.h"

#include <utility>

namespace godwit::wire {
namespace {

struct TypeTraits {
  std::string_view name;
  BodyLimits limits;
};

// Indexed by the type's number. A fixed body has min == max, so that a wrong length ends at the
// header.
constexpr std::array<TypeTraits, kMessageTypeEnd> kTypes = {{
    {"?", {0, 0}},
    {"HELLO", {46, 76}},
    {"WELCOME", {30, 30}},
    {"REFUSE", {8, 8 + 4096}},
    {"DESCRIBE", {36, kMaxControlBody}},
    {"ACCEPT", {16, 16 + 64}},
    {"PAGES", {64, kMaxPagesBody}},
    {"STALE", {4, kMaxControlBody}},
    {"BARRIER", {8, 8}},
    {"BARRIER_ACK", {8, 8}},
    {"FINAL_SYNC", {16, 16}},
    {"STATE", {4, kMaxStateBody}},
    {"READY", {0, 0}},
    {"COMMIT", {0, 0}},
    {"RUNNING", {16, 16}},
    {"NOT_STARTED", {6, 6 + 4096}},
    {"PAGE_REQUEST", {20, 4 + 256 * 16}},
    {"BACKGROUND_END", {0, 0}},
    {"COMPLETE", {68, 68 + 64 + 1024 * 16}},
    {"FINISH", {0, 0}},
    {"CANCEL", {4, 4 + 4096}},
    {"CANCEL_ACK", {0, 0}},
    {"ABORT", {8, 8 + 4096}},
    {"MISSING", {4, kMaxControlBody}},
    {"MISSING_END", {16, 16}},
}};
static_assert(!kTypes.back().name.empty(), "every type has a row");

const TypeTraits& traits(MessageType type) {
  const auto number = static_cast<std::size_t>(type);
  return kTypes[number < kTypes.size() ? number : 0];
}

}  // namespace

std::string_view message_type_name(MessageType type) {
  return traits(type).name;
}

BodyLimits body_limits(MessageType type) {
  return traits(type).limits;
}

}  // namespace godwit::wire
