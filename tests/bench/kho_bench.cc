// What Kexec HandOver in user space costs a folio: to preserve, to read and check at boot, to
// visit, to restore; and what its map of preserved memory weighs. Beside each figure, the same work
// done by a std::unordered_set. README.md says how to read the table.
//
//   kho_bench [--max_gib=1024]
//
// The machine's RAM is simulated: it has addresses, and only the metadata has pages. Exits 1 where
// a result is wrong; a time is never wrong.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/kho/arena.h"
#include "luo_kernel/kho/extent_memory.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/kho/outgoing_handover.h"

namespace {

using luo::BytesOfOrder;
using luo::PhysicalAddress;

constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kMetadataSize = uint64_t{256} << 20;
constexpr PhysicalAddress kMetadata(uint64_t{1} << 32);
constexpr PhysicalAddress kRam(uint64_t{1} << 42);
// A set of more than this would not fit the machine.
constexpr uint64_t kMaxSetFolios = uint64_t{8} << 20;
constexpr uint64_t kScatteredFolios = uint64_t{1} << 20;
constexpr uint64_t kFoliosToMeasure = uint64_t{8} << 20;
constexpr uint64_t kMaxRounds = 20;

[[noreturn]] void Fail(const std::string& what) {
  fprintf(stderr, "kho_bench: %s\n", what.c_str());
  exit(1);
}
void Check(const absl::Status& status) {
  if (!status.ok()) Fail(status.ToString());
}
void Check(bool good, const char* what) {
  if (!good) Fail(what);
}

// Which folios: `count` of them, the i-th at `stride` times i, modulo all that RAM has. An odd
// stride reaches each.
struct Work {
  uint64_t ram = 0;
  unsigned order = 0;
  uint64_t count = 0;
  uint64_t stride = 1;

