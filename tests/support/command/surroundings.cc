#include "support/command/surroundings.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "godwit/base/fd.h"

#include "support/process.h"

namespace godwit::test {
namespace {

constexpr unsigned kNobody = 65534;

bool put(const std::string& path, const std::string& text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd.valid() &&
         ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

}  // namespace

void or_leave(bool done) {
  if (!done) {
    ::_exit(kCannot);
  }
}

void forbid(unsigned call) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
  or_leave(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  or_leave(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
}

void become_nobody() {
  or_leave(::setgroups(0, nullptr) == 0 && ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0 &&
           ::chdir("/tmp") == 0);
}

void limit(int what, rlim_t most) {
  const rlimit wanted{most, most};
  or_leave(::setrlimit(static_cast<__rlimit_resource>(what), &wanted) == 0);
}

void own_mounts() {
  or_leave(::unshare(CLONE_NEWNS) == 0);
  or_leave(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
}

void small_dev(const std::vector<std::string>& kept) {
  struct Node {
    std::string path;
    dev_t device;
  };
  std::vector<Node> nodes;
  std::vector<std::string> names{"null", "zero", "random", "urandom"};
  names.insert(names.end(), kept.begin(), kept.end());
  for (const auto& name : names) {
    struct stat info {};
    if (::stat(("/dev/" + name).c_str(), &info) == 0) {
      nodes.push_back({"/dev/" + name, info.st_rdev});
    }
  }
  own_mounts();
  or_leave(::mount("tmpfs", "/dev", "tmpfs", 0, "mode=755") == 0);
  for (const auto& node : nodes) {
    or_leave(::mknod(node.path.c_str(), S_IFCHR | 0666, node.device) == 0);
    or_leave(::chmod(node.path.c_str(), 0666) == 0);
  }
}

void without_kvm() {
  small_dev({"userfaultfd"});
}

void with_kvm_forbidden() {
  small_dev({"kvm", "userfaultfd"});
  ::chmod("/dev/kvm", 0600);
  become_nobody();
}

void with_kvm_that_is_none() {
  small_dev({"userfaultfd"});
  const int fd = ::open("/dev/kvm", O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
  or_leave(fd >= 0);
  ::close(fd);
}

void without_userfaultfd() {
  small_dev({"kvm"});
  become_nobody();
  forbid(SYS_userfaultfd);
}

void without_io_uring() {
  forbid(SYS_io_uring_setup);
}

MemoryGroup::MemoryGroup(std::uint64_t most) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto group = line.substr(line.rfind(':') + 1);
    const bool second = line.rfind("0::", 0) == 0;
    if (second || line.find(":memory:") != std::string::npos) {
      make((second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory") + group,
           second ? "memory.max" : "memory.limit_in_bytes",
           most);
    }
  }
}

MemoryGroup::~MemoryGroup() {
  if (usable()) {
    eventually([this] { return ::rmdir(path_.c_str()) == 0; }, 5);
  }
}

void MemoryGroup::join() const {
  or_leave(put(path_ + "/cgroup.procs", "0"));
}

void MemoryGroup::make(const std::string& parent, const char* limit, std::uint64_t most) {
  const auto path = fmt::format("{}/godwit-test-{}", parent, ::getpid());
  if (usable() || ::mkdir(path.c_str(), 0755) != 0) {
    return;
  }
  if (put(path + "/" + limit, std::to_string(most))) {
    path_ = path;
  } else {
    ::rmdir(path.c_str());
  }
}

}  // namespace godwit::test
