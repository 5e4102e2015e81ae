// Disk images whose every word is known from its place, for reads that must be right.
#ifndef TESTS_SUPPORT_VFIO_DISK_PATTERN_H_
#define TESTS_SUPPORT_VFIO_DISK_PATTERN_H_

#include <stdint.h>

#include <fstream>
#include <string>
#include <vector>

namespace vmm {

inline constexpr uint64_t kDiskBytes = uint64_t{32} << 20;

// The 8 bytes at `offset`, a multiple of 8, of disk number `disk`.
inline uint64_t DiskWord(int disk, uint64_t offset) {
  return (offset / 8 + 1) * 0x9e3779b97f4a7c15 + static_cast<uint64_t>(disk) * 0x0123456789abcdef;
}

inline bool MakeDisk(const std::string& path, int disk) {
  std::vector<uint64_t> words(kDiskBytes / 8);
  for (uint64_t i = 0; i < words.size(); ++i) words[i] = DiskWord(disk, i * 8);
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(words.data()), kDiskBytes);
  return file.good();
}

}  // namespace vmm

#endif  // TESTS_SUPPORT_VFIO_DISK_PATTERN_H_
