#include "devices/vfio/vfio_interrupts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <string.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/unique_fd.h"
#include "gtest/gtest.h"

namespace vmm {
namespace {

VfioInterrupts OfNoDevice(uint32_t count) {
  return VfioInterrupts(std::make_shared<const UniqueFd>(open("/dev/null", O_RDWR | O_CLOEXEC)),
                        InterruptKind::kMsix, {.count = count});
}

TEST(EncodeIrqSetTest, LaysOutTheEventFds) {
  const auto bytes =
      EncodeIrqSet(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, InterruptKind::kMsix,
                   /*first=*/1, /*count=*/2, {7, -1}, /*limit=*/3);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  ASSERT_EQ(bytes->size(), 28u);
  vfio_irq_set fixed;
  memcpy(&fixed, bytes->data(), sizeof(fixed));
  EXPECT_EQ(fixed.argsz, 28u);
  EXPECT_EQ(fixed.flags,
            static_cast<uint32_t>(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER));
  EXPECT_EQ(fixed.index, static_cast<uint32_t>(VFIO_PCI_MSIX_IRQ_INDEX));
  EXPECT_EQ(fixed.start, 1u);
  EXPECT_EQ(fixed.count, 2u);
  int32_t event_fds[2];
  memcpy(event_fds, bytes->data() + 20, sizeof(event_fds));
  EXPECT_EQ(event_fds[0], 7);
  EXPECT_EQ(event_fds[1], -1);
}

TEST(EncodeIrqSetTest, NeedsNoEventFds) {
  const auto bytes = EncodeIrqSet(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK,
                                  InterruptKind::kIntx, 0, 1, {}, 1);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(bytes->size(), 20u);
}

TEST(EncodeIrqSetTest, RefusesVectorsThatAreNotThere) {
  for (const auto& [first, count] : std::vector<std::pair<uint32_t, uint32_t>>{
           {0, 6}, {5, 1}, {6, 0}, {UINT32_MAX, 2}, {2, UINT32_MAX}}) {
    EXPECT_EQ(EncodeIrqSet(0, InterruptKind::kMsi, first, count, {}, 5).status().code(),
              absl::StatusCode::kOutOfRange)
        << first << " " << count;
  }
}

TEST(EncodeIrqSetTest, RefusesAnotherNumberOfEventFds) {
  EXPECT_EQ(EncodeIrqSet(0, InterruptKind::kMsi, 0, 2, {1}, 5).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(VfioInterruptsTest, NoVectorsNeverMeansAllOfThem) {
  VfioInterrupts interrupts = OfNoDevice(5);
  EXPECT_EQ(interrupts.SetEventFds(0, {}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(StatusErrno(interrupts.SetEventFds(0, {})), 0);
  EXPECT_EQ(StatusErrno(interrupts.Trigger(0, 0)), 0);
}

TEST(VfioInterruptsTest, ErrorsSayWhatWasTried) {
  VfioInterrupts interrupts = OfNoDevice(5);
  const absl::Status status = interrupts.Mask(1, 2);
  EXPECT_EQ(StatusErrno(status), ENOTTY);
  EXPECT_EQ(std::string(status.message()).rfind("mask MSI-X vectors, 2 from 1 on: ", 0), 0u)
      << status;
}

}  // namespace
}  // namespace vmm
