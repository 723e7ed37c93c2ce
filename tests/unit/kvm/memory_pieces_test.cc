#include "godwit/kvm/memory_pieces.h"

#include <linux/kvm.h>

#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "godwit/base/units.h"
#include "godwit/kvm/vcpu_thread.h"

#include "support/require_kvm.h"
#include "tiny_machine.h"

namespace godwit::kvm {
namespace {

constexpr std::uint64_t kGiBPages = kGiB >> kPageShift;

engine::GuestMemory memory_of(const std::vector<std::uint64_t>& pages) {
  engine::GuestMemory memory;
  for (const auto count : pages) {
    memory.regions.push_back({.gpa = 0, .page_count = count});
  }
  return memory;
}

TEST(PiecePages, AreAGiBUntilSlotsRunShort) {
  EXPECT_EQ(piece_pages(memory_of({256}), 32764), kGiBPages);
  EXPECT_EQ(piece_pages(memory_of({8192 * kGiBPages, 8192 * kGiBPages}), 32764), 2 * kGiBPages);
  EXPECT_EQ(piece_pages(memory_of({8000 * kGiBPages, 8000 * kGiBPages}), 32764), kGiBPages);
  EXPECT_EQ(piece_pages(memory_of({64 * kGiBPages, 64 * kGiBPages}), 32), 8 * kGiBPages);
  EXPECT_EQ(piece_pages(memory_of({3, 3, 3}), 2), kGiBPages) << "a piece for each region at least";
}

class MemoryPiecesTest : public ::testing::Test {
 protected:
  /// A machine whose KVM knows of the program only; the data is a region of its own.
  void SetUp() override {
    GODWIT_NEED_KVM();
    auto machine = TinyMachine::create(256, 0, 4, {.vcpus = 1, .data_slots = false});
    ASSERT_OK(machine);
    machine_ = std::move(*machine);
    auto* host = machine_->memory.data();
    memory_.regions.push_back({.gpa = TinyMachine::kFirstDataPage << kPageShift,
                               .page_count = 128,
                               .guest = host + (TinyMachine::kFirstDataPage << kPageShift)});
    memory_.regions.push_back(
        {.gpa = (TinyMachine::kFirstDataPage + 128) << kPageShift,
         .page_count = 128,
         .guest = host + ((TinyMachine::kFirstDataPage + 128) << kPageShift)});
    pieces_ = std::make_unique<MemoryPieces>(machine_->vm, memory_, 32);
  }
  std::unique_ptr<TinyMachine> machine_;
  engine::GuestMemory memory_;
  std::unique_ptr<MemoryPieces> pieces_;
};

TEST_F(MemoryPiecesTest, AddsEachOnce) {
  EXPECT_EQ(machine_->vm.memslot_count(), 1U);
  ASSERT_OK(pieces_->add({1, 100, 20}));
  ASSERT_OK(pieces_->add({1, 0, 1}));
  ASSERT_EQ(machine_->vm.memslot_count(), 2U);
  const auto slot = machine_->vm.memslot(1);
  EXPECT_EQ(slot.region, 1U);
  EXPECT_EQ(slot.page_count, 128U);
  EXPECT_EQ(slot.gpa, memory_.regions[1].gpa);
  ASSERT_OK(pieces_->add({0, 0, 128}));
  EXPECT_EQ(machine_->vm.memslot_count(), 3U);
}

TEST_F(MemoryPiecesTest, AGuestThatTouchesThemGoesOn) {
  // The guest calls every 16 writes; between the calls it is on its own.
  std::uint64_t touches = 0;
  std::atomic<std::uint64_t> calls = 0;
  auto thread = VcpuThread::start(
      *machine_->vcpu,
      [&](VcpuThread&, Vcpu& vcpu, std::int64_t) -> Result<VcpuThread::Next> {
        auto& run = vcpu.run_page();
        if (run.exit_reason == KVM_EXIT_MMIO) {
          ++touches;
          GODWIT_TRY_ASSIGN(const bool memory, pieces_->on_mmio(run));
          return memory ? Result<VcpuThread::Next>(VcpuThread::Next::kRun)
                        : fail(ErrorCode::kGuest, "test", "no memory");
        }
        return ++calls < 1000 ? VcpuThread::Next::kRun : VcpuThread::Next::kPark;
      },
      [](const Error& error) { ADD_FAILURE() << error.message(); });
  ASSERT_OK(thread);
  ASSERT_OK((*thread)->resume());
  while ((*thread)->entered_ns() == 0 || calls < 1000) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  (*thread)->request_pause();
  ASSERT_OK((*thread)->wait_paused());
  EXPECT_EQ(touches, 2U) << "one for each of the regions";
  EXPECT_EQ(machine_->vm.memslot_count(), 3U);
  EXPECT_EQ(machine_->vm.take_written().size(), 2U) << "KVM's log has not seen them";
  // Every write is where it belongs: the program again, in slow motion.
  std::vector<std::uint64_t> words(256);
  std::uint64_t random = 12345;
  for (std::uint64_t count = 1; count <= machine_->writes(); ++count) {
    random = random * 1664525 + 1013904223;
    words[(random >> 20U) & 255U] = count;
  }
  for (std::uint64_t page = 0; page < words.size(); ++page) {
    ASSERT_EQ(machine_->word_of_page(TinyMachine::kFirstDataPage + page), words[page]) << page;
  }
}

// KVM reads by way of us and writes by itself, since there is memory when it comes back.
TEST_F(MemoryPiecesTest, InstructionsThatReadAndWriteAreDoneAsOne) {
  constexpr std::uint64_t kProgram = 0x1000;
  constexpr std::uint64_t kFarPage = 192;  // of the data: in the other region
  const unsigned char code[] = {
      0x48, 0xc7, 0xc0, 0x05, 0x00, 0x00, 0x00,  // mov   $5, %rax
      0xf0, 0x49, 0x0f, 0xc1, 0x03,              // lock xadd %rax, (%r11)
      0x49, 0x87, 0x8b, 0x00, 0x00, 0x0c, 0x00,  // xchg  %rcx, 0xc0000(%r11)
      0x66, 0xba, 0x10, 0x05,                    // mov   $0x510, %dx
      0xef,                                      // out   %eax, %dx
  };
  std::memcpy(machine_->memory.data() + kProgram, code, sizeof code);
  const auto word = [this](std::uint64_t page) {
    return machine_->memory.data() + ((TinyMachine::kFirstDataPage + page) << kPageShift);
  };
  const std::uint64_t near_before = 100;
  const std::uint64_t far_before = 200;
  std::memcpy(word(0), &near_before, sizeof near_before);
  std::memcpy(word(kFarPage), &far_before, sizeof far_before);
  auto& run = machine_->vcpu->run_page();
  int touches = 0;
  for (;; ++touches) {
    const auto outcome = machine_->vcpu->run();
    ASSERT_OK(outcome);
    ASSERT_EQ(*outcome, RunOutcome::kExit);
    if (run.exit_reason != KVM_EXIT_MMIO) {
      break;
    }
    EXPECT_EQ(run.mmio.is_write, 0);
    ASSERT_TRUE(pieces_->on_mmio(run).value());
  }
  ASSERT_EQ(run.exit_reason, static_cast<std::uint32_t>(KVM_EXIT_IO));
  EXPECT_EQ(touches, 2);
  EXPECT_EQ(run.s.regs.regs.rax, near_before);
  EXPECT_EQ(run.s.regs.regs.rcx, far_before);
  EXPECT_EQ(machine_->word_of_page(TinyMachine::kFirstDataPage), near_before + 5);
  EXPECT_EQ(machine_->word_of_page(TinyMachine::kFirstDataPage + kFarPage), 0U);
  EXPECT_TRUE(machine_->vm.take_written().empty()) << "KVM wrote, and logs it";
}

TEST_F(MemoryPiecesTest, CarriesOutReadsAndWritesOfEverySize) {
  auto& run = machine_->vcpu->run_page();
  auto* at = memory_.regions[0].guest + 3 * kPageBytes;
  for (const std::uint32_t bytes : {1U, 2U, 3U, 4U, 8U}) {
    std::memset(at, 0x11, 16);
    run.mmio.phys_addr = memory_.regions[0].gpa + 3 * kPageBytes + 1;
    run.mmio.len = bytes;
    run.mmio.is_write = 1;
    std::memset(run.mmio.data, 0x55, sizeof run.mmio.data);
    ASSERT_TRUE(pieces_->on_mmio(run).value());
    for (std::uint32_t i = 0; i < 16; ++i) {
      ASSERT_EQ(at[i], i >= 1 && i <= bytes ? std::byte{0x55} : std::byte{0x11}) << i;
    }
    run.mmio.is_write = 0;
    std::memset(run.mmio.data, 0, sizeof run.mmio.data);
    ASSERT_TRUE(pieces_->on_mmio(run).value());
    for (std::uint32_t i = 0; i < bytes; ++i) {
      ASSERT_EQ(run.mmio.data[i], 0x55);
    }
  }
  EXPECT_EQ(machine_->vm.take_written(), (std::vector<PageId>(5, PageId{0, 3})));
  run.mmio.phys_addr = memory_.regions[1].gpa + (128 << kPageShift) - 4;
  run.mmio.len = 8;
  EXPECT_FALSE(pieces_->on_mmio(run).value()) << "beyond the end";
  run.mmio.phys_addr = 0xFEC00000;
  EXPECT_FALSE(pieces_->on_mmio(run).value()) << "no memory there";
}

}  // namespace
}  // namespace godwit::kvm
