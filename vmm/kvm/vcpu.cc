#include "vmm/kvm/vcpu.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/kvm/ioctl.h"
#include "vmm/kvm/kvm.h"

namespace vmm {

absl::StatusOr<Vcpu> Vcpu::FromFd(uint32_t id, UniqueFd fd, size_t mapping_size,
                                  size_t xsave_size) {
  void* mapping = mmap(nullptr, mapping_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (mapping == MAP_FAILED) return ErrnoStatus(errno, absl::StrCat("mapping vCPU ", id));
  return Vcpu(id, std::move(fd), xsave_size, mapping_size, static_cast<kvm_run*>(mapping));
}

Vcpu::Vcpu(Vcpu&& other) noexcept
    : id_(other.id_),
      fd_(std::move(other.fd_)),
      xsave_size_(other.xsave_size_),
      mapping_size_(other.mapping_size_),
      run_(std::exchange(other.run_, nullptr)),
      cpuid_(std::move(other.cpuid_)) {}

Vcpu& Vcpu::operator=(Vcpu&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(fd_, other.fd_);
  std::swap(xsave_size_, other.xsave_size_);
  std::swap(mapping_size_, other.mapping_size_);
  std::swap(run_, other.run_);
  std::swap(cpuid_, other.cpuid_);
  return *this;
}

Vcpu::~Vcpu() {
  if (run_ != nullptr) munmap(run_, mapping_size_);
}

absl::StatusOr<RunResult> Vcpu::Run() const {
  if (ioctl(fd(), KVM_RUN, 0) == 0) return RunResult::kExit;
  switch (errno) {
    case EINTR:
      return RunResult::kInterrupted;
    case EAGAIN:
      return RunResult::kRetry;
    default:
      return ErrnoStatus(errno, absl::StrCat("running vCPU ", id_));
  }
}

absl::StatusOr<RunResult> Vcpu::CompletePendingExit() const {
  RequestExit();
  return Run();
}

void Vcpu::SetImmediateExit(uint8_t value) const {
  std::atomic_ref<uint8_t>(run_->immediate_exit).store(value);
}

absl::Span<uint8_t> Vcpu::PioData() const {
  return absl::MakeSpan(reinterpret_cast<uint8_t*>(run_) + run_->io.data_offset,
                        size_t{run_->io.size} * run_->io.count);
}

absl::Status Vcpu::SetCpuid(absl::Span<const kvm_cpuid_entry2> entries) {
  if (entries.size() > kMaxCpuidEntries) {
    return absl::InvalidArgumentError(
        absl::StrCat(entries.size(), " CPUID entries; at most ", kMaxCpuidEntries));
  }
  WithEntries<kvm_cpuid2, kvm_cpuid_entry2> cpuid(entries.size());
  cpuid->nent = entries.size();
  std::copy(entries.begin(), entries.end(), cpuid->entries);
  RETURN_IF_ERROR(VMM_KVM_IOCTL(fd(), KVM_SET_CPUID2, cpuid.get()).status());
  kvm_enable_cap enforce = {};
  enforce.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID;
  enforce.args[0] = 1;
  RETURN_IF_ERROR(VMM_KVM_IOCTL(fd(), KVM_ENABLE_CAP, &enforce).status());
  cpuid_.assign(entries.begin(), entries.end());
  return absl::OkStatus();
}

absl::StatusOr<kvm_regs> Vcpu::GetRegs() const {
  kvm_regs regs = {};
  RETURN_IF_ERROR(VMM_KVM_IOCTL(fd(), KVM_GET_REGS, &regs).status());
  return regs;
}

absl::Status Vcpu::SetRegs(const kvm_regs& regs) const {
  return VMM_KVM_IOCTL(fd(), KVM_SET_REGS, &regs).status();
}

absl::StatusOr<kvm_sregs> Vcpu::GetSregs() const {
  kvm_sregs sregs = {};
  RETURN_IF_ERROR(VMM_KVM_IOCTL(fd(), KVM_GET_SREGS, &sregs).status());
  return sregs;
}

absl::Status Vcpu::SetSregs(const kvm_sregs& sregs) const {
  return VMM_KVM_IOCTL(fd(), KVM_SET_SREGS, &sregs).status();
}

absl::Status Vcpu::NotifyPaused() const {
  absl::Status status = VMM_KVM_IOCTL(fd(), KVM_KVMCLOCK_CTRL, 0).status();
  // EINVAL: the guest has no kvmclock to be told by.
  return StatusErrno(status) == EINVAL ? absl::OkStatus() : status;
}

}  // namespace vmm
