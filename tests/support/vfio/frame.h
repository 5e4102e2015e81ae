// The numbered Ethernet frames that frame_source sends and vfio_nic receives.
//
// A frame says its number, when it was sent, and how many numbers before it were never sent because
// the emulator did not take them: so a number that is missing can be told from one that was lost.
// The rest is a pattern made of the number, so that a frame that came over only in part shows.
#ifndef TESTS_SUPPORT_VFIO_FRAME_H_
#define TESTS_SUPPORT_VFIO_FRAME_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace vmm {

inline constexpr size_t kFrameBytes = 128;
inline constexpr uint64_t kFrameMagic = 0x314d4152464f4956;  // "VIOFRAM1"
// IEEE 802 "local experimental" (RFC 5342, 2.3.4): no host makes anything of it.
inline constexpr uint16_t kFrameEtherType = 0x88b5;

struct __attribute__((packed)) Frame {
  uint8_t destination[6];
  uint8_t source[6];
  uint8_t ether_type[2];
  uint64_t magic;
  uint64_t number;   // from 1
  uint64_t sent_ns;  // CLOCK_REALTIME outside the test host
  uint64_t skipped;  // numbers below this one that were not sent
  uint8_t pattern[kFrameBytes - 46];
};
static_assert(sizeof(Frame) == kFrameBytes);
static_assert(offsetof(Frame, number) == 22);

inline uint8_t FramePattern(uint64_t number, size_t index) {
  return static_cast<uint8_t>(number * 31 + index * 7);
}

inline Frame MakeFrame(uint64_t number, uint64_t sent_ns, uint64_t skipped) {
  Frame frame = {};
  memset(frame.destination, 0xff, sizeof(frame.destination));
  frame.source[0] = 0x02;  // locally administered
  frame.ether_type[0] = kFrameEtherType >> 8;
  frame.ether_type[1] = kFrameEtherType & 0xff;
  frame.magic = kFrameMagic;
  frame.number = number;
  frame.sent_ns = sent_ns;
  frame.skipped = skipped;
  for (size_t i = 0; i < sizeof(frame.pattern); ++i) frame.pattern[i] = FramePattern(number, i);
  return frame;
}

inline bool IsNumbered(const Frame& frame) { return frame.magic == kFrameMagic; }

inline bool IsWhole(const Frame& frame) {
  for (size_t i = 0; i < sizeof(frame.pattern); ++i) {
    if (frame.pattern[i] != FramePattern(frame.number, i)) return false;
  }
  return true;
}

}  // namespace vmm

#endif  // TESTS_SUPPORT_VFIO_FRAME_H_
