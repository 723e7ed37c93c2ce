#include "msrs.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "godwit/kvm/vcpu_state.h"

#include "uapi.h"

namespace godwit::kvm {

bool excluded_msr(std::uint32_t number) {
  // The time stamp counter is carried over by VcpuState's own record, with the time that passes
  // meanwhile.
  if (number == kMsrTsc) {
    return true;
  }
  // Hyper-V's registers: the supported CPUID does not offer them to the guest, and some of them
  // count by themselves.
  if (number >= 0x40000000 && number <= 0x400001FF) {
    return true;
  }
  switch (number) {
    case 0x34:  // IA32_SMI_COUNT: counts, read-only
    case 0xE7:  // IA32_MPERF, IA32_APERF: the host's clock cycles
    case 0xE8:
      return true;
    default:
      return false;
  }
}

Result<std::vector<MsrValue>> read_msrs(const Vcpu& vcpu, std::span<const std::uint32_t> numbers) {
  std::vector<std::byte> buffer(sizeof(uapi::MsrsHeader) + numbers.size() * sizeof(kvm_msr_entry));
  const uapi::MsrsHeader header{.count = static_cast<std::uint32_t>(numbers.size())};
  std::memcpy(buffer.data(), &header, sizeof(header));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const kvm_msr_entry entry{.index = numbers[i], .reserved = 0, .data = 0};
    std::memcpy(buffer.data() + sizeof(header) + i * sizeof(entry), &entry, sizeof(entry));
  }
  const int read = ::ioctl(vcpu.fd(), uapi::kGetMsrs, buffer.data());
  if (read < 0) {
    return fail_errno(errno, "KVM_GET_MSRS");
  }
  std::vector<MsrValue> values(std::min(static_cast<std::size_t>(read), numbers.size()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    kvm_msr_entry entry{};
    std::memcpy(&entry, buffer.data() + sizeof(header) + i * sizeof(entry), sizeof(entry));
    values[i] = {entry.index, entry.data};
  }
  return values;
}

Result<bool> write_msr(const Vcpu& vcpu, MsrValue msr) {
  struct {
    uapi::MsrsHeader header;
    kvm_msr_entry entry;
  } request{};
  request.header.count = 1;
  request.entry.index = static_cast<std::uint32_t>(msr.number);
  request.entry.data = msr.value;
  const int written = ::ioctl(vcpu.fd(), uapi::kSetMsrs, &request);
  if (written < 0) {
    return fail_errno(errno, "KVM_SET_MSRS");
  }
  return written == 1;
}

Status restore_msrs(const Vcpu& vcpu, std::span<const MsrValue> wanted) {
  std::vector<MsrValue> refused;
  // One batch in the usual case. It stops at a register that this host has not: that one goes by
  // itself.
  std::vector<std::uint32_t> numbers;
  for (const auto& msr : wanted) {
    numbers.push_back(static_cast<std::uint32_t>(msr.number));
  }
  std::size_t done = 0;
  while (done < wanted.size()) {
    GODWIT_TRY_ASSIGN(const auto present, read_msrs(vcpu, std::span(numbers).subspan(done)));
    for (std::size_t i = 0; i < present.size(); ++i) {
      if (present[i].value != wanted[done + i].value) {
        GODWIT_TRY_ASSIGN(const bool written, write_msr(vcpu, wanted[done + i]));
        if (!written) {
          refused.push_back(wanted[done + i]);
        }
      }
    }
    done += present.size();
    if (done < wanted.size()) {
      // Zero is what a register that does not exist would have had; anything else is lost, and that
      // is said.
      if (wanted[done].value != 0) {
        refused.push_back(wanted[done]);
      }
      ++done;
    }
  }
  for (const auto& msr : refused) {
    GODWIT_TRY_ASSIGN(const bool written, write_msr(vcpu, msr));
    if (!written) {
      return fail(ErrorCode::kIo,
                  "KVM_SET_MSRS",
                  fmt::format("this host refuses {:#x} for register {:#x}", msr.value, msr.number));
    }
  }
  return {};
}

Result<std::uint64_t> Vcpu::tsc() const {
  constexpr std::uint32_t kNumber[] = {kMsrTsc};
  GODWIT_TRY_ASSIGN(const auto values, read_msrs(*this, kNumber));
  if (values.size() != 1) {
    return fail(ErrorCode::kUnsupported, "KVM_GET_MSRS", "the time stamp counter cannot be read");
  }
  return values[0].value;
}

Result<MsrPlan> plan_msrs(const System& system, const Vcpu& vcpu) {
  MsrPlan plan;
  std::vector<std::uint32_t> wanted;
  bool deadline = false;
  for (const auto number : system.msr_indices()) {
    if (number == kMsrTscDeadline) {
      deadline = true;
    } else if (excluded_msr(number)) {
      plan.excluded.push_back(number);
    } else {
      wanted.push_back(number);
    }
  }
  if (deadline) {
    // Last: it is compared with the counter as soon as it is written.
    wanted.push_back(kMsrTscDeadline);
  }
  std::span<const std::uint32_t> rest(wanted);
  while (!rest.empty()) {
    GODWIT_TRY_ASSIGN(const auto values, read_msrs(vcpu, rest));
    plan.saved.insert(
        plan.saved.end(), rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(values.size()));
    rest = rest.subspan(values.size());
    if (!rest.empty()) {
      plan.unreadable.push_back(rest.front());
      rest = rest.subspan(1);
    }
  }
  return plan;
}

}  // namespace godwit::kvm
