#include "vmm/kvm/cpuid.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/kvm/cpuid_check.h"
#include "vmm/kvm/cpuid_table.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;
using Entries = std::vector<kvm_cpuid_entry2>;

constexpr uint32_t kXsave = Bit(26);
constexpr uint32_t kAvxBit = Bit(28);

kvm_cpuid_entry2 Leaf(uint32_t function, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx) {
  kvm_cpuid_entry2 entry = {};
  entry.function = function;
  entry.eax = eax;
  entry.ebx = ebx;
  entry.ecx = ecx;
  entry.edx = edx;
  return entry;
}

kvm_cpuid_entry2 SubLeaf(uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx,
                         uint32_t ecx, uint32_t edx) {
  kvm_cpuid_entry2 entry = Leaf(function, eax, ebx, ecx, edx);
  entry.index = index;
  entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
  return entry;
}

// A processor with AVX-512, PKRU, supervisor state, VMX, PMU and all that KVM paravirtualizes.
Entries Host() {
  return {
      Leaf(0x0, 0x1f, 0x756e6547, 0x6c65746e, 0x49656e69),
      Leaf(0x1, 0x000a0671, 0x07400800, 0xfffffffe & ~Bit(31), 0x0febfbff),
      SubLeaf(0x4, 0, 0x1c004121, 0, 0, 0),  // L1 data
      SubLeaf(0x4, 1, 0x1c1fc163, 0, 0, 0),  // L3
      SubLeaf(0x4, 2, 0, 0, 0, 0),
      Leaf(0x5, 0x40, 0x40, 3, 0x1020),
      SubLeaf(0x7, 0, 2, 0xffffffff, 0xffffffff, 0xffffffff),
      SubLeaf(0x7, 1, 0x1c30, 0, 0, 0),
      Leaf(0xa, 0x07300403, 0, 0, 0x603),
      SubLeaf(0xb, 0, 0, 0, 0, 9),
      SubLeaf(0xd, 0, 0x2e7, 0xa88, 0xa88, 0),
      SubLeaf(0xd, 1, 0xf, 0xa00, 0x1900, 0),
      SubLeaf(0xd, 2, 256, 576, 0, 0),
      SubLeaf(0xd, 5, 64, 1088, 0, 0),
      SubLeaf(0xd, 6, 512, 1152, 0, 0),
      SubLeaf(0xd, 7, 1024, 1664, 0, 0),
      SubLeaf(0xd, 9, 8, 2688, 0, 0),
      SubLeaf(0xd, 11, 16, 0, 1, 0),
      SubLeaf(0x1f, 0, 0, 0, 0, 9),
      Leaf(0x40000000, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d),
      Leaf(0x40000001, 0xffffffff, 0, 0, 0),
      Leaf(0x80000001, 0, 0, 0x121 | Bit(2), 0x2c100800),
      Leaf(0x80000008, 0x3930, 0, 0, 0),
      Leaf(0x8000000a, 1, 8, 0, 0xff),
      SubLeaf(0x8000001d, 0, 0x4121, 0, 0, 0),
      Leaf(0x8000001e, 0, 0, 0, 0),
  };
}

const kvm_cpuid_entry2& At(const Entries& entries, uint32_t function, uint32_t index = 0) {
  static const kvm_cpuid_entry2 kNone = {};
  const kvm_cpuid_entry2* entry = FindCpuid(absl::MakeConstSpan(entries), function, index);
  return entry == nullptr ? kNone : *entry;
}

kvm_cpuid_entry2& MutableAt(Entries& entries, uint32_t function, uint32_t index = 0) {
  return *FindCpuid(absl::MakeSpan(entries), function, index);
}

void EraseSubLeaf(Entries& entries, uint32_t function, uint32_t index) {
  std::erase_if(entries, [&](const kvm_cpuid_entry2& entry) {
    return entry.function == function && entry.index == index;
  });
}

