#include "loops/owner_thread.h"

#include <atomic>

namespace godwit::net {
namespace {

// Thread ids are used again after a thread has ended; these numbers never are.
std::uint64_t this_thread_number() {
  static std::atomic<std::uint64_t> last{0};
  // relaxed: only uniqueness counts, nothing is published with it.
  thread_local const std::uint64_t number = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return number;
}

}  // namespace

Status OwnerThread::bind() {
  if (number_ == 0) {
    number_ = this_thread_number();
  }
  if (!is_caller()) {
    return fail(ErrorCode::kState, "run_once", "the loop belongs to the thread that ran it first");
  }
  return {};
}

bool OwnerThread::is_caller() const {
  return number_ == this_thread_number();
}

}  // namespace godwit::net
