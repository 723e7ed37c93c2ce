#include "qemu/qemu_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <utility>

#include <fmt/format.h>

#include "ground/unix_socket.h"

namespace godwit::lab {
namespace {

constexpr std::int64_t kStartNs = 20'000'000'000;
constexpr std::int64_t kEndNs = 3'000'000'000;
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
  const Watched watched{interrupt_fd, qemu->process_->ended_fd()};
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
  ProcessSpec process;
  process.words = words_;
  process.out_fd = log.get();
  process.error_fd = log.get();
  process.network_fd = spec.network_fd;
  process.kept_fd = serial;
  process.cgroup_fd = spec.cgroup_fd;
  process.death_signal = SIGKILL;
  GODWIT_TRY_ASSIGN(auto started, Process::start(process));
  process_.emplace(std::move(started));
  return {};
}

Qemu::~Qemu() {
  if (process_) {
    process_->signal(SIGTERM);
    // What is still there then is killed with the object.
    (void)process_->has_ended(Deadline::after_ns(kEndNs));
  }
}

std::int64_t Qemu::cpu_ns() const {
  return process_->cpu_ns();
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
