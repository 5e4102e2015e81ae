#include <gtest/gtest.h>
#include <sys/socket.h>

#include <filesystem>
#include <mutex>
#include <string>

#include "devices/console/console.h"
#include "devices/console/test_support.h"

namespace vmm {
namespace {

class ConsoleSocketTest : public ::testing::Test {
 protected:
  ConsoleSocketTest() {
    auto console = Console::Open("socket:" + path());
    EXPECT_TRUE(console.ok()) << console.status();
    console_ = *std::move(console);
    EXPECT_EQ(
        console_->Start({.input =
                             [this](absl::Span<const uint8_t> bytes) {
                               std::lock_guard<std::mutex> lock(mutex_);
                               if (!reads_) return size_t{0};
                               input_.append(bytes.begin(), bytes.end());
                               return bytes.size();
                             },
                         .quit = [] { ADD_FAILURE() << "a socket has no keys for the VMM"; }}),
        absl::OkStatus());
  }

  std::string path() const { return dir_.Path("console"); }
  void Print(const std::string& text) {
    console_->Write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  std::string input() {
    std::lock_guard<std::mutex> lock(mutex_);
    return input_;
  }
  void set_reads(bool reads) {
    std::lock_guard<std::mutex> lock(mutex_);
    reads_ = reads;
  }

  TempDir dir_;
  std::mutex mutex_;
  std::string input_;
  bool reads_ = true;
  std::unique_ptr<Console> console_;
};

TEST_F(ConsoleSocketTest, AClientTalksWithTheGuest) {
  UniqueFd client = ConnectTo(path());
  ASSERT_TRUE(client.valid());
  Print("login: ");
  EXPECT_EQ(ReadBytes(client.get(), 7), "login: ");
  WriteAll(client.get(), "root\x01x\n");
  EXPECT_TRUE(Eventually([&] { return input() == "root\x01x\n"; }));
}

TEST_F(ConsoleSocketTest, AClientFirstGetsWhatItMissed) {
  Print("booted\n");
  EXPECT_TRUE(console_->Flush(absl::Seconds(20)).ok()) << "there is nobody to wait for";
  UniqueFd client = ConnectTo(path());
  EXPECT_EQ(ReadBytes(client.get(), 7), "booted\n");
}

TEST_F(ConsoleSocketTest, TheLast64KiBAreKept) {
  for (int i = 0; i < 128; ++i) Print(std::string(1024, 'a' + i / 64));
  Print("end");
  UniqueFd client = ConnectTo(path());
  EXPECT_EQ(ReadBytes(client.get(), 64 << 10), std::string((64 << 10) - 3, 'b') + "end");
  Print("next");
  EXPECT_EQ(ReadBytes(client.get(), 4), "next");
}

TEST_F(ConsoleSocketTest, ASecondClientWaitsForTheFirstToGo) {
  UniqueFd first = ConnectTo(path());
  Print("one");
  EXPECT_EQ(ReadBytes(first.get(), 3), "one");
  UniqueFd second = ConnectTo(path());
  ASSERT_TRUE(second.valid());
  WriteAll(second.get(), "early");
  Print("two");
  EXPECT_EQ(ReadBytes(first.get(), 3), "two");
  EXPECT_EQ(input(), "");
  first.Reset();
  EXPECT_TRUE(Eventually([&] { return input() == "early"; }));
  Print("three");
  EXPECT_EQ(ReadBytes(second.get(), 5), "three");
}

TEST_F(ConsoleSocketTest, WhatAClientSentBeforeItWentArrives) {
  set_reads(false);
  UniqueFd client = ConnectTo(path());
  WriteAll(client.get(), "reboot\n");
  client.Reset();
  // The next is served though the guest has not read yet.
  UniqueFd next = ConnectTo(path());
  Print("hello");
  EXPECT_EQ(ReadBytes(next.get(), 5), "hello");
  set_reads(true);
  console_->ResumeInput();
  EXPECT_TRUE(Eventually([&] { return input() == "reboot\n"; }));
}

TEST_F(ConsoleSocketTest, AGuestThatReadsNothingDoesNotKeepADepartedClient) {
  set_reads(false);
  UniqueFd client = ConnectTo(path());
  WriteAll(client.get(), std::string(3 * Console::kInputBuffer, 'i'));
  client.Reset();
  UniqueFd next = ConnectTo(path());
  Print("hello");
  EXPECT_EQ(ReadBytes(next.get(), 5), "hello");
}

TEST_F(ConsoleSocketTest, AClientThatOnlyListensOnStays) {
  UniqueFd client = ConnectTo(path());
  WriteAll(client.get(), "date\n");
  ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
  EXPECT_TRUE(Eventually([&] { return input() == "date\n"; }));
  Print("today");
  EXPECT_EQ(ReadBytes(client.get(), 5), "today");
}

TEST_F(ConsoleSocketTest, AClientThatDoesNotReadHoldsUpNobody) {
  UniqueFd client = ConnectTo(path());
  Print("x");
  EXPECT_EQ(ReadBytes(client.get(), 1), "x");
  // Until the socket's own buffers are full, too.
  absl::Status flushed;
  EXPECT_TRUE(Eventually([&] {
    Print(std::string(64 << 10, 'y'));
    flushed = console_->Flush(absl::Milliseconds(50));
    return !flushed.ok();
  }));
  EXPECT_EQ(flushed.code(), absl::StatusCode::kDeadlineExceeded);
  Print(std::string(64 << 10, 'z'));
  client.Reset();
  EXPECT_TRUE(console_->Flush(absl::Seconds(20)).ok()) << "its going was not noticed";
  Print("end");
  UniqueFd next = ConnectTo(path());
  const std::string history = ReadBytes(next.get(), 64 << 10);
  EXPECT_EQ(history, std::string((64 << 10) - 3, 'z') + "end");
}

TEST_F(ConsoleSocketTest, AClientStaysAcrossStopAndStart) {
  UniqueFd client = ConnectTo(path());
  Print("before ");
  EXPECT_EQ(ReadBytes(client.get(), 7), "before ");
  console_->Stop();
  Print("after");
  EXPECT_EQ(console_->Start({.input = [](absl::Span<const uint8_t> bytes) { return bytes.size(); },
                             .quit = [] {}}),
            absl::OkStatus());
  EXPECT_EQ(ReadBytes(client.get(), 5), "after");
}

TEST_F(ConsoleSocketTest, TheClientSeesTheEndAndThePathGoes) {
  UniqueFd client = ConnectTo(path());
  Print("bye");
  EXPECT_EQ(ReadBytes(client.get(), 3), "bye");
  console_.reset();
  EXPECT_EQ(ReadToEnd(client.get()), "");
  EXPECT_FALSE(std::filesystem::exists(path()));
}

}  // namespace
}  // namespace vmm