TEST(GuestCpuidTest, HidesWhatIsNotSaved) {
  const Entries guest = GuestCpuid(Host(), {});
  EXPECT_EQ(At(guest, 1).ecx & (Bit(3) | Bit(5) | Bit(15)), 0u);  // MONITOR, VMX, PDCM
  EXPECT_NE(At(guest, 1).ecx & Bit(31), 0u);
  EXPECT_EQ(At(guest, 7).ecx & Bit(7), 0u);   // SHSTK
  EXPECT_EQ(At(guest, 7).edx & Bit(20), 0u);  // IBT
  EXPECT_EQ(At(guest, 0xa).eax, 0u);
  EXPECT_EQ(At(guest, 0x5).ecx, 0u);
  EXPECT_EQ(At(guest, 0x80000001).ecx & Bit(2), 0u);  // SVM
  EXPECT_EQ(At(guest, 0x8000000a).edx, 0u);
  // ASYNC_PF, ASYNC_PF_VMEXIT, ASYNC_PF_INT, MIGRATION_CONTROL go; kvmclock stays.
  EXPECT_EQ(At(guest, 0x40000001).eax & (Bit(4) | Bit(10) | Bit(14) | Bit(17)), 0u);
  EXPECT_EQ(At(guest, 0x40000001).eax & (Bit(0) | Bit(3) | Bit(24)), Bit(0) | Bit(3) | Bit(24));
}

TEST(GuestCpuidTest, DescribesOnePackageOfSingleThreadedCores) {
  const Entries guest = GuestCpuid(Host(), {.vcpu_id = 5, .vcpu_count = 6});
  EXPECT_EQ(At(guest, 1).ebx >> 24, 5u);
  EXPECT_EQ(At(guest, 1).ebx >> 16 & 0xff, 8u);
  EXPECT_NE(At(guest, 1).edx & Bit(28), 0u);
  EXPECT_EQ(At(guest, 4, 0).eax >> 14 & 0xfff, 0u);
  EXPECT_EQ(At(guest, 4, 0).eax >> 26, 7u);
  EXPECT_EQ(At(guest, 4, 1).eax >> 14 & 0xfff, 7u);
  EXPECT_EQ(At(guest, 4, 2).eax, 0u);
  for (uint32_t function : {0xbu, 0x1fu}) {
    EXPECT_EQ(At(guest, function, 0).eax, 0u);
    EXPECT_EQ(At(guest, function, 0).ebx, 1u);
    EXPECT_EQ(At(guest, function, 0).ecx, 0x100u);
    EXPECT_EQ(At(guest, function, 1).eax, 3u);
    EXPECT_EQ(At(guest, function, 1).ebx, 6u);
    EXPECT_EQ(At(guest, function, 1).ecx, 0x201u);
    EXPECT_EQ(At(guest, function, 2).ebx, 0u);
    EXPECT_EQ(At(guest, function, 2).edx, 5u);
  }
  EXPECT_EQ(At(guest, 0x80000001).ecx & Bit(1), Bit(1));
  EXPECT_EQ(At(guest, 0x80000008).ecx & 0xffff, 0x3005u);
  EXPECT_EQ(At(guest, 0x8000001d).eax >> 14, 0u);
  EXPECT_EQ(At(guest, 0x8000001e).eax, 5u);
  EXPECT_EQ(At(guest, 0x8000001e).ebx, 5u);
}

TEST(GuestCpuidTest, OneVcpuIsNoMultiprocessor) {
  const Entries guest = GuestCpuid(Host(), {});
  EXPECT_EQ(At(guest, 1).edx & Bit(28), 0u);
  EXPECT_EQ(At(guest, 1).ebx >> 16, 1u);
  EXPECT_EQ(At(guest, 0xb, 1).eax, 0u);
  EXPECT_EQ(At(guest, 0xb, 1).ebx, 1u);
}

