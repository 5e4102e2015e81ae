#include "luo_kernel/hosted/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/unique_fd.h"

namespace luo {
namespace {

using ::vmm::StatusErrno;
using ::vmm::UniqueFd;

UniqueFd Memfd(const std::string& contents) {
  UniqueFd file(memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(write(file.get(), contents.data(), contents.size()),
            static_cast<ssize_t>(contents.size()));
  return file;
}

std::string Contents(int file) {
  std::string text(100, '\0');
  const ssize_t size = pread(file, text.data(), text.size(), 0);
  text.resize(size < 0 ? 0 : static_cast<size_t>(size));
  return text;
}

std::unique_ptr<HostedMachine> PowerOn() {
  absl::StatusOr<std::unique_ptr<HostedMachine>> machine =
      HostedMachine::PowerOn({.metadata = 16 << 20});
  EXPECT_TRUE(machine.ok()) << machine.status();
  return machine.ok() ? *std::move(machine) : nullptr;
}

TEST(HostedMachineTest, HandsFilesOverAgainAndAgain) {
  std::unique_ptr<HostedMachine> machine = PowerOn();
  UniqueFd file = Memfd("0");
  for (uint64_t generation = 0; generation < 5; ++generation) {
    EXPECT_EQ(machine->generation(), generation);
    ASSERT_TRUE(machine->live_update()->Deserialize().ok());
    auto session = machine->live_update()->CreateSession("vm");
    ASSERT_TRUE(session.ok()) << session.status();
    ASSERT_TRUE((*session)->PreserveFd(1, std::move(file)).ok());
    ASSERT_TRUE(machine->live_update()->Reboot().ok());
    session->reset();
    const absl::Status booted = machine->Kexec();
    ASSERT_TRUE(booted.ok()) << booted;
    ASSERT_TRUE(machine->live_update()->Deserialize().ok());
    session = machine->live_update()->RetrieveSession("vm");
    ASSERT_TRUE(session.ok()) << session.status();
    absl::StatusOr<UniqueFd> retrieved = (*session)->RetrieveFd(1);
    ASSERT_TRUE(retrieved.ok()) << retrieved.status();
    EXPECT_EQ(Contents(retrieved->get()), "0");
    file = *std::move(retrieved);
    ASSERT_TRUE((*session)->Finish().ok());
  }
}

TEST(HostedMachineTest, WhatNobodyPreservedIsGone) {
  std::unique_ptr<HostedMachine> machine = PowerOn();
  const auto before = machine->metadata_in_use();
  ASSERT_TRUE(before.ok());
  auto kept = machine->live_update()->CreateSession("kept");
  auto closed = machine->live_update()->CreateSession("closed");
  ASSERT_TRUE((*kept)->PreserveFd(1, Memfd("kept")).ok());
  ASSERT_TRUE((*closed)->PreserveFd(1, Memfd("closed")).ok());
  EXPECT_EQ(machine->extents().size(), 3U);
  closed->reset();
  EXPECT_EQ(machine->extents().size(), 2U);
  ASSERT_TRUE(machine->live_update()->Reboot().ok());
  kept->reset();
  ASSERT_TRUE(machine->Kexec().ok());
  EXPECT_EQ(machine->extents().size(), 2U);
  ASSERT_TRUE(machine->live_update()->Deserialize().ok());
  EXPECT_EQ(StatusErrno(machine->live_update()->RetrieveSession("closed").status()), ENOENT);
  // Closed without being retrieved from, the file is nobody's, and the next kexec forgets it.
  machine->live_update()->RetrieveSession("kept")->reset();
  ASSERT_TRUE(machine->live_update()->Reboot().ok());
  ASSERT_TRUE(machine->Kexec().ok());
  EXPECT_EQ(machine->extents().size(), 1U);
  const auto after = machine->metadata_in_use();
  ASSERT_TRUE(after.ok());
  // Only what LUO and KHO write at every boot, old and new.
  EXPECT_LE(*after, 2 * *before);
}

TEST(HostedMachineTest, AFailedFreezeLeavesEverything) {
  std::unique_ptr<HostedMachine> machine = PowerOn();
  auto session = machine->live_update()->CreateSession("vm");
  UniqueFd file = Memfd("x");
  ASSERT_TRUE((*session)->PreserveFd(1, UniqueFd(dup(file.get()))).ok());
  ASSERT_EQ(pwrite(file.get(), "y", 1, 1 << 20), 1);
  EXPECT_EQ(StatusErrno(machine->live_update()->Reboot()), EPERM);
  EXPECT_EQ(machine->Kexec().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(machine->generation(), 0U);
  ASSERT_EQ(ftruncate(file.get(), 1), 0);
  EXPECT_TRUE(machine->live_update()->Reboot().ok());
}

TEST(HostedMachineTest, AKexecWantsEverySessionClosed) {
  std::unique_ptr<HostedMachine> machine = PowerOn();
  EXPECT_EQ(machine->Kexec().code(), absl::StatusCode::kFailedPrecondition);
  auto session = machine->live_update()->CreateSession("vm");
  ASSERT_TRUE(machine->live_update()->Reboot().ok());
  EXPECT_EQ(machine->Kexec().code(), absl::StatusCode::kFailedPrecondition);
  session->reset();
  EXPECT_TRUE(machine->Kexec().ok());
}

TEST(HostedMachineTest, MetadataHasASensibleSize) {
  for (const uint64_t size : {uint64_t{0}, uint64_t{4096}, (uint64_t{16} << 20) + 1}) {
    EXPECT_EQ(HostedMachine::PowerOn({.metadata = size}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(HostedMachineTest, EveryBootRegistersHandlers) {
  int boots = 0;
  bool incoming = false;
  absl::StatusOr<std::unique_ptr<HostedMachine>> machine = HostedMachine::PowerOn(
      {.metadata = 16 << 20, .register_handlers = [&](const HostedMachine::Kernel& kernel) {
         ++boots;
         incoming = kernel.incoming != nullptr;
         return absl::OkStatus();
       }});
  ASSERT_TRUE(machine.ok());
  EXPECT_FALSE(incoming);
  ASSERT_TRUE((*machine)->live_update()->Reboot().ok());
  ASSERT_TRUE((*machine)->Kexec().ok());
  EXPECT_EQ(boots, 2);
  EXPECT_TRUE(incoming);
}

}  // namespace
}  // namespace luo
