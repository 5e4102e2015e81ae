#include "tests/support/live_update_files/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kHugePage = 2 << 20;
constexpr uint64_t kMiB = 1 << 20;
// F_SEAL_EXEC of Linux 7.3, include/uapi/linux/fcntl.h; the C library's headers may be older.
constexpr uint32_t kSealExec = 0x20;

// splitmix64 (public domain, S. Vigna): words that repeat nowhere.
uint64_t Word(uint64_t index) {
  uint64_t z = index * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// Different for each file.
uint64_t SeedOf(const TestFile& file) {
  uint64_t seed = Word(file.token + 1);
  for (const char c : file.session) seed = Word(seed ^ static_cast<uint8_t>(c));
  return seed;
}

bool IsWritten(const TestFile& file, uint64_t page) {
  return file.written_every == 0 || page % file.written_every == 0;
}

// The contents of one page.
void FillPage(const TestFile& file, uint64_t seed, uint64_t page, uint8_t* out) {
  memset(out, 0, kPage);
  if (!IsWritten(file, page)) return;
  for (uint64_t i = 0; i < kPage / sizeof(uint64_t); ++i) {
    const uint64_t word = Word(seed + page * (kPage / sizeof(uint64_t)) + i);
    memcpy(out + i * sizeof(word), &word, sizeof(word));
  }
}

absl::Status Otherwise(const TestFile& file, absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat("session \"", absl::CHexEscape(file.session),
                                                    "\", token ", absl::Hex(file.token), ": ",
                                                    what));
}

}  // namespace

std::vector<TestFile> TestFiles() {
  const std::string longest(63, 'x');
  std::vector<TestFile> files = {
      {.session = "sizes", .token = 0, .size = 0},
      {.session = "sizes", .token = 1, .size = 1},
      {.session = "sizes", .token = 2, .size = kPage},
      {.session = "sizes", .token = 3, .size = 300 * 1024 + 123, .position = 4097},
      {.session = "sizes", .token = ~uint64_t{0}, .size = kPage + 1, .position = kMiB},
      {.session = "huge", .token = 1, .size = 4 * kHugePage, .huge_pages = true},
      {.session = "huge",
       .token = 0x100,
       .size = 2 * kHugePage,
       .huge_pages = true,
       .seals = F_SEAL_SHRINK | F_SEAL_GROW},
      {.session = "holes", .token = 7, .size = kMiB, .written_every = 50},
      {.session = "holes", .token = 8, .size = 10 * kPage, .written_every = ~uint64_t{0}},
      {.session = longest,
       .token = 1ull << 63,
       .size = 3 * kPage,
       .seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE},
      {.session = "odd \x01\xff\xc3\xa4/",
       .token = 5,
       .size = 2 * kPage,
       .seals = F_SEAL_FUTURE_WRITE},
  };
  // A block has room for 63 files and for 51 sessions.
  for (uint64_t token = 1000; token < 1200; ++token) {
    files.push_back({.session = "many", .token = token, .size = kPage + token % 3 * 100});
  }
  for (int i = 0; i < 60; ++i) {
    files.push_back({.session = absl::StrFormat("s%02d", i), .token = 1, .size = 100});
  }
  return files;
}

std::vector<TestFile> FewTestFiles() {
  return {
      {.session = "plain", .token = 1, .size = 100, .position = 5},
      {.session = "plain", .token = 2, .size = 0},
      {.session = "odd \xff",
       .token = ~uint64_t{0},
       .size = 4 * kPage + 1,
       .seals = F_SEAL_SHRINK | F_SEAL_GROW,
       .written_every = ~uint64_t{0}},
      {.session = "huge", .token = 7, .size = kHugePage, .huge_pages = true},
  };
}

std::vector<std::string> SessionsOf(const std::vector<TestFile>& files) {
  std::vector<std::string> sessions;
  for (const TestFile& file : files) {
    if (sessions.empty() || sessions.back() != file.session) sessions.push_back(file.session);
  }
  sessions.push_back("without files");
  return sessions;
}