TEST(GuestCpuidTest, CountsThatDoNotFitTheirFieldsAreCapped) {
  const Entries guest = GuestCpuid(Host(), {.vcpu_id = 1023, .vcpu_count = 1024});
  EXPECT_EQ(At(guest, 1).ebx >> 24, 0xffu);
  EXPECT_EQ(At(guest, 1).ebx >> 16 & 0xff, 0xffu);
  EXPECT_EQ(At(guest, 4, 0).eax >> 26, 63u);
  EXPECT_EQ(At(guest, 0xb, 1).ebx, 1024u);
  EXPECT_EQ(At(guest, 0xb, 0).edx, 1023u);
}

TEST(GuestCpuidTest, ConsistentXsaveIsKeptWithItsSizes) {
  const Entries guest = GuestCpuid(Host(), {});
  EXPECT_NE(At(guest, 1).ecx & kXsave, 0u);
  EXPECT_EQ(At(guest, 0xd, 0).eax, 0x2e7u);
  EXPECT_EQ(At(guest, 0xd, 0).ebx, 576u);
  EXPECT_EQ(At(guest, 0xd, 0).ecx, 2696u);
  EXPECT_EQ(At(guest, 0xd, 1).eax, 0xfu);
  EXPECT_EQ(At(guest, 0xd, 1).ebx, 576u + 256 + 64 + 512 + 1024 + 8);
  EXPECT_EQ(At(guest, 0xd, 1).ecx, 0u);
  EXPECT_EQ(At(guest, 0xd, 11).eax, 0u);  // supervisor state
}

TEST(GuestCpuidTest, CompactedSizeAlignsWhereTheComponentSaysSo) {
  Entries host = Host();
  MutableAt(host, 0xd, 6).ecx = Bit(1);
  MutableAt(host, 0xd, 9).ecx = Bit(1);
  // PKRU's 8 bytes are last, so only their start moves: 2432 is a multiple of 64 already.
  EXPECT_EQ(At(GuestCpuid(host, {}), 0xd, 1).ebx, 2440u);
  EraseSubLeaf(host, 0xd, 2);
  EraseSubLeaf(host, 0xd, 9);
  EXPECT_EQ(At(GuestCpuid(host, {}), 0xd, 1).ebx, 576u);
}

TEST(GuestCpuidTest, ComponentWithoutSubLeafGoesWithItsFeatures) {
  Entries host = Host();
  EraseSubLeaf(host, 0xd, 6);
  const Entries guest = GuestCpuid(host, {});
  EXPECT_EQ(At(guest, 0xd, 0).eax, 0x207u);
  EXPECT_EQ(At(guest, 0xd, 5).eax, 0u);
  EXPECT_EQ(At(guest, 0xd, 0).ecx, 2696u);      // PKRU stays where it is
  EXPECT_EQ(At(guest, 7).ebx & Bit(16), 0u);    // AVX512F
  EXPECT_NE(At(guest, 7).ebx & Bit(5), 0u);     // AVX2
  EXPECT_EQ(At(guest, 7, 1).eax & Bit(5), 0u);  // AVX512-BF16
  EXPECT_NE(At(guest, 7, 1).eax & Bit(4), 0u);  // AVX-VNNI
}

TEST(GuestCpuidTest, ComponentOfAnotherSizeOrPlaceGoes) {
  Entries host = Host();
  MutableAt(host, 0xd, 2).eax = 128;
  Entries guest = GuestCpuid(host, {});
  EXPECT_EQ(At(guest, 0xd, 0).eax, 0x203u);  // no AVX, so no AVX-512
  EXPECT_EQ(At(guest, 1).ecx & kAvxBit, 0u);

  host = Host();
  MutableAt(host, 0xd, 9).ebx = 100;  // inside the legacy area
  guest = GuestCpuid(host, {});
  EXPECT_EQ(At(guest, 0xd, 0).eax, 0xe7u);
  EXPECT_EQ(At(guest, 0xd, 0).ecx, 2688u);
  EXPECT_EQ(At(guest, 7).ecx & Bit(3), 0u);  // PKU

  host = Host();
  MutableAt(host, 0xd, 9).ebx = 0xffffffff;
  EXPECT_EQ(At(GuestCpuid(host, {}), 0xd, 0).eax, 0xe7u);
}

