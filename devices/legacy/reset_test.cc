#include "devices/legacy/reset.h"

#include <gtest/gtest.h>

#include "devices/device_test_suite.h"
#include "devices/legacy/fakes.h"

namespace vmm {
namespace {

uint8_t In(Device& device) {
  uint8_t value = 0;
  device.Read(0, {&value, 1});
  return value;
}

void Out(Device& device, uint8_t value) { device.Write(0, {&value, 1}); }

TEST(ResetControlTest, TheFadtsValueResets) {
  FakePowerSink sink;
  ResetControl reset(&sink);
  Out(reset, 0x06);
  EXPECT_EQ(sink.resets, 1);
  EXPECT_EQ(sink.power_offs, 0);
}

// native_machine_emergency_restart(), BOOT_CF9_SAFE.
TEST(ResetControlTest, LinuxRequestsThenResets) {
  FakePowerSink sink;
  ResetControl reset(&sink);
  const uint8_t before = In(reset) & ~0x06;
  Out(reset, before | 0x02);
  EXPECT_EQ(sink.resets, 0);
  EXPECT_EQ(In(reset), 0x02);
  Out(reset, before | 0x06);
  EXPECT_EQ(sink.resets, 1);
}

TEST(ResetControlTest, TheResetBitReadsZeroAndResetsEachTime) {
  FakePowerSink sink;
  ResetControl reset(&sink);
  Out(reset, 0xff);
  EXPECT_EQ(In(reset), 0x0a);
  Out(reset, 0x04);
  EXPECT_EQ(In(reset), 0x00);
  EXPECT_EQ(sink.resets, 2);
}

TEST(ResetControlTest, RefusesBitsThatCannotBeSet) {
  FakePowerSink sink;
  Tree state = ResetControl(&sink).Save();
  state.SetU32("control", 0x04);
  EXPECT_EQ(ResetControl::Restore(state, &sink).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(KeyboardResetTest, PulsesTheResetLine) {
  FakePowerSink sink;
  KeyboardReset keyboard(&sink);
  Out(keyboard, 0xd1);
  Out(keyboard, 0xff);
  EXPECT_EQ(sink.resets, 0);
  Out(keyboard, 0xfe);
  EXPECT_EQ(sink.resets, 1);
}

TEST(KeyboardResetTest, LinuxFindsNoControllerButMaySendTheReset) {
  FakePowerSink sink;
  KeyboardReset keyboard(&sink);
  for (int i = 0; i < 17; ++i) {
    EXPECT_EQ(In(keyboard) & 0x01, 0x01) << "i8042_flush() would find a controller";
  }
  EXPECT_EQ(In(keyboard) & 0x02, 0x00) << "kb_wait() would wait";
}

template <typename T>
struct ResetTraits {
  static constexpr uint64_t kSize = T::kSize;
  static std::set<std::string> FreeLength() { return {}; }

  std::unique_ptr<Device> Create() { return std::make_unique<T>(&sink); }
  absl::StatusOr<std::unique_ptr<Device>> Restore(const Tree& state) {
    return T::Restore(state, &sink);
  }
  void Disturb(Device&, uint32_t) {}

  FakePowerSink sink;
};

INSTANTIATE_TYPED_TEST_SUITE_P(ResetControl, DeviceTest, ResetTraits<ResetControl>);
INSTANTIATE_TYPED_TEST_SUITE_P(KeyboardReset, DeviceTest, ResetTraits<KeyboardReset>);

}  // namespace
}  // namespace vmm
