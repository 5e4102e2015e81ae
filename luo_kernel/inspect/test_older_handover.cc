#include "luo_kernel/inspect/test_older_handover.h"

#include <algorithm>
#include <array>
#include <utility>

#include "luo_kernel/abi/luo_v1.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/inspect/handover_reader.h"

namespace luo {

TestOlderHandover::TestOlderHandover() {
  Poke(kSessions, abi::LuoV1SessionHeaderSer{2});
  Poke(kSessions + 8, abi::LuoSessionSer{.name = "web1", .file_set = {kFiles, 2}});
  Poke(kSessions + 88, abi::LuoSessionSer{.name = "empty", .file_set = {}});
  Poke(kFiles, abi::LuoFileSer{.compatible = "memfd-v1", .data = 0x1234, .token = 9});
  Poke(kFiles + 64, abi::LuoFileSer{.compatible = "memfd-v1", .data = 0x5678, .token = 10});
  Poke(kFlbs, abi::LuoFlbHeaderSer{1, 1});
  Poke(kFlbs + 16, abi::LuoFlbSer{.name = "iommu-v1", .data = 5, .count = 2});
  WriteLuo("luo-v1", "luo-session-v2");
  WriteKho("kho-v1");
}

void TestOlderHandover::WriteTree(uint64_t address, const vmm::Tree& root) {
  std::array<uint8_t, kPage> page = {};
  const std::vector<uint8_t> bytes = vmm::EncodeTree(root).value();
  std::copy(bytes.begin(), bytes.end(), page.begin());
  Poke(address, page);
}

void TestOlderHandover::WriteKho(const std::string& version,
                                 const std::vector<SubtreeReport>& others) {
  vmm::Tree root;
  root.SetString("compatible", version);
  root.SetStruct("preserved-memory-map", uint64_t{0x123000});
  std::vector<SubtreeReport> subtrees = {{.name = "LUO", .address = kLuo, .size = kPage}};
  subtrees.insert(subtrees.end(), others.begin(), others.end());
  for (const SubtreeReport& subtree : subtrees) {
    vmm::Tree node(subtree.name);
    node.SetStruct(version == "kho-v1" ? "fdt" : "preserved-data", subtree.address);
    if (version == "kho-v3") node.SetStruct("blob-size", subtree.size);
    root.AddChild(std::move(node));
  }
  WriteTree(kRoot, root);
}

void TestOlderHandover::WriteLuo(const std::string& version, const std::string& session_version) {
  vmm::Tree root;
  root.SetString("compatible", version);
  root.SetStruct("liveupdate-number", uint64_t{3});
  vmm::Tree sessions("luo-session");
  sessions.SetString("compatible", session_version);
  sessions.SetStruct("luo-session-header", kSessions);
  root.AddChild(std::move(sessions));
  vmm::Tree flbs("luo-flb");
  flbs.SetString("compatible", "luo-flb-v1");
  flbs.SetStruct("luo-flb-header", kFlbs);
  root.AddChild(std::move(flbs));
  WriteTree(kLuo, root);
}

void TestOlderHandover::WriteLuoWithNamesOnly() {
  WriteLuo("luo-v1", "luo-session-v1");
  Poke(kSessions + 8 + 64, abi::LuoV1SessionNameSer{.name = "second"});
}

HandoverReport TestOlderHandover::Read() const { return ReadHandover(memory_, kRoot, "test"); }

std::map<uint64_t, std::vector<uint8_t>> TestOlderHandover::Pages() const {
  std::map<uint64_t, std::vector<uint8_t>> pages;
  const PhysicalReader& memory = memory_;
  for (const uint64_t address : {kRoot, kLuo, kSessions, kFiles, kFlbs}) {
    const auto page = memory.Load<std::array<uint8_t, kPage>>(address).value();
    pages[address].assign(page.begin(), page.end());
  }
  return pages;
}

}  // namespace luo
