#include "devices/vfio/pci_config_space.h"

#include <sys/mman.h>
#include <unistd.h>

#include <memory>

#include "base/unique_fd.h"
#include "gtest/gtest.h"

namespace vmm {
namespace {

// 256 bytes of configuration space in a memfd.
class PciConfigSpaceTest : public testing::Test {
 protected:
  PciConfigSpaceTest()
      : file_(std::make_shared<const UniqueFd>(memfd_create("config", MFD_CLOEXEC))),
        config_(VfioRegion(file_, {.size = 256, .readable = true, .writable = true})) {
    EXPECT_EQ(ftruncate(file_->get(), 256), 0);
  }
  // With a list of capabilities whose first lies at `first`.
  void HasCapabilities(uint8_t first) {
    EXPECT_EQ(config_.Write<uint16_t>(0x06, 0x10), absl::OkStatus());
    EXPECT_EQ(config_.Write<uint8_t>(0x34, first), absl::OkStatus());
  }
  void Capability(uint8_t at, uint8_t id, uint8_t next) {
    EXPECT_EQ(config_.Write<uint16_t>(at, static_cast<uint16_t>(id | next << 8)), absl::OkStatus());
  }

  std::shared_ptr<const UniqueFd> file_;
  PciConfigSpace config_;
};

TEST_F(PciConfigSpaceTest, SetsAndClearsCommandBitsAndNoOthers) {
  ASSERT_EQ(config_.Write<uint16_t>(0x04, 0x0401), absl::OkStatus());
  ASSERT_EQ(config_.SetCommandBits(kPciCommandMemory | kPciCommandBusMaster), absl::OkStatus());
  EXPECT_EQ(*config_.Command(), 0x0407u);
  ASSERT_EQ(config_.ClearCommandBits(kPciCommandBusMaster), absl::OkStatus());
  EXPECT_EQ(*config_.Command(), 0x0403u);
}

TEST_F(PciConfigSpaceTest, FindsACapabilityAlongTheList) {
  HasCapabilities(0x40);
  Capability(0x40, 0x01, 0xc8);
  Capability(0xc8, 0x05, 0xa3);  // The lower two bits count for nothing.
  Capability(0xa0, 0x11, 0x00);
  EXPECT_EQ(*config_.FindCapability(0x11), 0xa0u);
  EXPECT_EQ(*config_.FindCapability(0x05), 0xc8u);
  EXPECT_EQ(config_.FindCapability(0x10).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(PciConfigSpaceTest, BelievesTheStatusRegisterThatThereIsNoList) {
  ASSERT_EQ(config_.Write<uint8_t>(0x34, 0x40), absl::OkStatus());
  Capability(0x40, 0x11, 0);
  EXPECT_EQ(config_.FindCapability(0x11).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(PciConfigSpaceTest, RefusesAListThatLoops) {
  HasCapabilities(0x40);
  Capability(0x40, 0x01, 0x50);
  Capability(0x50, 0x02, 0x40);
  EXPECT_EQ(config_.FindCapability(0x11).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(PciConfigSpaceTest, RefusesAListThatPointsIntoTheHeader) {
  HasCapabilities(0x10);
  EXPECT_EQ(config_.FindCapability(0x11).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace vmm
