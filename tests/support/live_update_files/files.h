// A set of sessions and memfds that tries everything a live update hands over: empty files and
// single bytes, 4 KiB and 2 MiB folios, holes, seals, positions, more files and sessions than one
// block holds, names and tokens at their limits. Whoever writes a handover writes these, whoever
// reads it knows what to expect.
//
//   for (const TestFile& file : TestFiles()) {
//     ASSIGN_OR_RETURN(UniqueFd fd, MakeTestFile(file));
//     ...
//     RETURN_IF_ERROR(CheckTestFile(file, fd.get()));   // in another process, after an update
//   }
#ifndef TESTS_SUPPORT_LIVE_UPDATE_FILES_FILES_H_
#define TESTS_SUPPORT_LIVE_UPDATE_FILES_FILES_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"

namespace vmm {

struct TestFile {
  std::string session;
  uint64_t token = 0;
  uint64_t size = 0;           // bytes
  bool huge_pages = false;     // 2 MiB folios where the size fills them
  uint32_t seals = 0;          // F_SEAL_*
  uint64_t position = 0;       // the file offset
  uint64_t written_every = 0;  // 0: everything; else one page in so many, the rest are holes
};

// In the order in which they are preserved.
std::vector<TestFile> TestFiles();
// One of each kind, for where many would be in the way.
std::vector<TestFile> FewTestFiles();
// Their sessions in their order, and one that holds no file.
std::vector<std::string> SessionsOf(const std::vector<TestFile>& files);

// What the file holds in [offset, offset + bytes.size()).
void FillTestFile(const TestFile& file, uint64_t offset, absl::Span<uint8_t> bytes);

// A memfd that is the file.
absl::StatusOr<UniqueFd> MakeTestFile(const TestFile& file);

// kFailedPrecondition says what of size, seals, position or contents is otherwise.
absl::Status CheckTestFile(const TestFile& file, int fd);

// "SESSION TOKEN SIZE SEALS POSITION HUGE" with the session's bytes in hexadecimal: a line for
// scripts.
std::string DescribeTestFile(const TestFile& file);

}  // namespace vmm

#endif  // TESTS_SUPPORT_LIVE_UPDATE_FILES_FILES_H_
