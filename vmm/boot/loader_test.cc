#include "vmm/boot/loader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stddef.h>

#include <memory>
#include <string>
#include <vector>

#include "vmm/boot/boot_params.h"
#include "vmm/boot/platform.h"
#include "vmm/boot/test_images.h"

namespace vmm {
namespace {

using ::testing::Each;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

// struct setup_data without the bytes that follow it.
struct SetupDataHeader {
  uint64_t next;
  uint32_t type;
  uint32_t len;
};

class LoaderTest : public ::testing::Test {
 protected:
  void SetUp() override { SetRam(64 * kMiB); }

  void SetRam(uint64_t size) {
    auto memory = GuestMemory::Create({.size = size, .huge_pages = HugePages::kOff});
    ASSERT_TRUE(memory.ok()) << memory.status();
    memory_ = std::make_unique<GuestMemory>(*std::move(memory));
  }

  absl::StatusOr<BootEntry> Load(const std::vector<uint8_t>& kernel, int initrd_fd = -1,
                                 const std::string& command_line = "") {
    const UniqueFd file = FileWith(kernel);
    return LoadGuest(*memory_, {.kernel_fd = file.get(),
                                .initrd_fd = initrd_fd,
                                .command_line = command_line,
                                .vcpu_count = 2});
  }

  std::vector<uint8_t> Read(uint64_t address, size_t size) {
    std::vector<uint8_t> bytes(size);
    const absl::Status status = memory_->Read(GuestAddress(address), absl::MakeSpan(bytes));
    EXPECT_TRUE(status.ok()) << status;
    return bytes;
  }

  template <typename T>
  T LoadStruct(GuestAddress address) {
    auto value = memory_->Load<T>(address);
    EXPECT_TRUE(value.ok()) << value.status();
    return value.value_or(T{});
  }

  boot_params ZeroPage() { return LoadStruct<boot_params>(kZeroPageAddress); }

