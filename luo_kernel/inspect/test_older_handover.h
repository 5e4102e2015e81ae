// A small machine's memory with a handover of the first LUO's in it, "luo-v1", in pages of their
// own one after the other, for tests to look at and to break.
//
//   TestOlderHandover handover;
//   handover.WriteKho("kho-v3");
//   HandoverReport report = handover.Read();
//
// Session "web1" has two files, tokens 9 and 10; session "empty" has none. There is one FLB,
// "iommu-v1". The map of what is preserved is not there.
#ifndef LUO_KERNEL_INSPECT_TEST_OLDER_HANDOVER_H_
#define LUO_KERNEL_INSPECT_TEST_OLDER_HANDOVER_H_

#include <stdint.h>
#include <string.h>

#include <map>
#include <string>
#include <vector>

#include "base/tree.h"
#include "luo_kernel/inspect/report.h"
#include "luo_kernel/inspect/test_handover.h"

namespace luo {

class TestOlderHandover {
 public:
  static constexpr uint64_t kPage = 4096;
  static constexpr uint64_t kMemorySize = 512 << 10;
  static constexpr uint64_t kRoot = 16 << 20, kLuo = kRoot + kPage, kSessions = kLuo + kPage,
                            kFiles = kSessions + kPage, kFlbs = kFiles + kPage;

  // "kho-v1" and "luo-session-v2".
  TestOlderHandover();

  // KHO's tree, with `others` behind LUO in it, and LUO's.
  void WriteKho(const std::string& version, const std::vector<SubtreeReport>& others = {});
  void WriteLuo(const std::string& version, const std::string& session_version);
  // "luo-v1" whose sessions are names only: "web1" and "second".
  void WriteLuoWithNamesOnly();

  TestMemory& memory() { return memory_; }
  // What is read of it as it is now.
  HandoverReport Read() const;

  template <typename T>
  void Poke(uint64_t address, const T& value) {
    memcpy(memory_.Write(PhysicalAddress(address), sizeof(T)).value().data(), &value, sizeof(T));
  }

  // {address: bytes} of all that was written.
  std::map<uint64_t, std::vector<uint8_t>> Pages() const;

 private:
  void WriteTree(uint64_t address, const vmm::Tree& root);

  TestMemory memory_{kRoot, kMemorySize};
};

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_TEST_OLDER_HANDOVER_H_
