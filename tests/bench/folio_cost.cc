// What Linux itself takes for a folio of a memfd: to preserve it, and to retrieve it after a kexec.
//
//   folio_cost preserve     preserves memfds of several sizes and folios, says "held", and holds
//   the
//                           session for as long as it lives
//   folio_cost retrieve     after a kexec: retrieves each, looks at its contents, finishes
//
// Each figure is a line "FIGURE NAME NANOSECONDS" on stdout, per folio. Exits 1 where anything does
// not work.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "guest_memory/memfd_region.h"
#include "luo_kernel/client/kernel_live_update.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr char kSession[] = "folio-cost";
constexpr uint64_t kMiB = uint64_t{1} << 20;

struct Memfd {
  uint64_t mib;
  vmm::HugePages huge_pages;

  uint64_t size() const { return mib * kMiB; }
  uint64_t folios() const {
    return size() / (huge_pages == vmm::HugePages::kOn ? 2 * kMiB : uint64_t{4096});
  }
  std::string name() const {
    return absl::StrCat(huge_pages == vmm::HugePages::kOn ? "2MiB" : "4KiB", ".", mib);
  }
  uint64_t mark(uint64_t token) const { return token << 32 | mib; }
};

// A token is a memfd's place in here. Two sizes each: the cost of one must not grow with the other.
constexpr Memfd kMemfds[] = {{64, vmm::HugePages::kOff},
                             {256, vmm::HugePages::kOff},
                             {256, vmm::HugePages::kOn},
                             {1024, vmm::HugePages::kOn}};

void Print(const char* what, const Memfd& memfd, Clock::duration took) {
  const double nanoseconds = std::chrono::duration<double, std::nano>(took).count();
  printf("FIGURE %s_ns.%s %.1f\n", what, memfd.name().c_str(), nanoseconds / memfd.folios());
  fflush(stdout);
}

absl::Status Preserve() {
  ASSIGN_OR_RETURN(std::unique_ptr<luo::KernelLiveUpdate> client, luo::KernelLiveUpdate::Open());
  std::vector<vmm::MemfdRegion> regions;
  for (uint64_t token = 0; token < std::size(kMemfds); ++token) {
    const Memfd& memfd = kMemfds[token];
    ASSIGN_OR_RETURN(
        vmm::MemfdRegion region,
        vmm::MemfdRegion::Create({vmm::GuestAddress(0), memfd.size()}, memfd.huge_pages));
    if (madvise(region.host_address(), memfd.size(), MADV_POPULATE_WRITE) < 0) {
      return vmm::ErrnoStatus(errno, absl::StrCat("allocate ", memfd.name()));
    }
    const uint64_t mark = memfd.mark(token);
    memcpy(region.host_address() + memfd.size() - sizeof(mark), &mark, sizeof(mark));
    regions.push_back(std::move(region));
  }
  {
    // The first time the kernel moves pages out of what the next one boots in; closing undoes it.
    ASSIGN_OR_RETURN(luo::LiveUpdateSession rehearsal, client->CreateSession("rehearsal"));
    for (uint64_t token = 0; token < regions.size(); ++token) {
      RETURN_IF_ERROR(rehearsal.PreserveFd(regions[token].fd(), token));
    }
  }
  ASSIGN_OR_RETURN(luo::LiveUpdateSession session, client->CreateSession(kSession));
  for (uint64_t token = 0; token < regions.size(); ++token) {
    const Clock::time_point start = Clock::now();
    RETURN_IF_ERROR(session.PreserveFd(regions[token].fd(), token));
    Print("preserve", kMemfds[token], Clock::now() - start);
  }
  printf("held\n");
  fflush(stdout);
  while (true) pause();
}

absl::Status Retrieve() {
  ASSIGN_OR_RETURN(std::unique_ptr<luo::KernelLiveUpdate> client, luo::KernelLiveUpdate::Open());
  ASSIGN_OR_RETURN(luo::LiveUpdateSession session, client->RetrieveSession(kSession));
  for (uint64_t token = 0; token < std::size(kMemfds); ++token) {
    const Memfd& memfd = kMemfds[token];
    const Clock::time_point start = Clock::now();
    ASSIGN_OR_RETURN(vmm::UniqueFd fd, session.RetrieveFd(token));
    Print("retrieve", memfd, Clock::now() - start);
    uint64_t mark = 0;
    if (pread(fd.get(), &mark, sizeof(mark), memfd.size() - sizeof(mark)) != sizeof(mark) ||
        mark != memfd.mark(token)) {
      return absl::DataLossError(absl::StrCat(memfd.name(), " came back with other contents"));
    }
  }
  return session.Finish();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 2 ? argv[1] : "";
  if (what != "preserve" && what != "retrieve") {
    fprintf(stderr, "usage: folio_cost preserve|retrieve\n");
    return 2;
  }
  const absl::Status status = what == "preserve" ? Preserve() : Retrieve();
  if (status.ok()) return 0;
  fprintf(stderr, "folio_cost: %s\n", status.ToString().c_str());
  return 1;
}
