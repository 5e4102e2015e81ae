#include "vmm/boot/acpi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <map>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "vmm/boot/acpi_structs.h"
#include "vmm/boot/aml.h"
#include "vmm/boot/platform.h"

namespace vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

uint8_t Sum(absl::Span<const uint8_t> bytes) {
  return static_cast<uint8_t>(std::accumulate(bytes.begin(), bytes.end(), 0));
}

template <typename T>
T As(absl::Span<const uint8_t> bytes) {
  T value = {};
  EXPECT_LE(sizeof(T), bytes.size());
  if (sizeof(T) <= bytes.size()) memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

// In what follows a unary plus copies a field: a reference into a packed struct may be misaligned.

void ExpectIoRegister(const AcpiRegister& actual, uint64_t port, int bits) {
  EXPECT_EQ(+actual.space, 1);
  EXPECT_EQ(+actual.bit_width, bits);
  EXPECT_EQ(+actual.address, port);
}

// The tables as a guest finds them: from the RSDP by addresses alone, each checked on the way.
class Walk {
 public:
  explicit Walk(const std::vector<uint8_t>& area) : area_(area) {
    const auto rsdp = As<AcpiRsdp>(area);
    EXPECT_EQ(memcmp(rsdp.signature, "RSD PTR ", 8), 0);
    EXPECT_EQ(+rsdp.revision, 2);
    EXPECT_EQ(+rsdp.length, sizeof(AcpiRsdp));
    EXPECT_EQ(Sum(absl::MakeConstSpan(area).first(20)), 0);
    EXPECT_EQ(Sum(absl::MakeConstSpan(area).first(36)), 0);
    const auto xsdt = Table(rsdp.xsdt_address, "XSDT");
    for (size_t i = sizeof(AcpiHeader); i < xsdt.size(); i += 8) {
      const auto address = As<uint64_t>(xsdt.subspan(i));
      const auto header = As<AcpiHeader>(At(address));
      const std::string signature(header.signature, 4);
      tables_[signature] = Table(address, signature);
    }
    tables_["DSDT"] = Table(fadt().x_dsdt, "DSDT");
  }

  absl::Span<const uint8_t> At(uint64_t address) const {
    EXPECT_GE(address, kAcpiArea.start.value());
    const uint64_t offset = address - kAcpiArea.start.value();
    EXPECT_LT(offset, area_.size());
    return absl::MakeConstSpan(area_).subspan(std::min<uint64_t>(offset, area_.size()));
  }

  const std::map<std::string, absl::Span<const uint8_t>>& tables() const { return tables_; }
  AcpiFadt fadt() const { return As<AcpiFadt>(tables_.at("FACP")); }

 private:
  absl::Span<const uint8_t> Table(uint64_t address, const std::string& signature) {
    const auto header = As<AcpiHeader>(At(address));
    EXPECT_EQ(std::string(header.signature, 4), signature);
    EXPECT_GE(+header.length, sizeof(AcpiHeader));
    EXPECT_LE(+header.length, At(address).size());
    const auto table = At(address).first(header.length);
    EXPECT_EQ(Sum(table), 0) << signature;
    return table;
  }

  const std::vector<uint8_t>& area_;
  std::map<std::string, absl::Span<const uint8_t>> tables_;
};

// Reads AML that is made of the terms in aml.h only, checking that every package ends where its
// length says.
class AmlReader {
 public:
  explicit AmlReader(absl::Span<const uint8_t> aml) { Terms(aml, ""); }

  // Each object's path and, where it is a number or a string, its value.
  const std::map<std::string, std::string>& objects() const { return objects_; }

 private:
  absl::Span<const uint8_t> Take(absl::Span<const uint8_t>& aml, size_t size) {
    EXPECT_LE(size, aml.size());
    const auto taken = aml.subspan(0, size);
    aml.remove_prefix(taken.size());
    return taken;
  }

  absl::Span<const uint8_t> TakePackage(absl::Span<const uint8_t>& aml) {
    const size_t before = aml.size();
    const uint8_t lead = Take(aml, 1)[0];
    size_t length = lead >> 6 == 0 ? lead : lead & 0xf;
    for (int i = 0; i < lead >> 6; ++i) length |= size_t{Take(aml, 1)[0]} << (4 + 8 * i);
    return Take(aml, length - (before - aml.size()));
  }

  std::string TakeName(absl::Span<const uint8_t>& aml) {
    const auto name = Take(aml, 4);
    return std::string(name.begin(), name.end());
  }

  std::string TakeData(absl::Span<const uint8_t>& aml) {
    const uint8_t opcode = Take(aml, 1)[0];
    uint64_t number = 0;
    switch (opcode) {
      case 0x00:
      case 0x01:
        return std::to_string(opcode);
      case 0x0a:
      case 0x0b:
      case 0x0c: {
        const size_t size = size_t{1} << (opcode - 0x0a);
        const auto bytes = Take(aml, size);
        memcpy(&number, bytes.data(), bytes.size());
        return std::to_string(number);
      }
      case 0x0d: {
        std::string text;
        while (char c = static_cast<char>(Take(aml, 1)[0])) text += c;
        return text;
      }
      case 0x11: {
        auto content = TakePackage(aml);
        const std::string size = TakeData(content);
        EXPECT_EQ(size, std::to_string(content.size()));
        return "buffer";
      }
      case 0x12: {
        auto content = TakePackage(aml);
        std::string text;
        for (int left = Take(content, 1)[0]; left > 0; --left) text += TakeData(content) + " ";
        EXPECT_TRUE(content.empty());
        return text;
      }
      default:
        ADD_FAILURE() << "unexpected opcode " << int{opcode};
        return "";
    }
  }

  void Terms(absl::Span<const uint8_t> aml, const std::string& path) {
    while (!aml.empty() && !::testing::Test::HasFailure()) {
      const uint8_t opcode = Take(aml, 1)[0];
      if (opcode == 0x08) {
        const std::string name = TakeName(aml);
        EXPECT_TRUE(objects_.emplace(path + name, TakeData(aml)).second) << path << name;
        continue;
      }
      if (opcode == 0x5b) {
        EXPECT_EQ(Take(aml, 1)[0], 0x82);
        auto content = TakePackage(aml);
        const std::string name = TakeName(content);
        Terms(content, path + name + ".");
        continue;
      }
      ASSERT_EQ(opcode, 0x10);
      auto content = TakePackage(aml);
      EXPECT_EQ(Take(content, 1)[0], '\\');
      const std::string name = TakeName(content);
      Terms(content, path + name + ".");
    }
  }

  std::map<std::string, std::string> objects_;
};

class AcpiTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    auto area = BuildAcpiTables(GetParam());
    ASSERT_TRUE(area.ok()) << area.status();
    area_ = *std::move(area);
  }
  std::vector<uint8_t> area_;
};

