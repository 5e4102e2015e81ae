// KVM's ioctls with errors that name the request, and its structures that end in an array. Private
// to vmm/kvm.
//
//   RETURN_IF_ERROR(VMM_KVM_IOCTL(vcpu_fd, KVM_SET_REGS, &regs).status());
//   ASSIGN_OR_RETURN(int vm_fd, VMM_KVM_IOCTL(kvm_fd, KVM_CREATE_VM, 0));
//
// A call that a signal interrupts is made again, so KVM_RUN must not be made this way.
#ifndef VMM_KVM_IOCTL_H_
#define VMM_KVM_IOCTL_H_

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

#define VMM_KVM_IOCTL(fd, request, argument) ::vmm::KvmIoctl(fd, request, #request, argument)

namespace vmm {

template <typename Argument>
absl::StatusOr<int> KvmIoctl(int fd, unsigned long request, absl::string_view name,
                             Argument argument) {
  int result;
  do {
    result = ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return ErrnoStatus(errno, name);
  return result;
}

// A zeroed `Header` with room for `count` of the `Entry`s of the array it ends in (kvm_cpuid2,
// kvm_msrs, kvm_msr_list).
template <typename Header, typename Entry>
class WithEntries {
 public:
  explicit WithEntries(size_t count)
      : words_((sizeof(Header) + count * sizeof(Entry) + sizeof(uint64_t) - 1) / sizeof(uint64_t)) {
  }
  Header* get() { return reinterpret_cast<Header*>(words_.data()); }
  Header* operator->() { return get(); }

 private:
  std::vector<uint64_t> words_;  // for its alignment
};

}  // namespace vmm

#endif  // VMM_KVM_IOCTL_H_
