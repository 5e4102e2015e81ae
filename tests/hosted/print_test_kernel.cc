// Writes the guest kernel for tests of whole VMs (vmm/boot/test_kernel.h) to standard output.
#include <stdint.h>
#include <stdio.h>

#include <vector>

#include "vmm/boot/test_kernel.h"

int main() {
  const std::vector<uint8_t> kernel = vmm::TestKernel();
  return fwrite(kernel.data(), 1, kernel.size(), stdout) == kernel.size() ? 0 : 1;
}
