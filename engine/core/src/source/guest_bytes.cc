#include "source/guest_bytes.h"

#include "godwit/base/units.h"

namespace godwit::engine {
namespace {

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GODWIT_THREAD_SANITIZED 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define GODWIT_THREAD_SANITIZED 1
#endif

#ifdef GODWIT_THREAD_SANITIZED
#define GODWIT_NO_TSAN __attribute__((no_sanitize("thread"), noinline))
#else
#define GODWIT_NO_TSAN
#endif

using Word = std::uint64_t __attribute__((may_alias));

}  // namespace

GODWIT_NO_TSAN bool guest_page_is_zero(const std::byte* page) {
  const auto* words = reinterpret_cast<const volatile Word*>(page);
  for (std::size_t i = 0; i < kPageBytes / sizeof(Word); i += 8) {
    if ((words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] | words[i + 5] |
         words[i + 6] | words[i + 7]) != 0) {
      return false;
    }
  }
  return true;
}

GODWIT_NO_TSAN bool copy_guest_page(std::byte* to, const std::byte* from) {
  // One instruction, so that no library copy (which the race detector watches) is involved; the
  // copy is hot in cache for the zero test and the hash that follow.
  std::size_t bytes = kPageBytes;
  std::byte* target = to;
  const std::byte* source = from;
  asm volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(bytes) : : "memory");
  return guest_page_is_zero(to);
}

}  // namespace godwit::engine
