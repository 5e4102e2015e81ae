#include "luo_kernel/luo/image.h"

#include <errno.h>
#include <string.h>

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/tree.h"
#include "gtest/gtest.h"
#include "luo_kernel/abi/block.h"
#include "luo_kernel/abi/luo_v1.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/luo/booting_machine.h"

namespace luo {
namespace {

class ImageTest : public testing::Test {
 protected:
  void SetUp() override {
    machine_.PowerOn();
    ASSERT_EQ(outgoing().RemoveSubtree(outgoing().FindSubtree("LUO")->address), absl::OkStatus());
  }
  OutgoingHandover& outgoing() { return machine_.outgoing(); }
  WritablePhysicalMemory& memory() { return machine_.memory(); }
  PhysicalAddress Page() { return *outgoing().AllocatePreserved(4096); }
  absl::StatusOr<LuoImage> Read() {
    const Subtree subtree = *outgoing().FindSubtree("LUO");
    return ReadLuo(memory(), subtree.address, subtree.size);
  }
  template <typename T>
  void Put(PhysicalAddress at, const T& value) {
    ASSERT_EQ(WriteStruct(memory(), at, value), absl::OkStatus());
  }

  BootingMachine machine_;
};

LuoImage Sample() {
  LuoImage image;
  image.number = 7;
  image.sessions = {{"web1", {{"memfd-v2", 0x1000, 0}, {"memfd-v2", 0x2000, ~uint64_t{0}}}},
                    {"empty", {}},
                    {std::string(63, 'n'), {{std::string(47, 'c'), 1, 2}}}};
  image.flbs = {{"iommu-v1", 0xabc, 3}};
  return image;
}

TEST_F(ImageTest, WhatIsWrittenIsRead) {
  const LuoImage image = Sample();
  ASSERT_EQ(WriteLuoV5(outgoing(), image), absl::OkStatus());
  const absl::StatusOr<LuoImage> read = Read();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->version, "luo-v5");
  EXPECT_EQ(read->number, 7u);
  EXPECT_EQ(read->sessions, image.sessions);
  EXPECT_EQ(read->flbs, image.flbs);
  // Root, FLBs, the sessions' block, a block for each session with files.
  EXPECT_EQ(read->pages.size(), 5u);
}

TEST_F(ImageTest, ManyEntriesGoOverManyBlocks) {
  LuoImage image;
  for (int i = 0; i < 200; ++i) image.sessions.push_back({"s" + std::to_string(i), {}});
  for (uint64_t i = 0; i < 1000; ++i) image.sessions[3].files.push_back({"f", i, i});
  ASSERT_EQ(WriteLuoV5(outgoing(), image), absl::OkStatus());
  EXPECT_EQ(Read()->sessions, image.sessions);
}

TEST_F(ImageTest, TheBytesAreThoseOfLinux) {
  ASSERT_EQ(WriteLuoV5(outgoing(), Sample()), absl::OkStatus());
  const Subtree subtree = *outgoing().FindSubtree("LUO");
  EXPECT_EQ(subtree.size, 32u);
  const auto root = *ReadStruct<abi::LuoSer>(memory(), subtree.address);
  EXPECT_EQ(memcmp(root.compatible, "luo-v5\0\0", 8), 0);
  const auto block = *memory().Read(PhysicalAddress(root.sessions_pa), 4096);
  const char* bytes = reinterpret_cast<const char*>(block.data());
  EXPECT_EQ(memcmp(bytes, "\0\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0web1\0", 21), 0);
  uint64_t files = 0, count = 0;
  memcpy(&files, bytes + 16 + 64, 8);
  memcpy(&count, bytes + 16 + 72, 8);
  EXPECT_EQ(count, 2u);
  const auto list = *memory().Read(PhysicalAddress(files), 4096);
  bytes = reinterpret_cast<const char*>(list.data());
  EXPECT_EQ(memcmp(bytes + 16, "memfd-v2\0", 9), 0);
  EXPECT_EQ(memcmp(bytes + 16 + 48, "\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16), 0);
  EXPECT_EQ(memcmp(bytes + 80, "memfd-v2\0", 9), 0);
  EXPECT_EQ(memcmp(bytes + 80 + 56, "\xff\xff\xff\xff\xff\xff\xff\xff", 8), 0);
}

TEST_F(ImageTest, RefusesNamesThatDoNotFit) {
  LuoImage image;
  image.sessions = {{std::string(64, 'n'), {}}};
  EXPECT_TRUE(absl::IsInvalidArgument(WriteLuoV5(outgoing(), image)));
  image.sessions = {{"a", {{std::string(48, 'c'), 0, 0}}}};
  EXPECT_TRUE(absl::IsInvalidArgument(WriteLuoV5(outgoing(), image)));
  image.sessions.clear();
  image.flbs = {{std::string(48, 'f'), 0, 0}};
  EXPECT_TRUE(absl::IsInvalidArgument(WriteLuoV5(outgoing(), image)));
  image.flbs.assign(64, {"f", 0, 0});
  EXPECT_TRUE(absl::IsInvalidArgument(WriteLuoV5(outgoing(), image)));
}

TEST_F(ImageTest, RefusesOtherVersionsAndSizes) {
  ASSERT_EQ(WriteLuoV5(outgoing(), Sample()), absl::OkStatus());
  const Subtree subtree = *outgoing().FindSubtree("LUO");
  EXPECT_TRUE(absl::IsDataLoss(ReadLuo(memory(), subtree.address, 31).status()));
  EXPECT_TRUE(absl::IsDataLoss(ReadLuo(memory(), subtree.address, 3).status()));
  EXPECT_TRUE(absl::IsOutOfRange(ReadLuo(memory(), PhysicalAddress(8), 32).status()));
  auto root = *ReadStruct<abi::LuoSer>(memory(), subtree.address);
  root.compatible[5] = '4';
  Put(subtree.address, root);
  EXPECT_TRUE(absl::IsFailedPrecondition(Read().status()));
}

TEST_F(ImageTest, ReadsNoPageTwice) {
  ASSERT_EQ(WriteLuoV5(outgoing(), Sample()), absl::OkStatus());
  const Subtree subtree = *outgoing().FindSubtree("LUO");
  const auto root = *ReadStruct<abi::LuoSer>(memory(), subtree.address);
  // The session without files gets those of the first; as its block says, one page for both.
  const PhysicalAddress first(root.sessions_pa + 16);
  const PhysicalAddress second(first.value() + sizeof(abi::LuoSessionSer));
  Put(second, *ReadStruct<abi::LuoSessionSer>(memory(), first));
  EXPECT_TRUE(absl::IsDataLoss(Read().status())) << Read().status();
  // The sessions' own block as files.
  auto session = *ReadStruct<abi::LuoSessionSer>(memory(), second);
  session.file_set = {root.sessions_pa, 3};
  Put(second, session);
  EXPECT_TRUE(absl::IsDataLoss(Read().status())) << Read().status();
}

// --- luo-v1. ---

class V1Test : public ImageTest {
 protected:
  // A handover of the first release, as its kernel writes it.
  void Write() {
    header_ = Page();
    files_ = Page();
    flbs_ = Page();
    Put(header_, abi::LuoV1SessionHeaderSer{2});
    abi::LuoSessionSer session = {};
    strcpy(session.name, "web1");
    session.file_set = {files_.value(), 2};
    Put(At(header_, 8), session);
    abi::LuoSessionSer empty = {};
    strcpy(empty.name, "empty");
    Put(At(header_, 88), empty);
    abi::LuoFileSer file = {};
    strcpy(file.compatible, "memfd-v1");
    file.data = 0x1234;
    file.token = 9;
    Put(files_, file);
    file.token = 10;
    Put(At(files_, 64), file);
    Put(flbs_, abi::LuoFlbHeaderSer{1, 1});
    abi::LuoFlbSer flb = {};
    strcpy(flb.name, "iommu-v1");
    flb.data = 5;
    flb.count = 2;
    Put(At(flbs_, 16), flb);

    vmm::Tree root;
    root.SetString("compatible", "luo-v1");
    root.SetStruct("liveupdate-number", uint64_t{3});
    vmm::Tree sessions("luo-session");
    sessions.SetString("compatible", session_version_);
    sessions.SetStruct("luo-session-header", header_.value());
    root.AddChild(std::move(sessions));
    if (with_flbs_) {
      vmm::Tree flb_node("luo-flb");
      flb_node.SetString("compatible", "luo-flb-v1");
      flb_node.SetStruct("luo-flb-header", flbs_.value());
      root.AddChild(std::move(flb_node));
    }
    WriteTree(root);
  }
  void WriteTree(const vmm::Tree& root) {
    tree_ = Page();
    const std::vector<uint8_t> bytes = *vmm::EncodeTree(root);
    const auto page = *memory().Write(tree_, 4096);
    memcpy(page.data(), bytes.data(), bytes.size());
  }
  static PhysicalAddress At(PhysicalAddress base, uint64_t offset) {
    return PhysicalAddress(base.value() + offset);
  }
  absl::StatusOr<LuoImage> ReadV1() { return ReadLuo(memory(), tree_, 4096); }

  std::string session_version_ = "luo-session-v2";
  bool with_flbs_ = true;
  PhysicalAddress header_, files_, flbs_, tree_;
};

TEST_F(V1Test, IsRead) {
  Write();
  const absl::StatusOr<LuoImage> image = ReadV1();
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->version, "luo-v1");
  EXPECT_EQ(image->number, 3u);
  const std::vector<SessionImage> sessions = {
      {"web1", {{"memfd-v1", 0x1234, 9}, {"memfd-v1", 0x1234, 10}}}, {"empty", {}}};
  EXPECT_EQ(image->sessions, sessions);
  EXPECT_EQ(image->flbs, (std::vector<FlbImage>{{"iommu-v1", 5, 2}}));
}

TEST_F(V1Test, FlbsMayBeMissing) {
  with_flbs_ = false;
  Write();
  const absl::StatusOr<LuoImage> image = ReadV1();
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_TRUE(image->flbs.empty());
}

TEST_F(V1Test, OfSessionVersion1ThereAreNamesOnly) {
  session_version_ = "luo-session-v1";
  Write();
  // Its entries are names, one behind the other.
  abi::LuoV1SessionNameSer name = {};
  strcpy(name.name, "second");
  Put(At(header_, 8 + 64), name);
  const absl::StatusOr<LuoImage> image = ReadV1();
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->sessions, (std::vector<SessionImage>{{"web1", {}}, {"second", {}}}));
}

TEST_F(V1Test, OtherVersionsAreRefused) {
  session_version_ = "luo-session-v3";
  Write();
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadV1().status()));
  vmm::Tree root;
  root.SetString("compatible", "luo-v2");
  WriteTree(root);
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadV1().status()));
}

