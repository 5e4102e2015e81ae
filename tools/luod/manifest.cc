#include "tools/luod/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/tree.h"
#include "tools/luod/clock.h"
#include "vmm/live_update/tokens.h"
#include "vmm/machine/vm_name.h"
#include "vmm/state/state_frame.h"

namespace vmm {
namespace {

struct Number {
  const char* name;
  uint64_t Manifest::*field;
};
constexpr Number kNumbers[] = {
    {"generation", &Manifest::generation}, {"tsc-khz", &Manifest::tsc_khz},
    {"check-tsc", &Manifest::check_tsc},   {"prepare-tsc", &Manifest::prepare_tsc},
    {"freeze-tsc", &Manifest::freeze_tsc}, {"kexec-tsc", &Manifest::kexec_tsc},
    {"luod-tsc", &Manifest::luod_tsc},     {"retrieved-tsc", &Manifest::retrieved_tsc},
};

struct VmNumber {
  const char* name;
  uint64_t ManifestVm::*field;
};
constexpr VmNumber kVmNumbers[] = {
    {"memory-bytes", &ManifestVm::memory_bytes}, {"prepare-ns", &ManifestVm::prepare_ns},
    {"freeze-ns", &ManifestVm::freeze_ns},       {"state-bytes", &ManifestVm::state_bytes},
    {"pause-tsc", &ManifestVm::pause_tsc},       {"run-tsc", &ManifestVm::run_tsc},
};

absl::StatusOr<std::vector<uint8_t>> Encode(const Manifest& manifest) {
  Tree root;
  root.SetString("compatible", kManifestCompatible);
  root.SetString("old-kernel", manifest.old_kernel);
  for (const Number& number : kNumbers) root.SetU64(number.name, manifest.*number.field);
  for (size_t i = 0; i < manifest.vms.size(); ++i) {
    const ManifestVm& vm = manifest.vms[i];
    Tree node(absl::StrCat("vm@", absl::Hex(i)));
    node.SetString("name", vm.name);
    node.SetString("session", vm.session);
    SetStringList(node, "resume-argv", vm.resume_argv);
    node.SetU32("vcpus", vm.vcpus);
    node.SetU32("outcome", static_cast<uint32_t>(vm.outcome));
    for (const VmNumber& number : kVmNumbers) node.SetU64(number.name, vm.*number.field);
    root.AddChild(std::move(node));
  }
  ASSIGN_OR_RETURN(std::vector<uint8_t> payload, EncodeTree(root));
  return FrameState(payload);
}

absl::StatusOr<ManifestVm> DecodeVm(const Tree& node) {
  ManifestVm vm;
  ASSIGN_OR_RETURN(vm.name, node.GetString("name"));
  RETURN_IF_ERROR(CheckVmName(vm.name));
  ASSIGN_OR_RETURN(vm.session, node.GetString("session"));
  ASSIGN_OR_RETURN(vm.resume_argv, GetStringList(node, "resume-argv"));
  if (vm.resume_argv.empty()) return absl::InvalidArgumentError("resume-argv is empty");
  ASSIGN_OR_RETURN(vm.vcpus, node.GetU32("vcpus"));
  ASSIGN_OR_RETURN(uint32_t outcome, node.GetU32("outcome"));
  if (outcome > static_cast<uint32_t>(Outcome::kAbandoned)) {
    return absl::InvalidArgumentError(absl::StrCat("unknown outcome ", outcome));
  }
  vm.outcome = static_cast<Outcome>(outcome);
  for (const VmNumber& number : kVmNumbers) {
    ASSIGN_OR_RETURN(vm.*number.field, node.GetU64(number.name));
  }
  return vm;
}

absl::StatusOr<Manifest> Decode(absl::Span<const uint8_t> file) {
  ASSIGN_OR_RETURN(absl::Span<const uint8_t> payload, UnframeState(file));
  ASSIGN_OR_RETURN(Tree root, DecodeTree(payload));
  ASSIGN_OR_RETURN(std::string compatible, root.GetString("compatible"));
  if (compatible != kManifestCompatible) {
    return absl::UnimplementedError(
        absl::StrCat("it is a \"", compatible, "\", not a \"", kManifestCompatible, "\""));
  }
  Manifest manifest;
  ASSIGN_OR_RETURN(manifest.old_kernel, root.GetString("old-kernel"));
  for (const Number& number : kNumbers) {
    ASSIGN_OR_RETURN(manifest.*number.field, root.GetU64(number.name));
  }
  std::set<std::string> names;
  for (const Tree& node : root.children()) {
    if (node.base_name() != "vm") {
      return absl::UnimplementedError(absl::StrCat("unknown node ", node.name()));
    }
    absl::StatusOr<ManifestVm> vm = DecodeVm(node);
    if (!vm.ok()) return Annotate(vm.status(), node.name());
    if (!names.insert(vm->name).second) {
      return absl::InvalidArgumentError(absl::StrCat("two VMs are called ", vm->name));
    }
    manifest.vms.push_back(*std::move(vm));
  }
  return manifest;
}

absl::StatusOr<std::vector<uint8_t>> ReadAll(int fd) {
  struct stat info;
  if (fstat(fd, &info) < 0) return ErrnoStatus(errno, "stat the manifest");
  if (info.st_size < 0 || static_cast<uint64_t>(info.st_size) > kMaxStateBytes) {
    return absl::InvalidArgumentError("the manifest is too large");
  }
  std::vector<uint8_t> bytes(info.st_size);
  for (size_t done = 0; done < bytes.size();) {
    ssize_t got = pread(fd, bytes.data() + done, bytes.size() - done, done);
    if (got < 0) return ErrnoStatus(errno, "read the manifest");
    if (got == 0) return absl::InvalidArgumentError("the manifest ends early");
    done += got;
  }
  return bytes;
}

absl::Status WriteAll(int fd, const std::vector<uint8_t>& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    ssize_t written = pwrite(fd, bytes.data() + done, bytes.size() - done, done);
    if (written < 0) return ErrnoStatus(errno, "write the manifest");
    done += written;
  }
  return absl::OkStatus();
}

// From `start` to `end`, 0 when either is unknown.
uint64_t Between(uint64_t start, uint64_t end, uint64_t khz) {
  return start == 0 || end <= start ? 0 : TscToNs(end - start, khz);
}

}  // namespace