TEST(GuestCpuidTest, WithoutSseStateThereIsNoXsave) {
  Entries host = Host();
  MutableAt(host, 0xd, 0).eax = 0x5;
  const Entries guest = GuestCpuid(host, {});
  EXPECT_EQ(At(guest, 1).ecx & (kXsave | kAvxBit), 0u);
  EXPECT_EQ(At(guest, 7).ebx & Bit(5), 0u);
  for (const kvm_cpuid_entry2& entry : guest) EXPECT_NE(entry.function, 0xdu);
}

TEST(GuestCpuidTest, LeafDWithoutTheXsaveFeatureIsHidden) {
  Entries host = Host();
  MutableAt(host, 1).ecx &= ~kXsave;
  const Entries guest = GuestCpuid(host, {});
  EXPECT_EQ(At(guest, 1).ecx & kAvxBit, 0u);
  for (const kvm_cpuid_entry2& entry : guest) EXPECT_NE(entry.function, 0xdu);
}

TEST(GuestCpuidTest, AnEmptyTableStaysEmpty) { EXPECT_TRUE(GuestCpuid({}, {}).empty()); }

TEST(CheckCpuidOfferedTest, TheSameHostWillDo) {
  const Entries guest = GuestCpuid(Host(), {.vcpu_id = 3, .vcpu_count = 4});
  EXPECT_TRUE(CheckCpuidOffered(guest, Host()).ok()) << CheckCpuidOffered(guest, Host());
}

TEST(CheckCpuidOfferedTest, WhatTheGuestSwitchedOnDoesNotCount) {
  Entries guest = GuestCpuid(Host(), {});
  Entries host = Host();
  MutableAt(guest, 1).ecx |= Bit(27);
  MutableAt(host, 1).ecx &= ~Bit(27);
  MutableAt(guest, 7).ecx |= Bit(4);
  MutableAt(host, 7).ecx &= ~Bit(4);
  MutableAt(guest, 0xd).ebx = 832;
  EXPECT_TRUE(CheckCpuidOffered(guest, host).ok());
}

TEST(CheckCpuidOfferedTest, AHostWithMoreWillDo) {
  Entries old_host = Host();
  MutableAt(old_host, 7).ebx = 0x20;
  MutableAt(old_host, 0x80000008).eax = 0x3927;
  EXPECT_TRUE(CheckCpuidOffered(GuestCpuid(old_host, {}), Host()).ok());
}

TEST(CheckCpuidOfferedTest, MissingFeatureIsNamed) {
  const Entries guest = GuestCpuid(Host(), {});
  Entries host = Host();
  MutableAt(host, 7).ebx &= ~(Bit(5) | Bit(8));
  const absl::Status status = CheckCpuidOffered(guest, host);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("leaf 0x7.0 EBX bits 0x120"));
}

TEST(CheckCpuidOfferedTest, MissingLeafIsAMissingFeature) {
  const Entries guest = GuestCpuid(Host(), {});
  Entries host = Host();
  EraseSubLeaf(host, 0x40000001, 0);
  EXPECT_THAT(std::string(CheckCpuidOffered(guest, host).message()),
              HasSubstr("leaf 0x40000001.0 EAX"));
}

TEST(CheckCpuidOfferedTest, RefusesAnotherVendorLayoutAndNarrowerAddresses) {
  const Entries guest = GuestCpuid(Host(), {});
  Entries host = Host();
  MutableAt(host, 0).ebx = 0x68747541;
  EXPECT_THAT(std::string(CheckCpuidOffered(guest, host).message()), HasSubstr("vendor"));
  host = Host();
  MutableAt(host, 0xd, 9).ebx = 2752;
  EXPECT_THAT(std::string(CheckCpuidOffered(guest, host).message()),
              HasSubstr("XSAVE component 9"));
  host = Host();
  MutableAt(host, 0x80000008).eax = 0x3927;
  EXPECT_THAT(std::string(CheckCpuidOffered(guest, host).message()),
              HasSubstr("48 bits of physical address"));
}

}  // namespace
}  // namespace vmm
