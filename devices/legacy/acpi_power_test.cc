#include "devices/legacy/acpi_power.h"

#include <gtest/gtest.h>

#include "devices/device_test_suite.h"
#include "devices/legacy/fakes.h"

namespace vmm {
namespace {

constexpr uint64_t kStatus = 0;
constexpr uint64_t kEnable = 2;
constexpr uint64_t kControl = 4;
constexpr uint64_t kTimer = 8;
constexpr uint16_t kPowerButton = 0x100;

class AcpiPowerTest : public ::testing::Test {
 protected:
  uint32_t In(uint64_t offset, size_t size) {
    uint8_t bytes[4] = {};
    power_->Read(offset, absl::MakeSpan(bytes, size));
    return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<uint32_t>(bytes[3]) << 24;
  }
  uint16_t In16(uint64_t offset) { return In(offset, 2); }
  void Out16(uint64_t offset, uint16_t value) {
    const uint8_t bytes[] = {static_cast<uint8_t>(value), static_cast<uint8_t>(value >> 8)};
    power_->Write(offset, bytes);
  }
  void Out8(uint64_t offset, uint8_t value) { power_->Write(offset, {&value, 1}); }
  absl::Status RestoreFrom(const Tree& state) {
    auto restored = AcpiPower::Restore(state, &sink_, &sci_, [this] { return now_; });
    if (!restored.ok()) return restored.status();
    power_ = *std::move(restored);
    return absl::OkStatus();
  }

