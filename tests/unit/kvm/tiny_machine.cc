#include "tiny_machine.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "godwit/base/units.h"
#include "godwit/kvm/dirty_ring.h"

extern "C" const std::byte tiny_program_begin[];
extern "C" const std::byte tiny_program_end[];

asm(R"(
  .pushsection .rodata
  .globl tiny_program_begin, tiny_program_end
tiny_program_begin:
1:
  imulq $1664525, %r8, %r8
  addq  $1013904223, %r8
  movq  %r8, %r9
  shrq  $20, %r9
  andq  %r10, %r9
  shlq  $12, %r9
  incq  %rcx
  movq  %rcx, (%r11, %r9)
  testq %rbx, %rcx
  jnz   1b
  movw  $0x510, %dx
  outl  %eax, %dx
  jmp   1b
tiny_program_end:
  .popsection
)");

namespace godwit::kvm {
namespace {
constexpr std::uint64_t kProgramGpa = 0x1000;
constexpr std::uint64_t kTablesGpa = 0x2000;
}  // namespace

Result<std::unique_ptr<TinyMachine>> TinyMachine::create(std::uint64_t data_pages,
                                                         std::uint64_t extra_pages,
                                                         unsigned quiet_bits,
                                                         Options options) {
  const auto pages = kFirstDataPage + data_pages + extra_pages;
  GODWIT_TRY_ASSIGN(auto system, System::open());
  GODWIT_TRY_ASSIGN(auto memory, Mapping::anonymous(pages << kPageShift));
  GODWIT_TRY_ASSIGN(auto vm, Vm::create(system));
  std::unique_ptr<TinyMachine> machine(
      new TinyMachine(std::move(system), std::move(memory), std::move(vm)));
  machine->data_pages = data_pages;
  machine->page_count = pages;
  const auto slot_pages = options.slot_pages == 0 ? pages : options.slot_pages;
  const auto end = options.data_slots ? pages : kFirstDataPage;
  for (std::uint64_t first = 0; first < end; first += slot_pages) {
    GODWIT_TRY(machine->vm.add_memslot({.gpa = first << kPageShift,
                                        .page_count = std::min(slot_pages, end - first),
                                        .host = machine->memory.data() + (first << kPageShift),
                                        .first_page = first}));
  }
  machine->write_program();
  if (options.ring_entries != 0) {
    GODWIT_TRY(DirtyRing::enable(machine->system, machine->vm, options.ring_entries));
  }
  for (std::uint32_t i = 0; i < options.vcpus; ++i) {
    GODWIT_TRY_ASSIGN(auto vcpu, Vcpu::create(machine->system, machine->vm, i));
    GODWIT_TRY(machine->enter(vcpu, quiet_bits));
    machine->vcpus.push_back(std::move(vcpu));
  }
  machine->vcpu = machine->vcpus.data();
  return machine;
}

void TinyMachine::write_program() {
  auto* bytes = memory.data();
  std::memcpy(bytes + kProgramGpa,
              tiny_program_begin,
              static_cast<std::size_t>(tiny_program_end - tiny_program_begin));
  auto* pml4 = reinterpret_cast<std::uint64_t*>(bytes + kTablesGpa);
  pml4[0] = (kTablesGpa + 0x1000) | 0x27;
  pml4[512] = (kTablesGpa + 0x2000) | 0x27;
  for (std::uint64_t i = 0; i < 512; ++i) {
    pml4[1024 + i] = (i << 21) | 0xE7;
  }
}

Status TinyMachine::enter(const Vcpu& cpu, unsigned quiet_bits) {
  kvm_sregs sregs{};
  if (::ioctl(cpu.fd(), KVM_GET_SREGS, &sregs) != 0) {
    return fail_errno(errno, "KVM_GET_SREGS");
  }
  sregs.cr0 = 0x80050033;
  sregs.cr3 = kTablesGpa;
  sregs.cr4 = 0x620;
  sregs.efer = 0x501;
  kvm_segment segment{};
  segment.limit = 0xFFFFFFFF;
  segment.selector = 0x1B;
  segment.type = 11;
  segment.present = 1;
  segment.dpl = 3;
  segment.s = 1;
  segment.l = 1;
  segment.g = 1;
  sregs.cs = segment;
  segment.selector = 0x23;
  segment.type = 3;
  segment.l = 0;
  segment.db = 1;
  sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = segment;
  if (::ioctl(cpu.fd(), KVM_SET_SREGS, &sregs) != 0) {
    return fail_errno(errno, "KVM_SET_SREGS");
  }
  kvm_regs regs{};
  regs.rip = kProgramGpa;
  regs.rsp = 0x1000;
  regs.rflags = 0x3002;
  regs.rbx = (1ULL << quiet_bits) - 1;
  regs.rcx = static_cast<std::uint64_t>(cpu.index()) << 56;  // no two words are equal
  regs.r8 = 12345 + cpu.index() * 7919;
  regs.r10 = data_pages - 1;
  regs.r11 = kFirstDataPage << kPageShift;
  regs.r12 = 0x1212121212121212;
  if (::ioctl(cpu.fd(), KVM_SET_REGS, &regs) != 0) {
    return fail_errno(errno, "KVM_SET_REGS");
  }
  return {};
}

std::uint64_t TinyMachine::word_of_page(std::uint64_t page) const {
  std::uint64_t word = 0;
  std::memcpy(&word, memory.data() + (page << kPageShift), sizeof(word));
  return word;
}

std::uint64_t TinyMachine::writes() const {
  kvm_regs regs{};
  return ::ioctl(vcpu->fd(), KVM_GET_REGS, &regs) == 0 ? regs.rcx : 0;
}

}  // namespace godwit::kvm
