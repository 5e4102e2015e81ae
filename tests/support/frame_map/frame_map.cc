// Where a VM's RAM lies in the host's physical memory, to be compared before and after an update.
//
//   frame_map PID
//
// Prints a line "FD-SIZE PAGE PFN PAGES" for each run of pages that lie in consecutive frames, of
// each sealed memfd of the process that can be RAM, and at last "pages N huge N": how many pages,
// and how many of those in 2 MiB folios. Reads page tables only, of mappings of its own.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "guest_memory/guest_memory.h"
#include "guest_memory/page_frames.h"

namespace vmm {
namespace {

// Smaller memfds are a VM's state, not its RAM.
constexpr off_t kSmallestRam = 16 << 20;
constexpr uint64_t kPageBytes = 4096;

// The process's RAM memfds, by inode: in the order of creation, which is that of addresses.
absl::StatusOr<std::map<ino_t, UniqueFd>> RamOf(const std::string& pid) {
  const std::string folder = "/proc/" + pid + "/fd";
  std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(folder.c_str()), closedir);
  if (directory == nullptr) return ErrnoStatus(errno, folder);
  std::map<ino_t, UniqueFd> found;
  while (const dirent* entry = readdir(directory.get())) {
    const std::string path = folder + "/" + entry->d_name;
    // Not by its name: a memfd that came over a kexec has lost it.
    struct stat info;
    if (stat(path.c_str(), &info) < 0 || !S_ISREG(info.st_mode) || info.st_size < kSmallestRam) {
      continue;
    }
    UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd.valid()) return ErrnoStatus(errno, path);
    if (fcntl(fd.get(), F_GET_SEALS) < 0) continue;  // no memfd
    found.emplace(info.st_ino, std::move(fd));
  }
  return found;
}

absl::Status Print(const std::string& pid) {
  ASSIGN_OR_RETURN(auto ram, RamOf(pid));
  if (ram.empty()) return absl::NotFoundError("process " + pid + " has no guest RAM");
  uint64_t pages = 0;
  uint64_t huge = 0;
  for (auto& [inode, fd] : ram) {
    struct stat info;
    if (fstat(fd.get(), &info) < 0) return ErrnoStatus(errno, "fstat");
    const uint64_t size = info.st_size;
    ASSIGN_OR_RETURN(MemfdRegion region,
                     MemfdRegion::FromFd({GuestAddress(0), size}, std::move(fd)));
    std::vector<MemfdRegion> regions;
    regions.push_back(std::move(region));
    ASSIGN_OR_RETURN(GuestMemory memory, GuestMemory::FromRegions(std::move(regions)));
    RETURN_IF_ERROR(memory.Prefault(1, nullptr));  // pagemap shows what is mapped
    ASSIGN_OR_RETURN(auto runs, ReadPageFrames(memory.regions()[0]));
    for (const FrameRun& run : runs) {
      printf("%lu %lu %lx %lu\n", size, run.page_index, run.pfn, run.pages);
      pages += run.pages;
    }
    ASSIGN_OR_RETURN(uint64_t bytes, HugeMappedBytes(memory.regions()[0]));
    huge += bytes / kPageBytes;
  }
  printf("pages %lu huge %lu\n", pages, huge);
  return absl::OkStatus();
}

}  // namespace
}  // namespace vmm

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: frame_map PID\n");
    return 2;
  }
  const absl::Status status = vmm::Print(argv[1]);
  if (status.ok()) return 0;
  fprintf(stderr, "frame_map: %s\n", std::string(status.message()).c_str());
  return 1;
}