INSTANTIATE_TEST_SUITE_P(VcpuCounts, AcpiTest, ::testing::Values(1, 64, 255, kMaxVcpus));

TEST_P(AcpiTest, EveryTableIsFoundAndAddsUp) {
  ASSERT_LE(area_.size(), kAcpiArea.size);
  const Walk walk(area_);
  EXPECT_THAT(walk.tables(), SizeIs(3));
  EXPECT_EQ(walk.tables().count("FACP"), 1u);
  EXPECT_EQ(walk.tables().count("APIC"), 1u);
}

TEST_P(AcpiTest, FadtDescribesTheAgreedHardware) {
  const AcpiFadt fadt = Walk(area_).fadt();
  EXPECT_EQ(+fadt.header.revision, 6);
  EXPECT_EQ(+fadt.sci_int, 9);
  EXPECT_EQ(+fadt.smi_cmd, 0u);
  EXPECT_EQ(+fadt.pm1a_evt_blk, 0x600u);
  EXPECT_EQ(+fadt.pm1_evt_len, 4);
  EXPECT_EQ(+fadt.pm1a_cnt_blk, 0x604u);
  EXPECT_EQ(+fadt.pm1_cnt_len, 2);
  EXPECT_EQ(+fadt.pm_tmr_blk, 0x608u);
  EXPECT_EQ(+fadt.pm_tmr_len, 4);
  ExpectIoRegister(fadt.x_pm1a_evt_blk, 0x600, 32);
  ExpectIoRegister(fadt.x_pm1a_cnt_blk, 0x604, 16);
  ExpectIoRegister(fadt.x_pm_tmr_blk, 0x608, 32);
  ExpectIoRegister(fadt.reset_reg, 0xcf9, 8);
  EXPECT_EQ(+fadt.reset_value, 6);
  EXPECT_EQ(+fadt.flags & 1 << 4, 0u);   // a fixed power button
  EXPECT_NE(+fadt.flags & 1 << 8, 0u);   // a 32-bit timer
  EXPECT_NE(+fadt.flags & 1 << 10, 0u);  // the reset register
  EXPECT_EQ(+fadt.flags & 1 << 20, 0u);  // not hardware-reduced
  // ISA devices, no VGA, no CMOS clock; no 8042, MSI allowed.
  EXPECT_EQ(+fadt.iapc_boot_arch, 0x25);
  EXPECT_EQ(+fadt.dsdt, +fadt.x_dsdt);
}