TEST_F(V1Test, CountsBeyondWhatKernelsWriteAreRefused) {
  Write();
  Put(header_, abi::LuoV1SessionHeaderSer{820});
  EXPECT_TRUE(absl::IsDataLoss(ReadV1().status()));
  Put(header_, abi::LuoV1SessionHeaderSer{2});
  auto session = *ReadStruct<abi::LuoSessionSer>(memory(), At(header_, 8));
  session.file_set.count = 129;
  Put(At(header_, 8), session);
  EXPECT_TRUE(absl::IsDataLoss(ReadV1().status()));
}

TEST_F(V1Test, AddressesOutsideMemoryAreRefused) {
  Write();
  auto session = *ReadStruct<abi::LuoSessionSer>(memory(), At(header_, 8));
  session.file_set.files = ~uint64_t{0} - 63;
  Put(At(header_, 8), session);
  EXPECT_FALSE(ReadV1().ok());
}

TEST_F(V1Test, TreesThatAreNoneAreRefused) {
  Write();
  for (size_t size : {4u, 7u, 39u, 40u, 100u}) {
    EXPECT_FALSE(ReadLuo(memory(), tree_, size).ok()) << size;
  }
  vmm::Tree root;
  root.SetString("compatible", "luo-v1");
  WriteTree(root);
  EXPECT_TRUE(absl::IsDataLoss(ReadV1().status()));
  root.SetStruct("liveupdate-number", uint64_t{3});
  WriteTree(root);
  EXPECT_TRUE(absl::IsDataLoss(ReadV1().status()));
}

}  // namespace
}  // namespace luo
