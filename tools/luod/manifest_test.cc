#include "tools/luod/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/status.h"
#include "vmm/state/state_frame.h"

namespace vmm {
namespace {

Manifest SomeManifest() {
  Manifest manifest;
  manifest.generation = 3;
  manifest.old_kernel = "7.3.4";
  manifest.tsc_khz = 1000;  // a tick is a microsecond
  manifest.check_tsc = 100;
  manifest.prepare_tsc = 110;
  manifest.freeze_tsc = 130;
  manifest.kexec_tsc = 160;
  manifest.vms.push_back({.name = "a",
                          .session = "vm-a",
                          .resume_argv = {"/usr/bin/vmm", "resume"},
                          .vcpus = 2,
                          .memory_bytes = 4096,
                          .pause_tsc = 140});
  manifest.vms.push_back(
      {.name = "b", .session = "vm-b", .resume_argv = {"/vmm"}, .pause_tsc = 135});
  return manifest;
}

std::string TempPath(const std::string& name) { return testing::TempDir() + "/" + name; }

UniqueFd FileOf(const std::vector<uint8_t>& bytes) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return fd;
}

absl::StatusOr<Manifest> ReadTree(const Tree& tree) {
  return ReadManifest(FileOf(FrameState(*EncodeTree(tree))).get());
}

TEST(ManifestTest, RoundTripsThroughAMemfd) {
  absl::StatusOr<UniqueFd> memfd = WriteManifest(SomeManifest());
  ASSERT_TRUE(memfd.ok()) << memfd.status();
  absl::StatusOr<Manifest> again = ReadManifest(memfd->get());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->generation, 3u);
  EXPECT_EQ(again->old_kernel, "7.3.4");
  EXPECT_EQ(again->kexec_tsc, 160u);
  ASSERT_EQ(again->vms.size(), 2u);
  EXPECT_EQ(again->vms[0].resume_argv, SomeManifest().vms[0].resume_argv);
  EXPECT_EQ(again->vms[0].memory_bytes, 4096u);
  EXPECT_EQ(again->vms[1].session, "vm-b");
  EXPECT_TRUE(again->pending());
  EXPECT_EQ(again->Find("c"), nullptr);
}

TEST(ManifestTest, FiguresAreWrittenOverInPlace) {
  Manifest manifest = SomeManifest();
  absl::StatusOr<UniqueFd> memfd = WriteManifest(manifest);
  manifest.kexec_tsc = ~uint64_t{0};
  manifest.vms[1].state_bytes = 12345;
  manifest.vms[1].outcome = Outcome::kResumed;
  ASSERT_TRUE(RewriteManifest(memfd->get(), manifest).ok());
  EXPECT_EQ(ReadManifest(memfd->get())->vms[1].state_bytes, 12345u);
  manifest.vms[1].name = "longer-name";
  EXPECT_EQ(RewriteManifest(memfd->get(), manifest).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ReadManifest(memfd->get())->vms[1].name, "b");
}

TEST(ManifestTest, TheMemfdCannotChangeItsSize) {
  absl::StatusOr<UniqueFd> memfd = WriteManifest(SomeManifest());
  EXPECT_EQ(ftruncate(memfd->get(), 0), -1);
}

TEST(ManifestTest, EveryChangedByteIsNoticed) {
  absl::StatusOr<UniqueFd> memfd = WriteManifest(SomeManifest());
  struct stat info;
  ASSERT_EQ(fstat(memfd->get(), &info), 0);
  for (off_t i = 0; i < info.st_size; ++i) {
    uint8_t byte;
    ASSERT_EQ(pread(memfd->get(), &byte, 1, i), 1);
    uint8_t changed = byte ^ 0x10;
    ASSERT_EQ(pwrite(memfd->get(), &changed, 1, i), 1);
    EXPECT_FALSE(ReadManifest(memfd->get()).ok()) << i;
    ASSERT_EQ(pwrite(memfd->get(), &byte, 1, i), 1);
  }
  EXPECT_TRUE(ReadManifest(memfd->get()).ok());
}

TEST(ManifestTest, RefusesWhatIsNoManifest) {
  EXPECT_FALSE(ReadManifest(FileOf({}).get()).ok());
  EXPECT_FALSE(ReadManifest(-1).ok());
  Tree tree;
  tree.SetString("compatible", "luod,manifest-v2");
  EXPECT_EQ(ReadTree(tree).status().code(), absl::StatusCode::kUnimplemented);
  tree.SetString("compatible", kManifestCompatible);
  EXPECT_EQ(ReadTree(tree).status().code(), absl::StatusCode::kNotFound);
}

TEST(ManifestTest, RefusesVmsThatCannotBe) {
  Manifest twice = SomeManifest();
  twice.vms[1].name = "a";
  EXPECT_FALSE(ReadManifest(WriteManifest(twice)->get()).ok());
  Manifest bad_name = SomeManifest();
  bad_name.vms[0].name = "../a";
  EXPECT_FALSE(ReadManifest(WriteManifest(bad_name)->get()).ok());
  Manifest no_program = SomeManifest();
  no_program.vms[0].resume_argv.clear();
  EXPECT_FALSE(ReadManifest(WriteManifest(no_program)->get()).ok());
  Manifest bad_outcome = SomeManifest();
  bad_outcome.vms[0].outcome = static_cast<Outcome>(9);
  EXPECT_FALSE(ReadManifest(WriteManifest(bad_outcome)->get()).ok());
}

TEST(ManifestTest, TheCopyOnDiskIsPrivateAndReplacedAsAWhole) {
  std::string path = TempPath("manifest");
  EXPECT_EQ(LoadManifest(path).status().code(), absl::StatusCode::kNotFound);
  Manifest manifest = SomeManifest();
  ASSERT_TRUE(SaveManifest(path, manifest).ok());
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  manifest.vms.clear();
  ASSERT_TRUE(SaveManifest(path, manifest).ok());
  EXPECT_TRUE(LoadManifest(path)->vms.empty());
  EXPECT_FALSE(SaveManifest("/nonexistent/manifest", manifest).ok());
}

TEST(ManifestTest, ReportsPhasesAcrossTheKexec) {
  Manifest manifest = SomeManifest();
  manifest.luod_tsc = 1160;
  manifest.retrieved_tsc = 1170;
  manifest.vms[0].run_tsc = 1240;
  manifest.vms[1].run_tsc = 1200;
  HostStatus report = ReportOf(manifest);
  EXPECT_EQ(report.check_ns, 10'000u);
  EXPECT_EQ(report.prepare_ns, 20'000u);
  EXPECT_EQ(report.freeze_ns, 30'000u);
  EXPECT_EQ(report.kexec_ns, 1'000'000u);
  EXPECT_EQ(report.retrieve_ns, 10'000u);
  EXPECT_EQ(report.resume_ns, 70'000u);
  EXPECT_EQ(report.blackout_ns, 1'105'000u);
  EXPECT_EQ(ReportOf(manifest.vms[0], 1000).blackout_ns, 1'100'000u);
  EXPECT_EQ(ReportOf(SomeManifest()).resume_ns, 0u);  // nobody runs yet
  EXPECT_EQ(ReportOf(SomeManifest().vms[0], 1000).blackout_ns, 0u);
}

}  // namespace
}  // namespace vmm
