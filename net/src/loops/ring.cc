#include "loops/ring.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/check.h"

namespace godwit::net {
namespace {

constexpr unsigned kEntries = 256;

/// Why io_uring_setup() said EPERM: the system's switch, or a filter around this process.
std::string who_forbids() {
  std::ifstream file("/proc/sys/kernel/io_uring_disabled");
  int disabled = 0;
  if (file >> disabled && disabled != 0) {
    return fmt::format(
        "kernel.io_uring_disabled={} forbids it to this process; set it to 0 (sysctl) to allow it",
        disabled);
  }
  return "a seccomp filter or a security module forbids it to this process; allow io_uring_setup, "
         "io_uring_enter and io_uring_register, in a container by its seccomp profile";
}

tl::unexpected<Error> setup_error(int sys_errno) {
  if (sys_errno == ENOSYS) {
    return fail_errno(
        sys_errno,
        "io_uring_setup",
        "this kernel has no io_uring, or a seccomp filter hides it; allow io_uring_setup, "
        "io_uring_enter and io_uring_register");
  }
  if (sys_errno == EPERM || sys_errno == EACCES) {
    return fail_errno(sys_errno, "io_uring_setup", who_forbids());
  }
  return fail_errno(sys_errno, "io_uring_setup");
}

int init_ring(io_uring& ring, unsigned flags) {
  io_uring_params params{};
  params.flags = flags;
  return io_uring_queue_init_params(kEntries, &ring, &params);
}

}  // namespace

Result<std::shared_ptr<Ring>> Ring::create(RingMode mode) {
  std::shared_ptr<Ring> ring(new Ring());
  int status = -EINVAL;
  if (mode == RingMode::kAuto) {
    // Disabled, because the thread that enables a single-issuer ring becomes its owner, and that is
    // not this one.
    status = init_ring(ring->ring_,
                       IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                           IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL);
    ring->disabled_ = status == 0;
  }
  if (status == -EINVAL) {
    status = init_ring(ring->ring_, 0);
  }
  if (status < 0) {
    return setup_error(-status);
  }
  ring->open_ = true;
  if ((ring->ring_.features & IORING_FEAT_EXT_ARG) == 0) {
    return fail(
        ErrorCode::kUnsupported,
        "io_uring_setup",
        "io_uring of this kernel cannot wait with a timeout; Linux 5.11 or later is needed");
  }
  return ring;
}

Ring::~Ring() {
  close();
}

void Ring::add(RingOp& op, std::shared_ptr<void> keep) {
  ops_.emplace(&op, std::move(keep));
}

void Ring::start(RingOp& op) {
  if (closed_) {
    return;
  }
  GODWIT_CHECK(op.state_ == RingOp::State::kIdle);
  op.state_ = RingOp::State::kQueued;
  ready_.push_back(&op);
}

void Ring::release(RingOp& op) {
  const auto known = ops_.find(&op);
  if (known == ops_.end()) {
    return;
  }
  // Keeps the operation's memory until the lists below have let go of it.
  const auto keep = known->second;
  switch (op.state_) {
    case RingOp::State::kIdle:
      break;
    case RingOp::State::kQueued:
      std::erase(ready_, &op);
      break;
    case RingOp::State::kInFlight:
      if (!owner_.is_caller() || !cancel_and_wait(op)) {
        op.orphan_ = true;
        cancels_.push_back(&op);
        return;
      }
      std::erase(completed_, &op);
      break;
    case RingOp::State::kReaped:
      std::erase(completed_, &op);
      break;
  }
  op.state_ = RingOp::State::kIdle;
  ops_.erase(&op);
}

void Ring::report(Error error) {
  if (reported_) {
    reported_ = fail(std::move(error));
  }
}

Status Ring::check_operations() {
  struct Operation {
    int code;
    const char* name;
  };
  static constexpr std::array<Operation, 4> kNeeded{
      {{IORING_OP_RECV, "IORING_OP_RECV"},
       {IORING_OP_SENDMSG, "IORING_OP_SENDMSG"},
       {IORING_OP_POLL_ADD, "IORING_OP_POLL_ADD"},
       {IORING_OP_ASYNC_CANCEL, "IORING_OP_ASYNC_CANCEL"}}};
  const std::unique_ptr<io_uring_probe, decltype(&io_uring_free_probe)> probe(
      io_uring_get_probe_ring(&ring_), &io_uring_free_probe);
  if (probe == nullptr) {
    return fail(ErrorCode::kUnsupported,
                "IORING_REGISTER_PROBE",
                "io_uring does not tell its operations; a seccomp filter may forbid "
                "io_uring_register, or the kernel is older than 5.6");
  }
  for (const auto& operation : kNeeded) {
    if (io_uring_opcode_supported(probe.get(), operation.code) == 0) {
      return fail(ErrorCode::kUnsupported,
                  "io_uring",
                  fmt::format("this kernel's io_uring has no {}", operation.name));
    }
  }
  return {};
}

Status Ring::bind_owner() {
  if (!owner_.bound() && disabled_) {
    // By system call: the shared library of liburing 2.3 declares io_uring_enable_rings() but
    // does not export it.
    if (::syscall(
            __NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) != 0) {
      return fail_errno(errno, "IORING_REGISTER_ENABLE_RINGS");
    }
    disabled_ = false;
  }
  return owner_.bind();
}

io_uring_sqe* Ring::next_entry() {
  auto* entry = io_uring_get_sqe(&ring_);
  while (entry == nullptr) {
    // The submission queue is full: hand it over now.
    const int status = io_uring_submit(&ring_);
    if (status < 0 && status != -EINTR) {
      return nullptr;
    }
    entry = io_uring_get_sqe(&ring_);
  }
  return entry;
}

void Ring::queue_cancel(RingOp& op) {
  if (auto* entry = next_entry(); entry != nullptr) {
    io_uring_prep_cancel(entry, &op, 0);
    io_uring_sqe_set_data(entry, nullptr);
  }
}

Status Ring::fill() {
  for (auto* op : std::exchange(cancels_, {})) {
    queue_cancel(*op);
  }
  std::size_t taken = 0;
  for (; taken < ready_.size(); ++taken) {
    auto* entry = next_entry();
    if (entry == nullptr) {
      break;
    }
    ready_[taken]->prepare(*entry);
    io_uring_sqe_set_data(entry, ready_[taken]);
    ready_[taken]->state_ = RingOp::State::kInFlight;
  }
  const bool all = taken == ready_.size();
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(taken));
  return all ? Status{}
             : Status(
                   fail(ErrorCode::kIo, "io_uring_submit", "the submission queue does not drain"));
}

