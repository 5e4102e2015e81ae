#include "vmm/boot/byte_source.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

#include "base/unique_fd.h"
#include "vmm/boot/test_images.h"

namespace vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<uint8_t> ReadAll(const ByteSource& source, uint64_t offset, size_t size,
                             absl::Status* status) {
  std::vector<uint8_t> out(size);
  *status = source.Read(offset, absl::MakeSpan(out));
  return out;
}

TEST(ByteSourceTest, FileAndSpanReadAlike) {
  const std::vector<uint8_t> bytes = {1, 2, 3, 4};
  UniqueFd fd = FileWith(bytes);
  auto file = FileSource::Open(fd.get(), "kernel");
  ASSERT_TRUE(file.ok()) << file.status();
  const SpanSource span(bytes);
  for (const ByteSource* source :
       {static_cast<const ByteSource*>(&*file), static_cast<const ByteSource*>(&span)}) {
    absl::Status status;
    EXPECT_EQ(source->size(), 4u);
    EXPECT_THAT(ReadAll(*source, 1, 3, &status), ElementsAre(2, 3, 4));
    EXPECT_TRUE(status.ok()) << status;
    ReadAll(*source, 4, 0, &status);
    EXPECT_TRUE(status.ok()) << status;
    ReadAll(*source, 2, 3, &status);
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
    ReadAll(*source, ~uint64_t{0}, 2, &status);
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  }
}

TEST(ByteSourceTest, EmptyFileIsRefused) {
  UniqueFd fd = FileWith({});
  auto file = FileSource::Open(fd.get(), "kernel");
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(file.status().message(), "kernel is empty");
}

TEST(ByteSourceTest, OnlyRegularFilesAreTaken) {
  UniqueFd device(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(FileSource::Open(device.get(), "initrd").status().message(),
            "initrd is not a regular file");
  UniqueFd folder(open("/", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(FileSource::Open(folder.get(), "initrd").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(FileSource::Open(-1, "kernel").status().message(), HasSubstr("kernel: Bad file"));
}

TEST(ByteSourceTest, FileThatShrinksIsAnErrorNotAHang) {
  UniqueFd fd = FileWith({1, 2, 3, 4});
  auto file = FileSource::Open(fd.get(), "kernel");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(ftruncate(fd.get(), 2), 0);
  absl::Status status;
  ReadAll(*file, 0, 4, &status);
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace vmm
