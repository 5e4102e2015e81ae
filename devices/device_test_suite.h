// The tests that every Device must pass, whatever it does: what saving and restoring promise, and
// that no guest access can break it. Instantiated beside the device's own tests:
//
//   struct SerialTraits {
//     static constexpr uint64_t kSize = 8;            // bytes of bus range
//     static std::set<std::string> FreeLength() { return {"rx-fifo"}; }
//     std::unique_ptr<Device> Create();               // as after power-on
//     absl::StatusOr<std::unique_ptr<Device>> Restore(const Tree& state);
//     void Disturb(Device& device, uint32_t random);  // what the host may do to it at any time
//   };
//   INSTANTIATE_TYPED_TEST_SUITE_P(Serial16550, DeviceTest, SerialTraits);
//
// Traits is default-constructed for each test and owns what its devices were handed: lines, sinks,
// clocks that stand at zero. FreeLength() names the properties that may have more than one length;
// each must still have a limit below kTooLong. Every property counts as mandatory: a device whose
// Restore() makes up a default has a version to raise.
#ifndef DEVICES_DEVICE_TEST_SUITE_H_
#define DEVICES_DEVICE_TEST_SUITE_H_

#include <gtest/gtest.h>
#include <stdint.h>

#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tree.h"
#include "devices/device.h"

namespace vmm {

template <typename Traits>
class DeviceTest : public ::testing::Test {
 protected:
  static constexpr size_t kTooLong = 1 << 20;

  // Accesses of every size that the bus lets through, anywhere in the range, and the host's doings
  // in between.
  void Fuzz(Device& device, int steps) {
    for (int i = 0; i < steps; ++i) {
      const uint64_t size = uint64_t{1} << (random_() % 4);
      uint8_t data[8];
      for (uint8_t& byte : data) byte = random_();
      if (size <= Traits::kSize) {
        const uint64_t offset = random_() % (Traits::kSize - size + 1);
        if (random_() % 2) {
          device.Write(offset, absl::MakeConstSpan(data, size));
        } else {
          device.Read(offset, absl::MakeSpan(data, size));
        }
      }
      if (random_() % 8 == 0) traits_.Disturb(device, random_());
    }
  }

  // A device whose state is not that of power-on.
  std::unique_ptr<Device> CreateUsed() {
    std::unique_ptr<Device> device = traits_.Create();
    Fuzz(*device, 1000);
    return device;
  }

  static std::vector<uint8_t> Encode(const Tree& state) {
    Tree root;
    root.AddChild(state);
    auto bytes = EncodeTree(root);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    return bytes.ok() ? *bytes : std::vector<uint8_t>();
  }

  // `state` without property `name`.
  static Tree Without(const Tree& state, const std::string& name) {
    Tree copy(state.name());
    for (const auto& [property, value] : state.properties()) {
      if (property != name) copy.SetBytes(property, value);
    }
    for (const Tree& child : state.children()) copy.AddChild(child);
    return copy;
  }

