#include "vmm/boot/vcpu_setup.h"

#include <gtest/gtest.h>
#include <stdint.h>
#include <string.h>

#include "vmm/boot/platform.h"

namespace vmm {
namespace {

constexpr BootEntry kLinux64{BootEntry::Protocol::kLinux64, GuestAddress(0x1000200),
                             kZeroPageAddress};
constexpr BootEntry kPvh{BootEntry::Protocol::kPvh, GuestAddress(0x1d57e50), kStartInfoAddress};

class VcpuSetupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto memory = GuestMemory::Create({.size = 2 << 20, .huge_pages = HugePages::kOff});
    ASSERT_TRUE(memory.ok()) << memory.status();
    memory_ = std::make_unique<GuestMemory>(*std::move(memory));
    // As if something else had been there.
    memset(&regs_, 0xff, sizeof(regs_));
    memset(&sregs_, 0xff, sizeof(sregs_));
    sregs_.apic_base = 0xfee00900;
  }

  uint64_t Load(uint64_t address) {
    auto value = memory_->Load<uint64_t>(GuestAddress(address));
    EXPECT_TRUE(value.ok()) << value.status();
    return value.value_or(0);
  }

  uint64_t Descriptor(uint16_t selector) { return Load(sregs_.gdt.base + selector); }

  // The physical address that 4-level paging gives for `linear`, by the tables in guest RAM.
  uint64_t Translate(uint64_t linear) {
    constexpr uint64_t kAddress = 0x000ffffffffff000;
    uint64_t entry = Load((sregs_.cr3 & kAddress) + 8 * (linear >> 39 & 511));
    EXPECT_EQ(entry & 3, 3u);
    entry = Load((entry & kAddress) + 8 * (linear >> 30 & 511));
    EXPECT_EQ(entry & 0x83, 3u);
    entry = Load((entry & kAddress) + 8 * (linear >> 21 & 511));
    EXPECT_EQ(entry & 0x83, 0x83u);
    return (entry & kAddress) | (linear & 0x1fffff);
  }

  std::unique_ptr<GuestMemory> memory_;
  kvm_regs regs_;
  kvm_sregs sregs_;
};

TEST_F(VcpuSetupTest, Linux64EntersInLongMode) {
  ASSERT_TRUE(SetUpBootVcpu(*memory_, kLinux64, &regs_, &sregs_).ok());
  EXPECT_EQ(regs_.rip, 0x1000200u);
  EXPECT_EQ(regs_.rsi, kZeroPageAddress.value());
  EXPECT_EQ(regs_.rflags, 2u);  // interrupts off
  EXPECT_EQ(regs_.rbx, 0u);
  EXPECT_EQ(sregs_.cr0, 0x80000011u);
  EXPECT_EQ(sregs_.cr4, 0x20u);
  EXPECT_EQ(sregs_.efer, 0x500u);
  EXPECT_EQ(sregs_.cs.selector, 0x10);
  EXPECT_EQ(sregs_.cs.l, 1);
  EXPECT_EQ(sregs_.cs.db, 0);
  for (const kvm_segment* segment : {&sregs_.ds, &sregs_.es, &sregs_.ss}) {
    EXPECT_EQ(segment->selector, 0x18);
    EXPECT_EQ(segment->base, 0u);
    EXPECT_EQ(segment->limit, 0xffffffffu);
  }
  EXPECT_EQ(sregs_.apic_base, 0xfee00900u);
}

TEST_F(VcpuSetupTest, Linux64PagesAreOneToOneUpTo4GiB) {
  ASSERT_TRUE(SetUpBootVcpu(*memory_, kLinux64, &regs_, &sregs_).ok());
  for (uint64_t linear : {uint64_t{0}, uint64_t{0x7000}, uint64_t{0x1000200}, uint64_t{0x3fffffff},
                          uint64_t{0x40000000}, uint64_t{0xbfffffff}, uint64_t{0xffffffff}}) {
    EXPECT_EQ(Translate(linear), linear);
  }
  EXPECT_EQ(Load(sregs_.cr3 + 8), 0u);
  EXPECT_EQ(Load(sregs_.cr3 + 4096 + 8 * 4), 0u);
}

TEST_F(VcpuSetupTest, Linux64DescriptorsMatchTheSegments) {
  ASSERT_TRUE(SetUpBootVcpu(*memory_, kLinux64, &regs_, &sregs_).ok());
  EXPECT_EQ(sregs_.gdt.limit, 47);
  EXPECT_EQ(Descriptor(0), 0u);
  EXPECT_EQ(Descriptor(0x10), 0x00af9b000000ffffu);
  EXPECT_EQ(Descriptor(0x18), 0x00cf93000000ffffu);
  EXPECT_EQ(Descriptor(0x20), 0x00008b0000000067u);
  EXPECT_EQ(Descriptor(0x28), 0u);
}

TEST_F(VcpuSetupTest, PvhEntersInFlatProtectedMode) {
  ASSERT_TRUE(SetUpBootVcpu(*memory_, kPvh, &regs_, &sregs_).ok());
  EXPECT_EQ(regs_.rip, 0x1d57e50u);
  EXPECT_EQ(regs_.rbx, kStartInfoAddress.value());
  EXPECT_EQ(regs_.rsi, 0u);
  EXPECT_EQ(regs_.rflags, 2u);
  EXPECT_EQ(sregs_.cr0, 0x11u);
  EXPECT_EQ(sregs_.cr3, 0u);
  EXPECT_EQ(sregs_.cr4, 0u);
  EXPECT_EQ(sregs_.efer, 0u);
  EXPECT_EQ(sregs_.cs.db, 1);
  EXPECT_EQ(sregs_.cs.l, 0);
  EXPECT_EQ(sregs_.cs.limit, 0xffffffffu);
  EXPECT_EQ(sregs_.tr.base, 0u);
  EXPECT_EQ(sregs_.tr.limit, 0x67u);
  EXPECT_EQ(sregs_.tr.type, 0xb);
  EXPECT_EQ(Descriptor(0x10), 0x00cf9b000000ffffu);
}

TEST(VcpuSetupErrorTest, RamWithoutRoomForTheTables) {
  auto memory = GuestMemory::Create({.size = 4096, .huge_pages = HugePages::kOff});
  ASSERT_TRUE(memory.ok()) << memory.status();
  kvm_regs regs;
  kvm_sregs sregs = {};
  EXPECT_EQ(SetUpBootVcpu(*memory, kLinux64, &regs, &sregs).code(), absl::StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace vmm