void FillTestFile(const TestFile& file, uint64_t offset, absl::Span<uint8_t> bytes) {
  const uint64_t seed = SeedOf(file);
  std::vector<uint8_t> page(kPage);
  while (!bytes.empty()) {
    FillPage(file, seed, offset / kPage, page.data());
    const size_t size = std::min<size_t>(bytes.size(), kPage - offset % kPage);
    memcpy(bytes.data(), page.data() + offset % kPage, size);
    bytes.remove_prefix(size);
    offset += size;
  }
}

absl::StatusOr<UniqueFd> MakeTestFile(const TestFile& file) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return ErrnoStatus(errno, "memfd_create");
  if (ftruncate(fd.get(), file.size) < 0) return ErrnoStatus(errno, "ftruncate");
  if (file.huge_pages) {
    // Huge pages come by faults into a mapping that was advised; aligned, so that they fit.
    const size_t room = file.size + kHugePage;
    void* reserved = mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (reserved == MAP_FAILED) return ErrnoStatus(errno, "mmap");
    const uint64_t start = (reinterpret_cast<uint64_t>(reserved) + kHugePage - 1) & -kHugePage;
    auto* map =
        static_cast<uint8_t*>(mmap(reinterpret_cast<void*>(start), file.size,
                                   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd.get(), 0));
    if (map == MAP_FAILED) return ErrnoStatus(errno, "mmap");
    if (madvise(map, file.size, MADV_HUGEPAGE) < 0) return ErrnoStatus(errno, "MADV_HUGEPAGE");
    FillTestFile(file, 0, absl::MakeSpan(map, file.size));
    munmap(reserved, room);
  } else {
    std::vector<uint8_t> page(kPage);
    for (uint64_t offset = 0; offset < file.size; offset += kPage) {
      if (!IsWritten(file, offset / kPage)) continue;
      const size_t size = std::min(kPage, file.size - offset);
      FillTestFile(file, offset, absl::MakeSpan(page.data(), size));
      if (pwrite(fd.get(), page.data(), size, offset) != static_cast<ssize_t>(size)) {
        return ErrnoStatus(errno, "pwrite");
      }
    }
  }
  if (lseek(fd.get(), file.position, SEEK_SET) < 0) return ErrnoStatus(errno, "lseek");
  if (file.seals != 0 && fcntl(fd.get(), F_ADD_SEALS, file.seals) < 0) {
    return ErrnoStatus(errno, "F_ADD_SEALS");
  }
  return fd;
}

absl::Status CheckTestFile(const TestFile& file, int fd) {
  struct stat status;
  if (fstat(fd, &status) < 0) return ErrnoStatus(errno, "fstat");
  if (static_cast<uint64_t>(status.st_size) != file.size) {
    return Otherwise(file, absl::StrCat("size ", status.st_size, ", not ", file.size));
  }
  const int seals = fcntl(fd, F_GET_SEALS);
  // The kernel sets F_SEAL_EXEC on every memfd that cannot be executed.
  if (seals < 0 || (static_cast<uint32_t>(seals) & ~kSealExec) != file.seals) {
    return Otherwise(file, absl::StrCat("seals ", seals, ", not ", file.seals));
  }
  const off_t position = lseek(fd, 0, SEEK_CUR);
  if (position < 0 || static_cast<uint64_t>(position) != file.position) {
    return Otherwise(file, absl::StrCat("position ", position, ", not ", file.position));
  }
  constexpr uint64_t kChunk = 64 * kPage;
  std::vector<uint8_t> found(kChunk), expected(kChunk);
  for (uint64_t offset = 0; offset < file.size; offset += kChunk) {
    const size_t size = std::min(kChunk, file.size - offset);
    if (pread(fd, found.data(), size, offset) != static_cast<ssize_t>(size)) {
      return Otherwise(file, absl::StrCat("cannot be read at ", offset));
    }
    FillTestFile(file, offset, absl::MakeSpan(expected.data(), size));
    const auto end = found.begin() + size;
    const auto wrong = std::mismatch(found.begin(), end, expected.begin()).first;
    if (wrong != end) {
      return Otherwise(file, absl::StrCat("another byte at ", offset + (wrong - found.begin())));
    }
  }
  return absl::OkStatus();
}

std::string DescribeTestFile(const TestFile& file) {
  return absl::StrFormat("%s %x %d %d %d %d", absl::BytesToHexString(file.session), file.token,
                         file.size, file.seals, file.position, file.huge_pages ? 1 : 0);
}

}  // namespace vmm