  std::unique_ptr<GuestMemory> memory_;
};

TEST_F(LoaderTest, BzImageGoesToItsPreferredAddress) {
  const TestBzImage image;
  auto entry = Load(image.Bytes());
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_EQ(entry->protocol, BootEntry::Protocol::kLinux64);
  EXPECT_EQ(entry->entry, GuestAddress(16 * kMiB + 0x200));
  EXPECT_EQ(entry->parameters, kZeroPageAddress);
  EXPECT_EQ(Read(16 * kMiB, image.payload.size()), image.payload);
  EXPECT_THAT(Read(16 * kMiB + image.payload.size(), 4096), Each(0));
}

TEST_F(LoaderTest, SetupDataIsAListThatTheKernelCanFollow) {
  const UniqueFd file = FileWith(TestBzImage().Bytes());
  const BootSources sources = {
      .kernel_fd = file.get(),
      .setup_data = {{.type = 10, .data = {1, 2, 3}}, {.type = 9, .data = {4}}}};
  ASSERT_TRUE(LoadGuest(*memory_, sources).ok());
  const uint64_t first = ZeroPage().hdr.setup_data;
  const auto header = LoadStruct<SetupDataHeader>(GuestAddress(first));
  EXPECT_EQ(header.type, 10u);
  EXPECT_EQ(header.len, 3u);
  EXPECT_EQ(Read(first + sizeof(SetupDataHeader), 3), (std::vector<uint8_t>{1, 2, 3}));
  const auto second = LoadStruct<SetupDataHeader>(GuestAddress(header.next));
  EXPECT_EQ(second.next, 0u);
  EXPECT_EQ(second.type, 9u);
  EXPECT_EQ(Read(header.next + sizeof(SetupDataHeader), 1), (std::vector<uint8_t>{4}));
}

TEST_F(LoaderTest, SetupDataThatDoesNotFitIsRefused) {
  const UniqueFd file = FileWith(TestBzImage().Bytes());
  for (size_t size : {size_t{4081}, size_t{1} << 20}) {
    const BootSources sources = {.kernel_fd = file.get(),
                                 .setup_data = {{.type = 10, .data = std::vector<uint8_t>(size)}}};
    EXPECT_EQ(LoadGuest(*memory_, sources).status().code(), absl::StatusCode::kInvalidArgument);
  }
  const BootSources fits = {.kernel_fd = file.get(),
                            .setup_data = {{.type = 10, .data = std::vector<uint8_t>(4080)}}};
  EXPECT_TRUE(LoadGuest(*memory_, fits).ok());
}

TEST_F(LoaderTest, SetupDataNeedsABzImage) {
  const UniqueFd file = FileWith(TestElf().Bytes());
  const BootSources sources = {.kernel_fd = file.get(), .setup_data = {{.type = 10, .data = {1}}}};
  EXPECT_THAT(LoadGuest(*memory_, sources).status().message(), HasSubstr("bzImage"));
}

TEST_F(LoaderTest, ZeroPageTellsWhatTheKernelMustKnow) {
  TestBzImage image;
  image.header.setup_data = 0xdeadbeef;
  auto entry = Load(image.Bytes(), -1, "console=ttyS0 quiet");
  ASSERT_TRUE(entry.ok()) << entry.status();
  const boot_params params = ZeroPage();
  EXPECT_EQ(+params.hdr.header, 0x53726448u);
  EXPECT_EQ(+params.hdr.version, 0x20f);
  EXPECT_EQ(+params.hdr.init_size, +image.header.init_size);
  EXPECT_EQ(+params.hdr.kernel_alignment, +image.header.kernel_alignment);
  EXPECT_EQ(+params.hdr.type_of_loader, 0xff);
  EXPECT_EQ(+params.hdr.code32_start, 16 * kMiB);
  EXPECT_EQ(+params.hdr.ramdisk_image, 0u);
  EXPECT_EQ(+params.hdr.ramdisk_size, 0u);
  EXPECT_EQ(+params.hdr.setup_data, 0u);
  EXPECT_EQ(+params.sentinel, 0);
  EXPECT_EQ(+params.acpi_rsdp_addr, 0xe0000u);
  const auto line = Read(params.hdr.cmd_line_ptr, 20);
  EXPECT_STREQ(reinterpret_cast<const char*>(line.data()), "console=ttyS0 quiet");

  ASSERT_EQ(+params.e820_entries, 4);
  EXPECT_EQ(+params.e820_table[1].addr, 0x9fc00u);
  EXPECT_EQ(+params.e820_table[1].type, 2u);
  EXPECT_EQ(+params.e820_table[2].addr, kMiB);
  EXPECT_EQ(+params.e820_table[2].size, 63 * kMiB);
  EXPECT_EQ(+params.e820_table[2].type, 1u);
}

TEST_F(LoaderTest, AcpiTablesAreThere) {
  ASSERT_TRUE(Load(TestBzImage().Bytes()).ok());
  const auto signature = Read(ZeroPage().acpi_rsdp_addr, 8);
  EXPECT_EQ(std::string(signature.begin(), signature.end()), "RSD PTR ");
}

TEST_F(LoaderTest, InitrdLiesAsHighAsItMay) {
  const std::vector<uint8_t> bytes(5000, 0x5a);
  const UniqueFd initrd = FileWith(bytes);
  ASSERT_TRUE(Load(TestBzImage().Bytes(), initrd.get()).ok());
  boot_params params = ZeroPage();
  EXPECT_EQ(+params.hdr.ramdisk_image, 64 * kMiB - 8192);
  EXPECT_EQ(+params.hdr.ramdisk_size, 5000u);
  EXPECT_EQ(Read(params.hdr.ramdisk_image, 5000), bytes);

  TestBzImage choosy;
  choosy.header.initrd_addr_max = 30 * kMiB - 1;
  ASSERT_TRUE(Load(choosy.Bytes(), initrd.get()).ok());
  EXPECT_EQ(+ZeroPage().hdr.ramdisk_image, 30 * kMiB - 8192);
}

TEST_F(LoaderTest, InitrdStaysBelowThePciHole) {
  SetRam(uint64_t{4} << 30);
  const UniqueFd initrd = FileWith(std::vector<uint8_t>(4096, 1));
  TestBzImage image;
  image.header.initrd_addr_max = 0xffffffff;
  ASSERT_TRUE(Load(image.Bytes(), initrd.get()).ok());
  EXPECT_EQ(+ZeroPage().hdr.ramdisk_image, kPciHoleStart - 4096);
}

TEST_F(LoaderTest, InitrdGoesBelowTheKernelWhereThereIsNoRoomAbove) {
  SetRam(21 * kMiB);
  const UniqueFd initrd = FileWith(std::vector<uint8_t>(2 * kMiB, 1));
  ASSERT_TRUE(Load(TestBzImage().Bytes(), initrd.get()).ok());
  EXPECT_EQ(+ZeroPage().hdr.ramdisk_image, 14 * kMiB);
}

TEST_F(LoaderTest, InitrdThatDoesNotFit) {
  SetRam(21 * kMiB);
  const UniqueFd initrd = FileWith(std::vector<uint8_t>(16 * kMiB, 1));
  auto entry = Load(TestBzImage().Bytes(), initrd.get());
  EXPECT_EQ(entry.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(entry.status().message(),
            "initrd does not fit: with this kernel and this initrd of 16 MiB the guest needs at "
            "least 36 MiB of memory, has 21 MiB");
  // The amount that the message names is enough.
  SetRam(36 * kMiB);
  EXPECT_TRUE(Load(TestBzImage().Bytes(), initrd.get()).ok());

  TestBzImage choosy;
  choosy.header.initrd_addr_max = 17 * kMiB;
  entry = Load(choosy.Bytes(), initrd.get());
  EXPECT_EQ(entry.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(entry.status().message(), HasSubstr("takes one only below 0x1100001"));
}

TEST_F(LoaderTest, RamTooSmallForTheKernel) {
  SetRam(19 * kMiB);
  auto entry = Load(TestBzImage().Bytes());
  EXPECT_EQ(entry.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(entry.status().message(),
            "guest memory too small for this kernel: needs at least 20 MiB, has 19 MiB");
  SetRam(20 * kMiB);
  EXPECT_TRUE(Load(TestBzImage().Bytes()).ok());
  SetRam(2 * kMiB);
  EXPECT_THAT(Load(TestElf().Bytes()).status().message(), HasSubstr("needs at least 4 MiB"));
}

TEST_F(LoaderTest, PvhKernelLoadsBySegments) {
  // As if something had been there before: a segment's tail must read as zeros.
  ASSERT_TRUE(memory_->Fill(GuestAddress(TestElf::kData), 0xff, TestElf::kDataMemory).ok());
  const TestElf elf;
  auto entry = Load(elf.Bytes());
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_EQ(entry->protocol, BootEntry::Protocol::kPvh);
  EXPECT_EQ(entry->entry, GuestAddress(TestElf::kEntry));
  EXPECT_EQ(entry->parameters, kStartInfoAddress);
  const auto content = elf.contents.begin();
  EXPECT_THAT(Read(TestElf::kText, 64), ElementsAreArray(content, content + 64));
  EXPECT_THAT(Read(TestElf::kData, 32), ElementsAreArray(content + 64, content + 96));
  EXPECT_THAT(Read(TestElf::kData + 32, TestElf::kDataMemory - 32), Each(0));
}

TEST_F(LoaderTest, StartInfoTellsWhatTheKernelMustKnow) {
  const UniqueFd initrd = FileWith(std::vector<uint8_t>(5000, 0x5a));
  ASSERT_TRUE(Load(TestElf().Bytes(), initrd.get(), "root=/dev/ram0").ok());
  const auto info = LoadStruct<PvhStartInfo>(kStartInfoAddress);
  EXPECT_EQ(info.magic, 0x336ec578u);
  EXPECT_EQ(info.version, 1u);
  EXPECT_EQ(info.flags, 0u);
  EXPECT_EQ(info.rsdp, 0xe0000u);
  const auto line = Read(info.command_line, 15);
  EXPECT_STREQ(reinterpret_cast<const char*>(line.data()), "root=/dev/ram0");

  ASSERT_EQ(info.module_count, 1u);
  const auto module = LoadStruct<PvhModule>(GuestAddress(info.modules));
  EXPECT_EQ(module.address, 64 * kMiB - 8192);
  EXPECT_EQ(module.size, 5000u);
  EXPECT_EQ(module.command_line, 0u);

  ASSERT_EQ(info.memory_map_count, 4u);
  const auto entry =
      LoadStruct<PvhMemoryMapEntry>(GuestAddress(info.memory_map + 2 * sizeof(PvhMemoryMapEntry)));
  EXPECT_EQ(entry.address, kMiB);
  EXPECT_EQ(entry.size, 63 * kMiB);
  EXPECT_EQ(entry.type, 1u);
  EXPECT_EQ(entry.reserved, 0u);
}

TEST_F(LoaderTest, StartInfoWithoutInitrdHasNoModule) {
  ASSERT_TRUE(Load(TestElf().Bytes()).ok());
  const auto info = LoadStruct<PvhStartInfo>(kStartInfoAddress);
  EXPECT_EQ(info.module_count, 0u);
  EXPECT_EQ(info.modules, 0u);
}

TEST_F(LoaderTest, CommandLineLimits) {
  TestBzImage image;
  EXPECT_TRUE(Load(image.Bytes(), -1, std::string(2047, 'x')).ok());
  auto entry = Load(image.Bytes(), -1, std::string(2048, 'x'));
  EXPECT_EQ(entry.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(entry.status().message(), "kernel command line of 2048 bytes; this kernel takes 2047");
  EXPECT_EQ(Load(TestElf().Bytes(), -1, std::string(2048, 'x')).status().code(),
            absl::StatusCode::kInvalidArgument);
  // A kernel that claims to take more than there is room for.
  image.header.cmdline_size = ~0u;
  EXPECT_TRUE(Load(image.Bytes(), -1, std::string(0xffff, 'x')).ok());
  EXPECT_EQ(Load(image.Bytes(), -1, std::string(0x10000, 'x')).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Load(image.Bytes(), -1, std::string("a\0b", 3)).status().message(), HasSubstr("NUL"));
}

TEST_F(LoaderTest, FilesThatCannotBeLoaded) {
  EXPECT_EQ(Load({}).status().message(), "kernel is empty");
  EXPECT_THAT(Load(std::vector<uint8_t>(100)).status().message(), HasSubstr("not a kernel"));
  const UniqueFd empty = FileWith({});
  EXPECT_EQ(Load(TestBzImage().Bytes(), empty.get()).status().message(), "initrd is empty");
  const UniqueFd device(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(Load(TestBzImage().Bytes(), device.get()).status().message(),
            "initrd is not a regular file");
  EXPECT_FALSE(LoadGuest(*memory_, {}).ok());
}

TEST_F(LoaderTest, VcpuCountOutOfRange) {
  const UniqueFd kernel = FileWith(TestBzImage().Bytes());
  for (int count : {-1, 0, kMaxVcpus + 1}) {
    EXPECT_EQ(LoadGuest(*memory_, {.kernel_fd = kernel.get(), .vcpu_count = count}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace vmm
