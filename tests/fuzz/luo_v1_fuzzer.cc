// What a hostile kernel may leave as "luo-v1". Inputs patch a sound handover (patched_memory.h):
// the tree is page 1, the sessions are page 2, files page 3, FLBs page 4. The first byte is by how
// much the tree's size is less than a page.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tree.h"
#include "luo_kernel/abi/luo_v1.h"
#include "luo_kernel/luo/image.h"
#include "tests/fuzz/patched_memory.h"

namespace {

using luo::PatchedMemory;
using luo::PhysicalAddress;

PhysicalAddress Page(uint64_t page, uint64_t offset = 0) {
  return PhysicalAddress(PatchedMemory::kPagesRange.start.value() + page * luo::abi::kPageSize +
                         offset);
}

template <typename T>
void Put(PatchedMemory& memory, PhysicalAddress at, const T& value) {
  if (!luo::WriteStruct(memory, at, value).ok()) abort();
}

void Build(PatchedMemory& memory) {
  luo::abi::LuoSessionSer session = {};
  strcpy(session.name, "one");
  session.file_set = {Page(3).value(), 2};
  Put(memory, Page(2), luo::abi::LuoV1SessionHeaderSer{2});
  Put(memory, Page(2, 8), session);
  luo::abi::LuoFileSer file = {};
  strcpy(file.compatible, "memfd-v1");
  Put(memory, Page(3), file);
  file.token = 1;
  Put(memory, Page(3, sizeof(file)), file);
  Put(memory, Page(4), luo::abi::LuoFlbHeaderSer{1, 1});

  vmm::Tree root;
  root.SetString("compatible", luo::abi::kLuoV1Compatible);
  root.SetStruct(luo::abi::kLuoV1Number, uint64_t{1});
  vmm::Tree sessions(luo::abi::kLuoV1SessionNode);
  sessions.SetString("compatible", luo::abi::kLuoV1SessionCompatible2);
  sessions.SetStruct(luo::abi::kLuoV1SessionHeader, Page(2).value());
  root.AddChild(std::move(sessions));
  vmm::Tree flbs(luo::abi::kLuoV1FlbNode);
  flbs.SetString("compatible", luo::abi::kLuoV1FlbCompatible);
  flbs.SetStruct(luo::abi::kLuoV1FlbHeader, Page(4).value());
  root.AddChild(std::move(flbs));
  const std::vector<uint8_t> bytes = vmm::EncodeTree(root).value();
  const auto page = memory.Write(Page(1), luo::abi::kPageSize);
  memcpy(page->data(), bytes.data(), bytes.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static PatchedMemory memory(Build);
  if (size == 0) return 0;
  memory.Reset(absl::MakeConstSpan(data + 1, size - 1));
  const absl::StatusOr<luo::LuoImage> image =
      luo::ReadLuoV1(memory, Page(1), luo::abi::kLuoV1TreeBytes - data[0] * 16);
  if (!image.ok()) return 0;
  if (image->sessions.size() > luo::abi::kLuoV1MaxSessions) abort();
  for (const luo::SessionImage& session : image->sessions) {
    if (session.files.size() > luo::abi::kLuoV1MaxFiles ||
        session.name.size() > luo::abi::kSessionNameBytes) {
      abort();
    }
  }
  return 0;
}