Status Ring::enter(Deadline deadline) {
  GODWIT_TRY(fill());
  const auto left_ns = completed_.empty() ? deadline.left_ns() : 0;
  int status = 0;
  if (left_ns == 0) {
    status = io_uring_submit_and_get_events(&ring_);
  } else {
    io_uring_cqe* first = nullptr;
    __kernel_timespec timeout{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
    status = io_uring_submit_and_wait_timeout(
        &ring_, &first, 1, left_ns == INT64_MAX ? nullptr : &timeout, nullptr);
  }
  reap();
  // A signal or the end of the time is no failure: the caller looks at its own deadline.
  if (status < 0 && status != -ETIME && status != -EINTR && status != -EBUSY) {
    return fail_errno(-status, "io_uring_enter");
  }
  return {};
}

void Ring::reap() {
  unsigned head = 0;
  unsigned count = 0;
  io_uring_cqe* entry = nullptr;
  io_uring_for_each_cqe(&ring_, head, entry) {
    ++count;
    auto* op = static_cast<RingOp*>(io_uring_cqe_get_data(entry));
    if (op == nullptr) {
      continue;  // a cancellation's own completion
    }
    op->result_ = entry->res;
    op->state_ = RingOp::State::kReaped;
    completed_.push_back(op);
  }
  io_uring_cq_advance(&ring_, count);
}

void Ring::dispatch() {
  while (!completed_.empty()) {
    auto* op = completed_.front();
    completed_.pop_front();
    op->state_ = RingOp::State::kIdle;
    const auto known = ops_.find(op);
    GODWIT_CHECK(known != ops_.end());
    // The callback may release the operation and drop the last other owner.
    const auto keep = known->second;
    if (op->orphan_) {
      ops_.erase(known);
    } else {
      op->complete(op->result_);
    }
  }
}

Status Ring::run_once(Deadline deadline) {
  if (running_) {
    return fail(ErrorCode::kState, "run_once", "called from a callback of the same loop");
  }
  GODWIT_TRY(bind_owner());
  GODWIT_TRY(enter(deadline));
  running_ = true;
  dispatch();
  running_ = false;
  return std::exchange(reported_, Status{});
}

bool Ring::cancel_and_wait(RingOp& op) {
  queue_cancel(op);
  while (op.state_ == RingOp::State::kInFlight) {
    const int status = io_uring_submit_and_wait(&ring_, 1);
    reap();
    if (status < 0 && status != -EINTR && status != -EBUSY) {
      return false;
    }
  }
  return true;
}

void Ring::close() {
  if (closed_) {
    return;
  }
  if (open_ && owner_.is_caller()) {
    for (auto& [op, keep] : ops_) {
      if (op->state_ == RingOp::State::kInFlight) {
        cancel_and_wait(*op);
      }
    }
  }
  closed_ = true;
  if (open_) {
    io_uring_queue_exit(&ring_);
  }
  ready_.clear();
  completed_.clear();
  cancels_.clear();
  for (auto& [op, keep] : ops_) {
    op->state_ = RingOp::State::kIdle;
  }
  // Moved out first: what is freed here may look at the ring again.
  const auto ops = std::exchange(ops_, {});
}

}  // namespace godwit::net
