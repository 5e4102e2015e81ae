// The reader of memory images: the input is the file. Then its memory is searched for handovers.
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "luo_kernel/inspect/handover_reader.h"
#include "luo_kernel/inspect/json.h"
#include "luo_kernel/inspect/memory_image.h"
#include "luo_kernel/inspect/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::UniqueFd fd(memfd_create("image", MFD_CLOEXEC));
  if (write(fd.get(), data, size) != static_cast<ssize_t>(size)) return 0;
  absl::StatusOr<std::unique_ptr<luo::MemoryImage>> image = luo::MemoryImage::Open(std::move(fd));
  if (!image.ok()) return 0;
  const luo::Report report = luo::ReadHandovers(**image, "fuzz", std::nullopt);
  (void)luo::Text(report, {});
  (void)luo::Json(report);
  (void)(*image)->kernel_release();
  return 0;
}