TEST_P(AcpiTest, FacsIsAlignedAndEmpty) {
  const Walk walk(area_);
  const AcpiFadt fadt = walk.fadt();
  EXPECT_EQ(+fadt.firmware_ctrl % 64, 0u);
  EXPECT_EQ(+fadt.x_firmware_ctrl, 0u);
  const auto facs = As<AcpiFacs>(walk.At(fadt.firmware_ctrl));
  EXPECT_EQ(std::string(facs.signature, 4), "FACS");
  EXPECT_EQ(+facs.length, 64u);
  EXPECT_EQ(+facs.global_lock, 0u);
}

TEST_P(AcpiTest, MadtNamesEveryVcpuOnce) {
  const Walk walk(area_);
  auto madt = walk.tables().at("APIC");
  EXPECT_EQ(+As<AcpiMadt>(madt).local_apic_address, 0xfee00000u);
  EXPECT_EQ(+As<AcpiMadt>(madt).flags, 1u);
  madt.remove_prefix(sizeof(AcpiMadt));

  std::vector<std::pair<uint32_t, uint32_t>> processors;  // UID, APIC id
  std::map<uint8_t, int> others;
  while (!madt.empty()) {
    ASSERT_GE(madt.size(), 2u);
    const size_t length = madt[1];
    ASSERT_GE(length, 2u);
    ASSERT_LE(length, madt.size());
    if (madt[0] == 0) {
      const auto apic = As<MadtLocalApic>(madt);
      EXPECT_EQ(+apic.flags, 1u);
      processors.emplace_back(+apic.processor_uid, +apic.apic_id);
    } else if (madt[0] == 9) {
      const auto apic = As<MadtLocalX2Apic>(madt);
      EXPECT_EQ(+apic.flags, 1u);
      EXPECT_GE(+apic.x2apic_id, 255u);
      processors.emplace_back(+apic.processor_uid, +apic.x2apic_id);
    } else {
      ++others[madt[0]];
    }
    madt.remove_prefix(length);
  }
  ASSERT_THAT(processors, SizeIs(GetParam()));
  for (int i = 0; i < GetParam(); ++i) {
    EXPECT_EQ(processors[i], std::make_pair(uint32_t(i), uint32_t(i)));
  }
  EXPECT_EQ(others[1], 1);                          // the IOAPIC
  EXPECT_EQ(others[2], 2);                          // the timer and the SCI
  EXPECT_EQ(others[4], 1);                          // NMI
  EXPECT_EQ(others[10], GetParam() > 255 ? 1 : 0);  // NMI of those with x2APIC ids
}

TEST_P(AcpiTest, MadtOverridesTimerAndSci) {
  const Walk walk(area_);
  auto madt = walk.tables().at("APIC");
  madt.remove_prefix(sizeof(AcpiMadt));
  std::map<int, std::pair<uint32_t, uint16_t>> overrides;
  for (; !madt.empty(); madt.remove_prefix(madt[1])) {
    ASSERT_GE(madt[1], 2);
    if (madt[0] == 1) {
      const auto io_apic = As<MadtIoApic>(madt);
      EXPECT_EQ(+io_apic.address, 0xfec00000u);
      EXPECT_EQ(+io_apic.gsi_base, 0u);
    }
    if (madt[0] != 2) continue;
    const auto override = As<MadtInterruptOverride>(madt);
    EXPECT_EQ(+override.bus, 0);
    overrides[override.source] = std::make_pair(uint32_t{override.gsi}, uint16_t{override.flags});
  }
  EXPECT_EQ(overrides[0], std::make_pair(uint32_t{2}, uint16_t{0}));
  EXPECT_EQ(overrides[9], std::make_pair(uint32_t{9}, uint16_t{0xd}));
}

