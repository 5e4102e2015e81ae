#include "devices/vfio/pci_address.h"

#include "gtest/gtest.h"

namespace vmm {
namespace {

TEST(PciAddressTest, ReadsWhatSysfsWrites) {
  const absl::StatusOr<PciAddress> address = PciAddress::Parse("0001:a2:1f.7");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(*address, (PciAddress{.domain = 1, .bus = 0xa2, .device = 0x1f, .function = 7}));
  EXPECT_EQ(address->ToString(), "0001:a2:1f.7");
}

TEST(PciAddressTest, TakesTheDomainForGranted) {
  const absl::StatusOr<PciAddress> address = PciAddress::Parse("00:02.0");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(address->ToString(), "0000:00:02.0");
}

TEST(PciAddressTest, HasDomainsOf32Bits) {
  const absl::StatusOr<PciAddress> address = PciAddress::Parse("10000:e0:06.0");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(address->domain, 0x10000u);
  EXPECT_EQ(address->ToString(), "10000:e0:06.0");
}

TEST(PciAddressTest, RefusesAllElse) {
  for (const char* text : {"",
                           ":",
                           ".",
                           "02.0",
                           "00:02",
                           "00:02.",
                           "00:02.8",
                           "00:20.0",
                           "100:00.0",
                           "00:002.0",
                           "0000:00:02.0:",
                           "0000:00:02.0 ",
                           " 00:02.0",
                           "00:-2.0",
                           "00:0x2.0",
                           "g0:02.0",
                           "123456789:00:02.0",
                           "0000:00:02.00",
                           "0000:0000:00:02.0",
                           "../00:02.0"}) {
    EXPECT_EQ(PciAddress::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace vmm
