#include "devices/legacy/serial16550.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>

#include "devices/device_test_suite.h"
#include "devices/legacy/fakes.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;

// Offsets and bits as a driver writes them (include/uapi/linux/serial_reg.h).
enum {
  RX = 0,
  TX = 0,
  DLL = 0,
  IER = 1,
  DLM = 1,
  IIR = 2,
  FCR = 2,
  LCR = 3,
  MCR = 4,
  LSR = 5,
  MSR = 6,
  SCR = 7
};
enum { RDI = 1, THRI = 2, RLSI = 4, MSI = 8 };
enum { DTR = 1, RTS = 2, OUT1 = 4, OUT2 = 8, LOOP = 0x10 };

class Serial16550Test : public ::testing::Test {
 protected:
  uint8_t In(uint64_t offset) {
    uint8_t value = 0;
    serial_->Read(offset, {&value, 1});
    return value;
  }
  void Out(uint64_t offset, uint8_t value) { serial_->Write(offset, {&value, 1}); }
  size_t Type(const std::string& text) {
    return serial_->Enqueue({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  // What a driver's interrupt handler reads.
  std::string Drain() {
    std::string text;
    while (In(LSR) & 1) text.push_back(In(RX));
    return text;
  }
  absl::Status RestoreFrom(const Tree& state) {
    auto restored = Serial16550::Restore(state, &line_, &output_);
    if (!restored.ok()) return restored.status();
    serial_ = *std::move(restored);
    return absl::OkStatus();
  }

  FakeInterruptLine line_;
  FakeSerialOutput output_;
  std::unique_ptr<Serial16550> serial_ = std::make_unique<Serial16550>(&line_, &output_);
};

TEST_F(Serial16550Test, WhatIsWrittenGoesOutInOrder) {
  for (char c : std::string("hello")) {
    EXPECT_EQ(In(LSR) & 0x60, 0x60);
    Out(TX, c);
  }
  EXPECT_EQ(output_.text, "hello");
  EXPECT_EQ(line_.calls, 0) << "no interrupt was enabled";
}

// The accesses of Linux's autoconfig() and autoconfig_16550a(), with
// CONFIG_SERIAL_8250_16550A_VARIANTS.
TEST_F(Serial16550Test, LinuxDetectsA16550A) {
  Out(IER, 0);
  EXPECT_EQ(In(IER), 0);
  Out(IER, 0x0f);
  EXPECT_EQ(In(IER), 0x0f);
  Out(IER, 0);

  Out(MCR, LOOP | OUT2 | RTS);
  EXPECT_EQ(In(MSR) & 0xf0, 0x90) << "loopback: RTS seen as CTS, OUT2 as DCD";
  Out(MCR, 0);

  Out(LCR, 0xbf);
  Out(FCR, 0);
  Out(LCR, 0);
  Out(FCR, 1);
  EXPECT_EQ(In(IIR) & 0xc0, 0xc0) << "not a 16550A: FIFOs do not work";

  for (uint8_t lcr : {0x80, 0xbf}) {
    Out(LCR, lcr);
    EXPECT_NE(In(2), 0) << "has an EFR: taken for a 16650";
  }
  Out(LCR, 0);
  Out(MCR, LOOP);
  Out(LCR, 0xe0);
  EXPECT_EQ(In(2) & LOOP, 0) << "has a second bank: taken for a National Semiconductor SuperIO";
  Out(LCR, 0);
  Out(MCR, 0);
  for (uint8_t lcr : {0x00, 0x80}) {
    Out(LCR, lcr);
    Out(FCR, 0x21);
    EXPECT_EQ(In(IIR) & 0xe0, 0xc0) << "has 64-byte FIFOs: taken for a TI16750";
  }
  Out(LCR, 0);
  Out(IER, 0x40);
  EXPECT_EQ(In(IER), 0) << "has a UUE bit: taken for an XScale";

  Out(SCR, 0xa5);
  EXPECT_EQ(In(SCR), 0xa5) << "no scratch register: taken for an 8250";
}

TEST_F(Serial16550Test, LinuxCountsSixteenBytesOfFifoInLoopback) {
  Out(FCR, 0x07);
  Out(MCR, LOOP);
  for (int i = 0; i < 256; ++i) Out(TX, i);
  const std::string received = Drain();
  EXPECT_EQ(received.size(), 16u) << "64 would be taken for a U6_16550A";
  EXPECT_EQ(received[15], 15) << "an overrun loses what came last";
  EXPECT_EQ(output_.text, "");
}

// serial8250_iir_txen_test() and serial8250_THRE_test().
TEST_F(Serial16550Test, LinuxFindsNoTransmitterBug) {
  for (int i = 0; i < 2; ++i) {
    Out(IER, THRI);
    EXPECT_EQ(In(IIR) & 0x0f, 0x02);
    Out(IER, 0);
    EXPECT_EQ(In(IIR) & 0x0f, 0x01);
  }
}

TEST_F(Serial16550Test, TransmitterInterruptIsAcknowledgedByReadingItsIdentity) {
  Out(IER, THRI);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(In(IIR), 0x02);
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(In(IIR), 0x01);
  Out(IER, THRI);
  EXPECT_EQ(In(IIR), 0x01) << "was enabled already";
  Out(TX, 'a');
  EXPECT_TRUE(line_.level) << "the byte is out at once";
  EXPECT_EQ(line_.edges, 2);
}

TEST_F(Serial16550Test, IdentitiesComeInOrderOfPriority) {
  Out(FCR, 0x41);  // trigger level 4
  Out(MCR, LOOP);
  for (int i = 0; i < 17; ++i) Out(TX, i);
  Out(MCR, LOOP | RTS);
  Out(IER, RDI | THRI | RLSI | MSI);
  EXPECT_EQ(In(IIR), 0xc6);
  EXPECT_EQ(In(LSR), 0x63);
  EXPECT_EQ(In(LSR), 0x61) << "overrun is cleared by reading";
  EXPECT_EQ(In(IIR), 0xc4);
  for (int i = 0; i < 13; ++i) EXPECT_EQ(In(RX), i);
  EXPECT_EQ(In(IIR), 0xcc) << "below the trigger level it is the time-out";
  EXPECT_EQ(Drain().size(), 3u);
  EXPECT_EQ(In(IIR), 0xc2) << "not acknowledged by reading a higher one";
  EXPECT_EQ(In(IIR), 0xc0);
  EXPECT_TRUE(line_.level);
  // DSR and DCD went when the loop was closed, CTS went and came.
  EXPECT_EQ(In(MSR), 0x1b);
  EXPECT_EQ(In(MSR), 0x10);
  EXPECT_EQ(In(IIR), 0xc1);
  EXPECT_FALSE(line_.level);
}

TEST_F(Serial16550Test, EnabledInterruptsAloneRaiseTheLine) {
  Type("x");
  EXPECT_FALSE(line_.level);
  Out(IER, RDI);
  EXPECT_TRUE(line_.level);
  Out(IER, 0);
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(In(IIR), 0x01);
}

TEST_F(Serial16550Test, RingIndicatorReportsItsTrailingEdge) {
  Out(MCR, LOOP | OUT1);
  In(MSR);
  EXPECT_EQ(In(MSR), 0x40);
  Out(MCR, LOOP);
  EXPECT_EQ(In(MSR), 0x04);
  Out(MCR, LOOP | OUT1);
  EXPECT_EQ(In(MSR), 0x40) << "a leading edge is not reported";
  Out(MCR, LOOP | DTR);
  EXPECT_EQ(In(MSR), 0x26);
}

TEST_F(Serial16550Test, DivisorLatchHidesDataAndInterruptEnable) {
  Out(IER, RLSI);
  Out(LCR, 0x83);
  EXPECT_EQ(In(DLL), 12);
  EXPECT_EQ(In(DLM), 0);
  Out(DLL, 0x34);
  Out(DLM, 0x12);
  EXPECT_EQ(In(DLL), 0x34);
  EXPECT_EQ(In(DLM), 0x12);
  Out(LCR, 0x03);
  EXPECT_EQ(In(IER), RLSI);
  EXPECT_EQ(In(LCR), 0x03);
  EXPECT_EQ(output_.text, "");
}

TEST_F(Serial16550Test, WideAccessIsOneOfBytesAtSuccessiveRegisters) {
  const uint8_t out[] = {'w', RDI | RLSI};
  serial_->Write(TX, out);
  EXPECT_EQ(output_.text, "w");
  uint8_t in[8];
  serial_->Read(0, absl::MakeSpan(in));
  EXPECT_EQ(in[IER], RDI | RLSI);
  EXPECT_EQ(in[LSR], 0x60);
}

TEST_F(Serial16550Test, EmptyReceiverReadsZeroAndReadOnlyRegistersStay) {
  EXPECT_EQ(In(RX), 0);
  Out(LSR, 0xff);
  Out(MSR, 0xff);
  EXPECT_EQ(In(LSR), 0x60);
  EXPECT_EQ(In(MSR), 0xb0);
}

TEST_F(Serial16550Test, TakesAsMuchInputAsFits) {
  EXPECT_EQ(Type("ab"), 1u) << "one receive buffer while the FIFOs are off";
  EXPECT_EQ(Drain(), "a");
  Out(FCR, 0x01);
  EXPECT_EQ(Type("0123456789"), 10u);
  EXPECT_EQ(Type("abcdefghij"), 6u);
  EXPECT_EQ(Type("z"), 0u);
  EXPECT_EQ(Drain(), "0123456789abcdef");
  EXPECT_EQ(In(LSR) & 2, 0) << "input never overruns";
}

TEST_F(Serial16550Test, RoomIsReportedOnceAndWhenTheFifoIsEmpty) {
  int room = 0;
  std::string rest;
  serial_->SetRoomCallback([&] {
    ++room;
    rest = rest.substr(Type(rest));
  });
  Out(FCR, 0x01);
  EXPECT_EQ(Type("0123456789abcdef"), 16u);
  EXPECT_EQ(Drain(), "0123456789abcdef");
  EXPECT_EQ(room, 0) << "nothing waited";

  rest = std::string(20, 'r');
  rest = rest.substr(Type(rest));
  for (int i = 0; i < 15; ++i) In(RX);
  EXPECT_EQ(room, 0);
  In(RX);
  EXPECT_EQ(room, 1);
  EXPECT_EQ(Drain(), "rrrr");
  EXPECT_EQ(room, 1);
}

TEST_F(Serial16550Test, ClearingAndLeavingLoopbackMakeRoom) {
  int room = 0;
  serial_->SetRoomCallback([&] { ++room; });
  Out(FCR, 0x01);
  Type(std::string(17, 'x'));
  Out(FCR, 0x03);
  EXPECT_EQ(room, 1) << "cleared";
  EXPECT_EQ(In(LSR), 0x60);

  Type(std::string(17, 'x'));
  Out(FCR, 0x00);
  EXPECT_EQ(room, 2) << "switched off";

  Out(MCR, LOOP);
  EXPECT_EQ(Type("x"), 0u) << "the wire is cut";
  Out(MCR, 0);
  EXPECT_EQ(room, 3);
}

TEST_F(Serial16550Test, OverrunWithoutFifosOverwrites) {
  Out(MCR, LOOP);
  Out(TX, 'a');
  Out(TX, 'b');
  EXPECT_EQ(In(LSR), 0x63);
  EXPECT_EQ(In(RX), 'b');
}

TEST_F(Serial16550Test, RestoredPortInterruptsForWhatIsPending) {
  Out(FCR, 0x81);
  Out(IER, RDI);
  Type("pending");
  const Tree state = serial_->Save();
  // The line may be left high by the old port, and the interrupt controllers may remember it so.
  ASSERT_TRUE(line_.level);
  line_.edges = 0;
  ASSERT_TRUE(RestoreFrom(state).ok());
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(line_.edges, 1);
  EXPECT_EQ(In(IIR), 0xcc);
  EXPECT_EQ(Drain(), "pending");
  EXPECT_FALSE(line_.level);
}

TEST_F(Serial16550Test, RestoredPortWithNothingPendingLowersTheLine) {
  const Tree state = serial_->Save();
  line_.Set(true);
  ASSERT_TRUE(RestoreFrom(state).ok());
  EXPECT_FALSE(line_.level);
}

TEST_F(Serial16550Test, RestoredTransmitterInterruptIsStillPending) {
  Out(IER, THRI);
  line_.edges = 0;
  ASSERT_TRUE(RestoreFrom(serial_->Save()).ok());
  EXPECT_EQ(line_.edges, 1);
  EXPECT_EQ(In(IIR), 0x02);
}

TEST_F(Serial16550Test, RefusesWhatARunningPortCannotBe) {
  const Tree good = serial_->Save();
  ASSERT_TRUE(RestoreFrom(good).ok());

  Tree overfull = good;
  overfull.SetU32("fcr", 0x01);
  overfull.SetBytes("rx-fifo", std::vector<uint8_t>(16));
  EXPECT_TRUE(RestoreFrom(overfull).ok());
  overfull.SetBytes("rx-fifo", std::vector<uint8_t>(17));
  EXPECT_THAT(std::string(RestoreFrom(overfull).message()), HasSubstr("17 bytes received"));
  overfull.SetU32("fcr", 0);
  overfull.SetBytes("rx-fifo", std::vector<uint8_t>(2));
  EXPECT_THAT(std::string(RestoreFrom(overfull).message()), HasSubstr("holds 1"));

  Tree trigger = good;
  trigger.SetU32("fcr", 0xc0);
  EXPECT_FALSE(RestoreFrom(trigger).ok());

  Tree pending = good;
  pending.SetU32("thre-pending", 1);
  EXPECT_FALSE(RestoreFrom(pending).ok());

  const std::pair<const char*, uint32_t> outside[] = {
      {"ier", 0x10},         {"fcr", 0x03},  {"lcr", 0x100},
      {"mcr", 0x20},         {"scr", 0x100}, {"divisor", 0x10000},
      {"modem-delta", 0x10}, {"overrun", 2}, {"thre-pending", 2},
  };
  for (const auto& [name, value] : outside) {
    Tree bad = good;
    bad.SetU32(name, value);
    EXPECT_EQ(RestoreFrom(bad).code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

TEST_F(Serial16550Test, InputAndGuestMeetFromTwoThreads) {
  constexpr size_t kBytes = 2000;
  Out(FCR, 0x01);
  Out(IER, RDI);
  std::thread input([this] {
    for (size_t sent = 0; sent < kBytes;) {
      const uint8_t bytes[] = {static_cast<uint8_t>(sent), static_cast<uint8_t>(sent + 1)};
      const size_t taken =
          serial_->Enqueue(absl::MakeConstSpan(bytes, std::min<size_t>(2, kBytes - sent)));
      sent += taken;
      if (taken == 0) std::this_thread::yield();
    }
  });
  size_t received = 0;
  size_t wrong = 0;
  while (received < kBytes) {
    for (char c : Drain()) wrong += static_cast<uint8_t>(c) != static_cast<uint8_t>(received++);
  }
  input.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_FALSE(line_.level);
}

struct SerialTraits {
  static constexpr uint64_t kSize = Serial16550::kRegisterCount;
  static std::set<std::string> FreeLength() { return {"rx-fifo"}; }

  std::unique_ptr<Device> Create() { return std::make_unique<Serial16550>(&line, &output); }
  absl::StatusOr<std::unique_ptr<Device>> Restore(const Tree& state) {
    return Serial16550::Restore(state, &line, &output);
  }
  void Disturb(Device& device, uint32_t random) {
    const std::vector<uint8_t> input(random % 32, static_cast<uint8_t>(random >> 8));
    static_cast<Serial16550&>(device).Enqueue(input);
  }

  FakeInterruptLine line;
  FakeSerialOutput output;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Serial16550, DeviceTest, SerialTraits);

}  // namespace
}  // namespace vmm