  Traits traits_;
  std::minstd_rand random_{1};  // the same accesses in every run
};

TYPED_TEST_SUITE_P(DeviceTest);

TYPED_TEST_P(DeviceTest, SavingChangesNothing) {
  std::unique_ptr<Device> device = this->CreateUsed();
  const std::vector<uint8_t> first = this->Encode(device->Save());
  EXPECT_EQ(this->Encode(device->Save()), first);
}

TYPED_TEST_P(DeviceTest, RestoresToWhatWasSaved) {
  for (int round = 0; round < 50; ++round) {
    std::unique_ptr<Device> device = this->traits_.Create();
    this->Fuzz(*device, round * 5);
    const std::vector<uint8_t> saved = this->Encode(device->Save());
    auto root = DecodeTree(saved);
    ASSERT_TRUE(root.ok()) << root.status();
    device.reset();
    auto restored = this->traits_.Restore(root->children()[0]);
    ASSERT_TRUE(restored.ok()) << restored.status();
    EXPECT_EQ(this->Encode((*restored)->Save()), saved) << "round " << round;
    this->Fuzz(**restored, 100);
  }
}

TYPED_TEST_P(DeviceTest, ARestoredDeviceBehavesAsTheSavedOne) {
  std::unique_ptr<Device> original = this->CreateUsed();
  auto restored = this->traits_.Restore(original->Save());
  ASSERT_TRUE(restored.ok()) << restored.status();
  const std::minstd_rand start = this->random_;
  this->Fuzz(*original, 500);
  this->random_ = start;
  this->Fuzz(**restored, 500);
  EXPECT_EQ(this->Encode((*restored)->Save()), this->Encode(original->Save()));
}

TYPED_TEST_P(DeviceTest, RefusesAnotherCompatible) {
  Tree state = this->CreateUsed()->Save();
  auto compatible = state.GetString("compatible");
  ASSERT_TRUE(compatible.ok()) << compatible.status();
  EXPECT_EQ(compatible->substr(0, 4), "vmm,");
  for (const std::string& other : {*compatible + "0", std::string("vmm,other-v1"), std::string()}) {
    state.SetString("compatible", other);
    EXPECT_FALSE(this->traits_.Restore(state).ok()) << other;
  }
}

TYPED_TEST_P(DeviceTest, RefusesAStateThatLacksAProperty) {
  const Tree state = this->CreateUsed()->Save();
  for (const auto& [name, value] : state.properties()) {
    EXPECT_FALSE(this->traits_.Restore(this->Without(state, name)).ok()) << name;
  }
}

TYPED_TEST_P(DeviceTest, RefusesAPropertyOfAnotherLength) {
  const Tree state = this->CreateUsed()->Save();
  for (const auto& [name, value] : state.properties()) {
    std::set<size_t> lengths = {this->kTooLong};
    if (!TypeParam::FreeLength().contains(name)) {
      lengths.insert({0, value.size() - 1, value.size() + 1});
      lengths.erase(value.size());
    }
    for (size_t length : lengths) {
      Tree bad = state;
      Tree::Bytes bytes = value;
      bytes.resize(length);
      bad.SetBytes(name, bytes);
      EXPECT_FALSE(this->traits_.Restore(bad).ok()) << name << " of " << length << " bytes";
    }
  }
}

// Values from anywhere are refused or make a device that works; none crashes it later.
TYPED_TEST_P(DeviceTest, SurvivesRandomValues) {
  const Tree state = this->CreateUsed()->Save();
  for (int round = 0; round < 500; ++round) {
    Tree bad = state;
    for (const auto& [name, value] : state.properties()) {
      if (name == "compatible" || this->random_() % 4 != 0) continue;
      Tree::Bytes bytes = value;
      if (TypeParam::FreeLength().contains(name)) bytes.resize(this->random_() % 64);
      // Often the last byte alone, so that a number stays small enough to be believed.
      const size_t first = this->random_() % 4 == 0 || bytes.empty() ? 0 : bytes.size() - 1;
      for (size_t i = first; i < bytes.size(); ++i) bytes[i] = this->random_();
      bad.SetBytes(name, bytes);
    }
    auto device = this->traits_.Restore(bad);
    if (!device.ok()) continue;
    EXPECT_EQ(this->Encode((*device)->Save()), this->Encode(bad));
    this->Fuzz(**device, 50);
  }
}

REGISTER_TYPED_TEST_SUITE_P(DeviceTest, SavingChangesNothing, RestoresToWhatWasSaved,
                            ARestoredDeviceBehavesAsTheSavedOne, RefusesAnotherCompatible,
                            RefusesAStateThatLacksAProperty, RefusesAPropertyOfAnotherLength,
                            SurvivesRandomValues);

}  // namespace vmm

#endif  // DEVICES_DEVICE_TEST_SUITE_H_