  uint64_t now_ = 0;
  FakePowerSink sink_;
  FakeInterruptLine sci_;
  std::unique_ptr<AcpiPower> power_ =
      std::make_unique<AcpiPower>(&sink_, &sci_, [this] { return now_; });
};

TEST_F(AcpiPowerTest, IsInAcpiModeFromTheStart) {
  EXPECT_EQ(In16(kControl), 1);
  Out16(kControl, 0);
  EXPECT_EQ(In16(kControl), 1);
}

TEST_F(AcpiPowerTest, SleepTypeFiveWithSleepEnablePowersOff) {
  // Linux writes the type first, then both (drivers/acpi/acpica/hwsleep.c).
  Out16(kControl, 5 << 10 | 1);
  EXPECT_EQ(sink_.power_offs, 0);
  EXPECT_EQ(In16(kControl), 5 << 10 | 1);
  Out16(kControl, 1 << 13 | 5 << 10 | 1);
  EXPECT_EQ(sink_.power_offs, 1);
  EXPECT_EQ(In16(kControl), 5 << 10 | 1) << "SLP_EN reads zero";
}

TEST_F(AcpiPowerTest, PowersOffByAByteAccessToo) {
  Out8(kControl + 1, 1 << 5 | 5 << 2);
  EXPECT_EQ(sink_.power_offs, 1);
}

TEST_F(AcpiPowerTest, OtherSleepingStatesAreIgnored) {
  for (uint16_t type : {0, 1, 2, 3, 4, 6, 7}) Out16(kControl, 1 << 13 | type << 10);
  EXPECT_EQ(sink_.power_offs, 0);
  EXPECT_EQ(sink_.resets, 0);
}

TEST_F(AcpiPowerTest, PowerButtonRaisesTheInterruptUntilItIsCleared) {
  power_->PressPowerButton();
  EXPECT_EQ(In16(kStatus), kPowerButton);
  EXPECT_FALSE(sci_.level) << "not enabled";
  Out16(kEnable, kPowerButton);
  EXPECT_TRUE(sci_.level);
  Out16(kStatus, 0);
  EXPECT_TRUE(sci_.level) << "writing zeros clears nothing";
  Out16(kStatus, kPowerButton);
  EXPECT_FALSE(sci_.level);
  EXPECT_EQ(In16(kStatus), 0);
  power_->PressPowerButton();
  EXPECT_TRUE(sci_.level);
  Out16(kEnable, 0);
  EXPECT_FALSE(sci_.level);
}

TEST_F(AcpiPowerTest, EnablesStickWhereAnOsChecks) {
  Out16(kEnable, 0xffff);
  EXPECT_EQ(In16(kEnable), 0x0720) << "all but the timer's, which raises no interrupt";
  EXPECT_EQ(In(kStatus, 4), 0x07200000u);
  Out8(kEnable, 0);
  EXPECT_EQ(In16(kEnable), 0x0700);
  Out8(kEnable + 1, 0);
  EXPECT_EQ(In16(kEnable), 0);
}

TEST_F(AcpiPowerTest, TimerCountsAtItsFrequency) {
  EXPECT_EQ(In(kTimer, 4), 0u);
  now_ = 1000000000;
  EXPECT_EQ(In(kTimer, 4), 3579545u);
  Out16(kTimer, 0);
  EXPECT_EQ(In(kTimer, 4), 3579545u) << "read-only";
  now_ = uint64_t{3600} * 1000000000;
  EXPECT_EQ(In(kTimer, 4), static_cast<uint32_t>(uint64_t{3579545} * 3600)) << "wraps at 32 bits";
  EXPECT_EQ(In(kTimer + 2, 2), In(kTimer, 4) >> 16);
}

TEST_F(AcpiPowerTest, TimerFollowsAClockThatGoesOnAcrossAnUpdate) {
  now_ = 5000000000;
  const Tree state = power_->Save();
  now_ = 7000000000;  // the blackout
  ASSERT_TRUE(RestoreFrom(state).ok());
  EXPECT_EQ(In(kTimer, 4), 3579545u * 7);
}

TEST_F(AcpiPowerTest, TimerGoesOnWhereTheClockStartsAnew) {
  now_ = 5000000000;
  const Tree state = power_->Save();
  now_ = 2000000000;
  ASSERT_TRUE(RestoreFrom(state).ok());
  EXPECT_EQ(In(kTimer, 4), 3579545u * 5);
  now_ += 1000000000;
  EXPECT_EQ(In(kTimer, 4), 3579545u * 6);
}

TEST_F(AcpiPowerTest, ButtonPressedBeforeAnUpdateInterruptsAfterIt) {
  Out16(kEnable, kPowerButton);
  power_->PressPowerButton();
  const Tree state = power_->Save();
  sci_.level = false;
  ASSERT_TRUE(RestoreFrom(state).ok());
  EXPECT_TRUE(sci_.level);
  Out16(kStatus, kPowerButton);
  EXPECT_FALSE(sci_.level);
}

TEST_F(AcpiPowerTest, RefusesBitsThatCannotBeSet) {
  const Tree good = power_->Save();
  const std::pair<const char*, uint32_t> outside[] = {
      {"pm1-status", 1},  {"pm1-status", 0x10100},  {"pm1-enable", 1},
      {"pm1-control", 1}, {"pm1-control", 1 << 13}, {"pm1-enable", 0x10000},
  };
  for (const auto& [name, value] : outside) {
    Tree bad = good;
    bad.SetU32(name, value);
    EXPECT_EQ(RestoreFrom(bad).code(), absl::StatusCode::kInvalidArgument) << name << " " << value;
  }
}

struct AcpiPowerTraits {
  static constexpr uint64_t kSize = AcpiPower::kSize;
  static std::set<std::string> FreeLength() { return {}; }

  std::unique_ptr<Device> Create() {
    return std::make_unique<AcpiPower>(&sink, &sci, [] { return 0; });
  }
  absl::StatusOr<std::unique_ptr<Device>> Restore(const Tree& state) {
    return AcpiPower::Restore(state, &sink, &sci, [] { return 0; });
  }
  void Disturb(Device& device, uint32_t) { static_cast<AcpiPower&>(device).PressPowerButton(); }

  FakePowerSink sink;
  FakeInterruptLine sci;
};

INSTANTIATE_TYPED_TEST_SUITE_P(AcpiPower, DeviceTest, AcpiPowerTraits);

}  // namespace
}  // namespace vmm
