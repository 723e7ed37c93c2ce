#include "qemu/qemu_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <utility>

#include <fmt/format.h>

namespace godwit::lab {
namespace {

constexpr std::int64_t kStartNs = 20'000'000'000;
constexpr int kEndMs = 3000;
constexpr int kSerialBufferBytes = 8 << 20;

struct SerialLine {
  Fd lab;
  Fd qemu;
};

/// QEMU drops what it cannot send at once, and a byte takes some 770 bytes of a socket's buffer:
/// the default one holds 278 bytes, less than 28 ms of steps.
Result<SerialLine> make_serial_line() {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
    return fail_errno(errno, "serial line");
  }
  SerialLine line{Fd(ends[0]), Fd(ends[1])};
  // Without CAP_NET_ADMIN as large as net.core.wmem_max allows.
  if (::setsockopt(line.qemu.get(),
                   SOL_SOCKET,
                   SO_SNDBUFFORCE,
                   &kSerialBufferBytes,
                   sizeof kSerialBufferBytes) != 0) {
    (void)::setsockopt(
        line.qemu.get(), SOL_SOCKET, SO_SNDBUF, &kSerialBufferBytes, sizeof kSerialBufferBytes);
  }
  return line;
}

/// Only calls that are safe after a fork.
[[noreturn]] void become(char* const* words, int log, int serial, int network, pid_t parent) {
  // A group of its own: a Ctrl-C at the terminal is the lab's.
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent || (network >= 0 && ::setns(network, CLONE_NEWNET) != 0)) {
    ::_exit(127);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  if (serial >= 0) {
    ::fcntl(serial, F_SETFD, 0);
  }
  ::execv(words[0], words);
  ::_exit(127);
}

}  // namespace

Result<std::unique_ptr<Qemu>> Qemu::start(const QemuSpec& spec,
                                          const TemporaryDirectory& directory,
                                          int interrupt_fd) {
  std::unique_ptr<Qemu> qemu(new Qemu());
  const auto monitor_path = directory.file(spec.name + ".qmp");
  qemu->log_ = directory.file(spec.name + ".log");
  // The lab listens and QEMU connects: nobody has to guess when the other is ready.
  GODWIT_TRY_ASSIGN(const auto monitor, listen_at(monitor_path));
  SerialLine serial;
  auto& words = qemu->words_;
  words = {spec.program,
           "-name",
           "godwit-lab-" + spec.name,
           "-nodefaults",
           "-no-user-config",
           "-display",
           "none",
           "-no-reboot",
           "-chardev",
           fmt::format("socket,id=monitor,path={}", monitor_path),
           "-mon",
           "chardev=monitor,mode=control"};
  if (spec.has_serial) {
    GODWIT_TRY_ASSIGN(serial, make_serial_line());
    words.insert(words.end(),
                 {"-chardev",
                  fmt::format("socket,id=doorbells,fd={}", serial.qemu.get()),
                  "-serial",
                  "chardev:doorbells"});
  }
  words.insert(words.end(), spec.words.begin(), spec.words.end());
  GODWIT_TRY(qemu->launch(spec, serial.qemu.get()));
  serial.qemu.reset();  // so that QEMU's end is the last one
  qemu->serial_ = std::move(serial.lab);
  const Watched watched{interrupt_fd, qemu->ended_.get()};
  const auto deadline = Deadline::after_ns(kStartNs);
  auto made = [&]() -> Status {
    GODWIT_TRY_ASSIGN(auto socket, accept_one(monitor.get(), watched, deadline));
    GODWIT_TRY_ASSIGN(auto qmp, Qmp::start(std::move(socket), watched, deadline));
    qemu->qmp_ = std::make_unique<Qmp>(std::move(qmp));
    return {};
  }();
  if (!made && made.error().code == ErrorCode::kClosed) {
    return fail(ErrorCode::kClosed, "QEMU", spec.name + " ended: " + qemu->last_words());
  }
  GODWIT_TRY(made);
  return qemu;
}

Status Qemu::launch(const QemuSpec& spec, int serial) {
  const Fd log(::open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!log.valid()) {
    return fail_errno(errno, "QEMU", log_);
  }
  std::vector<char*> pointers;
  for (auto& word : words_) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  const auto parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    become(pointers.data(), log.get(), serial, spec.network_fd, parent);
  }
  if (pid_ < 0) {
    return fail_errno(errno, "fork");
  }
  ended_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (!ended_.valid()) {
    return fail_errno(errno, "pidfd_open");
  }
  return {};
}

Qemu::~Qemu() {
  if (pid_ <= 0) {
    return;
  }
  ::kill(pid_, SIGTERM);
  pollfd polled{ended_.get(), POLLIN, 0};
  if (!ended_.valid() || ::poll(&polled, 1, kEndMs) != 1) {
    ::kill(pid_, SIGKILL);
  }
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::int64_t Qemu::cpu_ns() const {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &time) != 0) {
    return 0;
  }
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

std::string Qemu::last_words() const {
  std::ifstream file(log_);
  std::string line;
  std::string last = "it said nothing";
  while (std::getline(file, line)) {
    // A warning about what this host's processor lacks is not why it ended.
    if (!line.empty() && line.find("warning:") == std::string::npos) {
      last = line;
    }
  }
  return last;
}

}  // namespace godwit::lab