TEST_P(AcpiTest, DsdtHoldsSoftOffTheSerialPortAndEveryVcpu) {
  const Walk walk(area_);
  const AmlReader dsdt(walk.tables().at("DSDT").subspan(sizeof(AcpiHeader)));
  const auto& objects = dsdt.objects();
  EXPECT_THAT(objects, SizeIs(1 + 4 + 3 * GetParam()));
  EXPECT_EQ(objects.at("_S5_"), "5 5 0 0 ");
  EXPECT_EQ(objects.at("_SB_.COM1._HID"), std::to_string(0x0105d041));
  EXPECT_EQ(objects.at("_SB_.COM1._CRS"), "buffer");
  EXPECT_EQ(objects.at("_SB_.C000._HID"), "ACPI0007");
  EXPECT_EQ(objects.at("_SB_.C000._STA"), "15");
  std::set<std::string> uids;
  for (const auto& [path, value] : objects) {
    if (path.find(".C") != std::string::npos && path.find("._UID") != std::string::npos &&
        path.find("COM1") == std::string::npos) {
      uids.insert(value);
    }
  }
  EXPECT_THAT(uids, SizeIs(GetParam()));
  EXPECT_EQ(uids.count(std::to_string(GetParam() - 1)), 1u);
}

TEST(AcpiLimitsTest, VcpuCountsThatNoGuestHas) {
  for (int count : {-1, 0, kMaxVcpus + 1}) {
    EXPECT_EQ(BuildAcpiTables(count).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(AmlTest, PackageLengthsChangeWidthWhereTheSpecSays) {
  EXPECT_THAT(AmlPackageLength(0), ElementsAre(0x01));
  EXPECT_THAT(AmlPackageLength(0x3e), ElementsAre(0x3f));
  EXPECT_THAT(AmlPackageLength(0x3f), ElementsAre(0x41, 0x04));         // 0x41 bytes in all
  EXPECT_THAT(AmlPackageLength(0xffd), ElementsAre(0x4f, 0xff));        // 0xfff
  EXPECT_THAT(AmlPackageLength(0xffe), ElementsAre(0x81, 0x00, 0x01));  // 0x1001
  EXPECT_THAT(AmlPackageLength(0xffffc), ElementsAre(0x8f, 0xff, 0xff));
  EXPECT_THAT(AmlPackageLength(0xffffd), ElementsAre(0xc1, 0x00, 0x00, 0x01));
}

TEST(AmlTest, NumbersTakeTheShortestForm) {
  EXPECT_THAT(AmlInteger(0), ElementsAre(0x00));
  EXPECT_THAT(AmlInteger(1), ElementsAre(0x01));
  EXPECT_THAT(AmlInteger(0xff), ElementsAre(0x0a, 0xff));
  EXPECT_THAT(AmlInteger(0x100), ElementsAre(0x0b, 0x00, 0x01));
  EXPECT_THAT(AmlInteger(0x10000), ElementsAre(0x0c, 0x00, 0x00, 0x01, 0x00));
  EXPECT_THAT(AmlInteger(uint64_t{1} << 32), ElementsAre(0x0e, 0, 0, 0, 0, 1, 0, 0, 0));
}

TEST(AmlTest, TermsAreEncodedAsTheSpecHasThem) {
  EXPECT_THAT(AmlString("A"), ElementsAre(0x0d, 'A', 0));
  EXPECT_THAT(AmlBuffer({7, 8}), ElementsAre(0x11, 5, 0x0a, 2, 7, 8));
  EXPECT_THAT(AmlPackage({AmlInteger(0), AmlInteger(1)}), ElementsAre(0x12, 4, 2, 0, 1));
  EXPECT_THAT(AmlName("_UID", AmlInteger(1)), ElementsAre(0x08, '_', 'U', 'I', 'D', 1));
  EXPECT_THAT(AmlDevice("COM1", {}), ElementsAre(0x5b, 0x82, 5, 'C', 'O', 'M', '1'));
  EXPECT_THAT(AmlRootScope("_SB_", {}), ElementsAre(0x10, 6, '\\', '_', 'S', 'B', '_'));
}

}  // namespace
}  // namespace vmm
