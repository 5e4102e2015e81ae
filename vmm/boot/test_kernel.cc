#include "vmm/boot/test_kernel.h"

#include "vmm/boot/test_images.h"

extern "C" const uint8_t test_kernel_begin[];
extern "C" const uint8_t test_kernel_end[];

namespace vmm {

std::vector<uint8_t> TestKernel() {
  // The text begins before the entry.
  std::vector<uint8_t> text(TestElf::kEntry - TestElf::kText);
  text.insert(text.end(), test_kernel_begin, test_kernel_end);
  return TestElf(text).Bytes();
}

}  // namespace vmm