  PhysicalAddress Folio(uint64_t i) const {
    const uint64_t folios = ram / BytesOfOrder(order);
    return PhysicalAddress(kRam.value() + i * stride % folios * BytesOfOrder(order));
  }
};

Work Everything(uint64_t ram, unsigned order) { return {ram, order, ram / BytesOfOrder(order), 1}; }

// Neighbours in time lie far apart in memory: the golden ratio of it.
Work Scattered(uint64_t ram, unsigned order) {
  const uint64_t folios = ram / BytesOfOrder(order);
  return {ram, order, std::min(folios, kScatteredFolios),
          static_cast<uint64_t>(static_cast<double>(folios) * 0.618) | 1};
}

struct Result {
  double preserve = 0;  // ns a folio, as all times
  double read = 0;
  double visit = 0;
  double restore = 0;
  double bytes = 0;
};

// The processor's time, not the clock's: the machine has other things to do.
double Now() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

template <typename Do>
double NanosecondsEach(uint64_t count, Do&& work) {
  const double start = Now();
  work();
  return (Now() - start) / static_cast<double>(count);
}

// The best of some rounds, each from nothing on.
Result Best(Result (*run)(const Work&), const Work& work) {
  Result best = run(work);
  for (uint64_t done = work.count, round = 1; done < kFoliosToMeasure && round < kMaxRounds;
       done += work.count, ++round) {
    const Result again = run(work);
    best.preserve = std::min(best.preserve, again.preserve);
    best.read = std::min(best.read, again.read);
    best.visit = std::min(best.visit, again.visit);
    best.restore = std::min(best.restore, again.restore);
  }
  return best;
}

Result RunHandover(const Work& work) {
  luo::ExtentMemory memory;
  Check(memory.Add(kMetadata, luo::NewMemoryFile("metadata", kMetadataSize).value(), 0,
                   kMetadataSize, luo::ExtentUse::kMetadata));
  Check(memory.Add(kRam, luo::NewMemoryFile("ram", work.ram).value(), 0, work.ram,
                   luo::ExtentUse::kData));
  luo::Arena arena = luo::Arena::Create(&memory, {kMetadata, kMetadataSize}).value();
  luo::OutgoingHandover out =
      luo::OutgoingHandover::Create(&memory, &arena, {{kMetadata, 1 << 20}}).value();
  Result result;
  result.preserve = NanosecondsEach(work.count, [&] {
    for (uint64_t i = 0; i < work.count; ++i) Check(out.PreserveFolio(work.Folio(i), work.order));
  });
  result.bytes = static_cast<double>(out.map_pages() * luo::abi::kPageSize);
  std::optional<luo::IncomingHandover> incoming;
  result.read = NanosecondsEach(work.count, [&] {
    incoming.emplace(luo::IncomingHandover::Open(memory, out.data()).value());
  });
  uint64_t visited = 0;
  result.visit = NanosecondsEach(work.count, [&] {
    Check(incoming->preserved().ForEach([&](PhysicalAddress, unsigned order) {
      visited += uint64_t{1} << order;
      return absl::OkStatus();
    }));
  });
  // The root's page, too.
  Check(visited == (work.count << work.order) + 1, "not all of it was handed over");
  result.restore = NanosecondsEach(work.count, [&] {
    for (uint64_t i = 0; i < work.count; ++i) {
      const absl::StatusOr<unsigned> order = incoming->RestoreFolio(work.Folio(i));
      Check(order.ok() && *order == work.order, "a folio did not come back");
    }
  });
  Check(incoming->preserved().pages() == 1, "something is left");
  return result;
}

uint64_t g_set_bytes = 0;

template <typename T>
struct CountingAllocator {
  using value_type = T;
  CountingAllocator() = default;
  template <typename U>
  CountingAllocator(const CountingAllocator<U>&) {}  // NOLINT: conversion is the interface
  T* allocate(size_t n) {
    g_set_bytes += n * sizeof(T);
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* p, size_t n) {
    g_set_bytes -= n * sizeof(T);
    std::allocator<T>().deallocate(p, n);
  }
  template <typename U>
  bool operator==(const CountingAllocator<U>&) const {
    return true;
  }
};

Result RunSet(const Work& work) {
  std::unordered_set<uint64_t, std::hash<uint64_t>, std::equal_to<>, CountingAllocator<uint64_t>>
      set;
  Result result;
  result.preserve = NanosecondsEach(work.count, [&] {
    for (uint64_t i = 0; i < work.count; ++i) {
      Check(set.insert(luo::abi::EncodeRadixKey(work.Folio(i).value(), work.order)).second,
            "twice");
    }
  });
  result.bytes = static_cast<double>(g_set_bytes);
  uint64_t visited = 0;
  result.visit = NanosecondsEach(work.count, [&] {
    for (uint64_t key : set) visited += uint64_t{1} << luo::abi::DecodeRadixKey(key)->order;
  });
  Check(visited == work.count << work.order, "the set lost something");
  result.restore = NanosecondsEach(work.count, [&] {
    for (uint64_t i = 0; i < work.count; ++i) {
      Check(set.erase(luo::abi::EncodeRadixKey(work.Folio(i).value(), work.order)) == 1, "gone");
    }
  });
  return result;
}

// The least that the format can do with: a page for each node that has something below it, and the
// root.
double LeastBytes(const Work& work) {
  uint64_t nodes = 1;
  std::set<uint64_t> keys;  // without the bits of the levels below
  const uint64_t folios = work.ram / BytesOfOrder(work.order);
  // Scattered folios reach every leaf that there is, and so do all of them; the root's page is one
  // more path.
  for (uint64_t folio = 0; folio < folios; folio += uint64_t{1} << luo::abi::kRadixBitmapBits) {
    keys.insert(
        luo::abi::EncodeRadixKey(kRam.value() + folio * BytesOfOrder(work.order), work.order) >>
        luo::abi::kRadixBitmapBits);
  }
  keys.insert(luo::abi::EncodeRadixKey(kMetadata.value() + (1 << 20), 0) >>
              luo::abi::kRadixBitmapBits);
  for (unsigned level = 0; level < luo::abi::kRadixDepth - 1; ++level) {
    nodes += keys.size();
    std::set<uint64_t> above;
    for (uint64_t key : keys) above.insert(key >> luo::abi::kRadixTableBits);
    keys = std::move(above);
  }
  return static_cast<double>(nodes * luo::abi::kPageSize);
}

void Report(const char* what, const Work& work) {
  const double gib = static_cast<double>(work.ram) / static_cast<double>(kGiB);
  const Result kho = Best(RunHandover, work);
  printf("%5.0f  %5s  %-9s %10llu  %8.1f %6.2f %6.2f %8.1f  %9.0f %9.0f %6.3f", gib,
         work.order == 0 ? "4K" : "2M", what, static_cast<unsigned long long>(work.count),
         kho.preserve, kho.read, kho.visit, kho.restore, kho.bytes / gib, LeastBytes(work) / gib,
         kho.bytes * 8 / static_cast<double>(work.count));
  if (work.count <= kMaxSetFolios) {
    const Result set = Best(RunSet, work);
    printf("  %8.1f %6.2f %8.1f %10.0f\n", set.preserve, set.visit, set.restore, set.bytes / gib);
  } else {
    printf("  %8s %6s %8s %10s\n", "-", "-", "-", "-");
  }
  fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t max_gib = 1024;
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    constexpr absl::string_view kMaxGib = "--max_gib=";
    if (argument.substr(0, kMaxGib.size()) != kMaxGib ||
        !absl::SimpleAtoi(argument.substr(kMaxGib.size()), &max_gib) || max_gib == 0 ||
        max_gib > 1024) {
      fprintf(stderr, "usage: kho_bench [--max_gib=1..1024]\n");
      return 2;
    }
  }
  printf("%22s %12s  %31s  %26s  %36s\n", "", "", "KHO: ns a folio to", "bytes per GiB      bits",
         "unordered_set: ns a folio      bytes");
  printf("%5s  %5s  %-9s %10s  %8s %6s %6s %8s  %9s %9s %6s  %8s %6s %8s %10s\n", "GiB", "folio",
         "which", "folios", "preserve", "read", "visit", "restore", "are", "least", "each",
         "insert", "visit", "erase", "per GiB");
  for (unsigned order : {0, 9}) {
    for (const char* what : {"all", "scattered"}) {
      for (uint64_t gib = 1; gib <= max_gib; gib *= 4) {
        const uint64_t ram = gib * kGiB;
        Report(what, *what == 'a' ? Everything(ram, order) : Scattered(ram, order));
      }
    }
  }
  return 0;
}