bool Manifest::pending() const {
  return std::any_of(vms.begin(), vms.end(),
                     [](const ManifestVm& vm) { return vm.outcome == Outcome::kPending; });
}

ManifestVm* Manifest::Find(absl::string_view name) {
  for (ManifestVm& vm : vms) {
    if (vm.name == name) return &vm;
  }
  return nullptr;
}

absl::StatusOr<UniqueFd> WriteManifest(const Manifest& manifest) {
  ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, Encode(manifest));
  UniqueFd fd(memfd_create("luod-manifest", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return ErrnoStatus(errno, "memfd_create");
  RETURN_IF_ERROR(WriteAll(fd.get(), bytes));
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
    return ErrnoStatus(errno, "seal the manifest");
  }
  return fd;
}

absl::Status RewriteManifest(int memfd, const Manifest& manifest) {
  ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, Encode(manifest));
  struct stat info;
  if (fstat(memfd, &info) < 0) return ErrnoStatus(errno, "stat the manifest");
  if (static_cast<uint64_t>(info.st_size) != bytes.size()) {
    return absl::InternalError("the manifest changed its size");
  }
  return WriteAll(memfd, bytes);
}

absl::StatusOr<Manifest> ReadManifest(int fd) {
  ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, ReadAll(fd));
  absl::StatusOr<Manifest> manifest = Decode(bytes);
  if (!manifest.ok()) return Annotate(manifest.status(), "luod's manifest");
  return manifest;
}

absl::Status SaveManifest(const std::string& path, const Manifest& manifest) {
  ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, Encode(manifest));
  std::string temporary = path + ".new";
  UniqueFd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, temporary);
  RETURN_IF_ERROR(WriteAll(fd.get(), bytes));
  if (rename(temporary.c_str(), path.c_str()) < 0) return ErrnoStatus(errno, path);
  return absl::OkStatus();
}

absl::Status SaveUnreadableManifest(const std::string& path, int fd) {
  std::vector<uint8_t> bytes;
  if (fd >= 0) {
    ASSIGN_OR_RETURN(bytes, ReadAll(fd));
  }
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return errno == EEXIST ? absl::OkStatus() : ErrnoStatus(errno, path);
  return WriteAll(file.get(), bytes);
}

absl::StatusOr<Manifest> LoadManifest(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, path);
  absl::StatusOr<Manifest> manifest = ReadManifest(fd.get());
  if (!manifest.ok()) return Annotate(manifest.status(), path);
  return manifest;
}

HostStatus ReportOf(const Manifest& manifest) {
  uint64_t first_pause = 0;
  uint64_t last_run = 0;
  for (const ManifestVm& vm : manifest.vms) {
    if (vm.pause_tsc != 0 && (first_pause == 0 || vm.pause_tsc < first_pause)) {
      first_pause = vm.pause_tsc;
    }
    last_run = std::max(last_run, vm.run_tsc);
  }
  const uint64_t khz = manifest.tsc_khz;
  HostStatus report;
  report.old_kernel = manifest.old_kernel;
  report.generation = manifest.generation;
  report.check_ns = Between(manifest.check_tsc, manifest.prepare_tsc, khz);
  report.prepare_ns = Between(manifest.prepare_tsc, manifest.freeze_tsc, khz);
  report.freeze_ns = Between(manifest.freeze_tsc, manifest.kexec_tsc, khz);
  report.kexec_ns = Between(manifest.kexec_tsc, manifest.luod_tsc, khz);
  report.retrieve_ns = Between(manifest.luod_tsc, manifest.retrieved_tsc, khz);
  report.resume_ns = Between(manifest.retrieved_tsc, last_run, khz);
  report.blackout_ns = Between(first_pause, last_run, khz);
  return report;
}

VmStatus ReportOf(const ManifestVm& vm, uint64_t tsc_khz) {
  VmStatus status;
  status.name = vm.name;
  status.vcpus = vm.vcpus;
  status.memory_bytes = vm.memory_bytes;
  status.prepare_ns = vm.prepare_ns;
  status.freeze_ns = vm.freeze_ns;
  status.state_bytes = vm.state_bytes;
  status.blackout_ns = Between(vm.pause_tsc, vm.run_tsc, tsc_khz);
  return status;
}

}  // namespace vmm
