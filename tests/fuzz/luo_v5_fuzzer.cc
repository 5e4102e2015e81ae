// What a hostile kernel may leave as "luo-v5": read for inspection, and booted on. Inputs patch a
// sound handover of three sessions and an FLB (patched_memory.h), or are one of real Linux's
// (sparse_memory.h).
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/luo/file_handler.h"
#include "luo_kernel/luo/image.h"
#include "luo_kernel/luo/live_update.h"
#include "tests/fuzz/luo_handover.h"
#include "tests/fuzz/patched_memory.h"

namespace {

using luo::LiveUpdate;
using luo::PatchedMemory;

class Handler : public luo::FileHandler {
 public:
  explicit Handler(absl::string_view compatible) : compatible_(compatible) {}
  absl::string_view compatible() const override { return compatible_; }
  bool CanPreserve(int) override { return false; }
  absl::Status Preserve(luo::FileOpArgs&) override { abort(); }
  void Unpreserve(luo::FileOpArgs&) override { abort(); }
  absl::StatusOr<vmm::UniqueFd> Retrieve(luo::FileOpArgs&) override {
    return vmm::ErrnoStatus(EIO, "retrieve");
  }
  void Finish(luo::FileOpArgs&) override {}

 private:
  const absl::string_view compatible_;
};

class FlbHandler : public luo::Flb {
 public:
  absl::string_view compatible() const override { return "flb-v1"; }
  absl::Status Preserve(luo::FlbOpArgs&) override { abort(); }
  void Unpreserve(luo::FlbOpArgs&) override { abort(); }
  absl::Status Retrieve(luo::FlbOpArgs&) override { return absl::OkStatus(); }
  void Finish(luo::FlbOpArgs&) override {
    if (finished_) abort();
    finished_ = true;
  }

 private:
  bool finished_ = false;
};

luo::abi::KhoData handed_over;

void Build(PatchedMemory& memory) {
  luo::LuoImage image;
  image.number = 1;
  image.sessions = {{"one", {{"fuzz-v1", 1, 1}, {"fuzz-v1", 2, 2}}}, {"two", {}}, {"three", {}}};
  for (uint64_t i = 0; i < 70; ++i) image.sessions[2].files.push_back({"fuzz-v1", i, i});
  image.flbs = {{"flb-v1", 3, 72}};
  handed_over = luo::HandOver(memory, [&image](luo::OutgoingHandover& outgoing) {
    if (!luo::WriteLuoV5(outgoing, image).ok()) abort();
  });
}

// Everything that came may be asked for, and closed again.
void Use(LiveUpdate& live_update) {
  for (const LiveUpdate::SessionInfo& info : live_update.sessions()) {
    if (info.name.size() >= luo::abi::kSessionNameBytes) abort();
    absl::StatusOr<std::unique_ptr<luo::Session>> session = live_update.RetrieveSession(info.name);
    if (!session.ok() || (*session)->RetrieveFd(2).ok()) abort();
  }
  if (!live_update.sessions().empty()) abort();
}

void Boot(luo::Kernel& kernel) {
  const absl::StatusOr<luo::Subtree> subtree = kernel.incoming.FindSubtree(luo::abi::kLuoSubtree);
  if (!subtree.ok()) return;
  const absl::StatusOr<luo::LuoImage> image =
      luo::ReadLuo(kernel.memory, subtree->address, subtree->size);
  if (image.ok()) {
    size_t files = 0;
    for (const luo::SessionImage& session : image->sessions) files += session.files.size();
    if (files > kernel.memory.size() / luo::abi::kPageSize * 63) abort();
  }
  absl::StatusOr<std::shared_ptr<LiveUpdate>> live_update =
      LiveUpdate::Boot(&kernel.outgoing, &kernel.incoming);
  if (!live_update.ok()) return;
  auto handler = std::make_shared<Handler>("fuzz-v1");
  if (!(*live_update)->RegisterFileHandler(handler).ok() ||
      !(*live_update)->RegisterFileHandler(std::make_shared<Handler>("memfd-v2")).ok() ||
      !(*live_update)->RegisterFlb(handler.get(), std::make_shared<FlbHandler>()).ok()) {
    abort();
  }
  if (!(*live_update)->Deserialize().ok()) return;
  // What can be booted on can be read.
  if (!image.ok()) abort();
  Use(**live_update);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::Span<const uint8_t> input(data, size);
  if (absl::StatusOr<luo::SparseMemory> real = luo::SparseMemory::Parse(input); real.ok()) {
    luo::BootOn(*real, Boot);
    return 0;
  }
  static PatchedMemory memory(Build);
  memory.Reset(input);
  luo::BootOn(memory, handed_over, Boot);
  return 0;
}
