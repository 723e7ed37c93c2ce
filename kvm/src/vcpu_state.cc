#include "godwit/kvm/vcpu_state.h"

#include <array>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "raw_bytes.h"
#include "state_records.h"
#include "tsc.h"
#include "uapi.h"

// The records themselves, and the order of a restore: state_records.cc.

namespace godwit::kvm {
namespace {

constexpr std::uint32_t kMagic = 0x53435647;  // "GVCS"
constexpr std::uint16_t kVersion = 2;

struct FileHeader {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t records;
};
static_assert(sizeof(FileHeader) == 8);

struct RecordHeader {
  std::uint16_t kind;
  std::uint16_t reserved;
  std::uint32_t length;
};
static_assert(sizeof(RecordHeader) == 8);

/// Null for a record that this side does not know.
const StateRecord* row_of(std::uint16_t record) {
  for (const auto& row : state_records()) {
    if (static_cast<std::uint16_t>(row.record) == record) {
      return &row;
    }
  }
  return nullptr;
}

}  // namespace

Result<VcpuState> VcpuState::capture(const Vcpu& vcpu, const MsrPlan& plan) {
  VcpuState state;
  const auto rows = state_records();
  for (auto row = rows.rbegin(); row != rows.rend(); ++row) {
    GODWIT_TRY(row->get(*row, vcpu, plan, state.record(row->record)));
  }
  return state;
}

Status VcpuState::check(const System& system, const Vcpu& vcpu) const {
  for (const auto& row : state_records()) {
    if (row.check != nullptr) {
      GODWIT_TRY(row.check(row, record(row.record), system, vcpu));
    }
  }
  return {};
}

Status VcpuState::restore(Vcpu& vcpu, TscShift& shift) const {
  for (const auto& row : state_records()) {
    GODWIT_TRY(row.set(row, vcpu, record(row.record), shift));
  }
  return {};
}

std::vector<std::byte> VcpuState::encode() const {
  std::vector<std::byte> bytes;
  append(bytes, FileHeader{kMagic, kVersion, static_cast<std::uint16_t>(kRecordKinds)});
  for (std::size_t i = 0; i < kRecordKinds; ++i) {
    append(
        bytes,
        RecordHeader{
            static_cast<std::uint16_t>(i + 1), 0, static_cast<std::uint32_t>(records_[i].size())});
    bytes.insert(bytes.end(), records_[i].begin(), records_[i].end());
  }
  return bytes;
}

Result<VcpuState> VcpuState::decode(std::span<const std::byte> bytes) {
  const auto refuse = [](std::string why) {
    return fail(ErrorCode::kRefused, "vCPU state", std::move(why));
  };
  if (bytes.size() < sizeof(FileHeader) || bytes.size() > kMaxEncodedBytes) {
    return refuse(fmt::format("{} bytes cannot be one", bytes.size()));
  }
  const auto header = load<FileHeader>(bytes);
  if (header.magic != kMagic || header.version != kVersion || header.records != kRecordKinds) {
    return refuse(
        fmt::format("magic {:#x}, version {}, {} records; this side knows version {} with {}",
                    header.magic,
                    header.version,
                    header.records,
                    kVersion,
                    kRecordKinds));
  }
  VcpuState state;
  std::array<bool, kRecordKinds> seen{};
  auto rest = bytes.subspan(sizeof(header));
  for (unsigned i = 0; i < header.records; ++i) {
    if (rest.size() < sizeof(RecordHeader)) {
      return refuse("is cut off");
    }
    const auto head = load<RecordHeader>(rest);
    rest = rest.subspan(sizeof(head));
    const auto* row = row_of(head.kind);
    if (row == nullptr || head.reserved != 0) {
      return refuse(fmt::format("record {} is unknown", head.kind));
    }
    if (std::exchange(seen[head.kind - 1U], true)) {
      return refuse(fmt::format("record {} comes twice", head.kind));
    }
    if (head.length > rest.size() || !row->size.allows(head.length)) {
      return refuse(fmt::format("record {} has an impossible length {}", head.kind, head.length));
    }
    state.record(row->record).assign(rest.begin(), rest.begin() + head.length);
    rest = rest.subspan(head.length);
  }
  if (!rest.empty()) {
    return refuse(fmt::format("{} bytes are left over", rest.size()));
  }
  for (const auto& row : state_records()) {
    const char* flaw = row.flaw == nullptr ? nullptr : row.flaw(state.record(row.record));
    if (flaw != nullptr) {
      return refuse(flaw);
    }
  }
  return state;
}

std::span<const std::byte> VcpuState::location(StateRegister which) const {
  // Legacy XSAVE region (SDM volume 1, 13.4.1): ST0 at 32, XMM0 at 160, 16 bytes each; upper halves
  // of YMM at 576 in the standard form that KVM uses.
  constexpr std::size_t kSt0 = 32;
  constexpr std::size_t kXmm0 = 160;
  constexpr std::size_t kYmmHigh0 = 576;
  const std::span<const std::byte> xsave(record(Record::kXsave));
  const std::span<const std::byte> sregs(record(Record::kSregs));
  switch (which.kind) {
    case StateRegister::Kind::kGeneral:
      // kvm_regs: rax rbx rcx rdx rsi rdi rsp rbp r8 .. r15.
      return std::span<const std::byte>(record(Record::kRegs))
          .subspan(std::size_t{which.number} * 8, 8);
    case StateRegister::Kind::kXmm:
      return xsave.subspan(kXmm0 + std::size_t{which.number} * 16, 16);
    case StateRegister::Kind::kYmmHigh:
      return xsave.subspan(kYmmHigh0 + std::size_t{which.number} * 16, 16);
    case StateRegister::Kind::kX87:
      return xsave.subspan(kSt0 + std::size_t{which.number} * 16, 10);
    case StateRegister::Kind::kFsBase:
      return sregs.subspan(offsetof(kvm_sregs2, fs) + offsetof(kvm_segment, base), 8);
    case StateRegister::Kind::kGsBase:
      return sregs.subspan(offsetof(kvm_sregs2, gs) + offsetof(kvm_segment, base), 8);
  }
  return {};
}

void VcpuState::forget(StateRegister which) {
  const auto at = location(which);
  // The bytes are this object's own, found by the function that readers share.
  auto* bytes = const_cast<std::byte*>(at.data());  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  std::memset(bytes, 0, at.size());
}

std::uint64_t VcpuState::value(StateRegister which) const {
  return load<std::uint64_t>(location(which));
}

std::uint64_t VcpuState::tsc() const {
  return load<TscRecord>(record(Record::kTsc)).counter;
}

std::string register_name(StateRegister which) {
  switch (which.kind) {
    case StateRegister::Kind::kGeneral:
      return fmt::format("r{}", which.number);
    case StateRegister::Kind::kXmm:
      return fmt::format("xmm{}", which.number);
    case StateRegister::Kind::kYmmHigh:
      return fmt::format("upper half of ymm{}", which.number);
    case StateRegister::Kind::kX87:
      return fmt::format("st{}", which.number);
    case StateRegister::Kind::kFsBase:
      return "fs base";
    case StateRegister::Kind::kGsBase:
      return "gs base";
  }
  return "unknown";
}

}  // namespace godwit::kvm
