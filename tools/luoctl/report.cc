#include "tools/luoctl/report.h"

#include <stdint.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace vmm {
namespace {

double Ms(uint64_t ns) { return static_cast<double>(ns) / 1e6; }

}  // namespace

std::string StatusText(const HostStatus& host, const std::vector<VmStatus>& vms) {
  std::string text = absl::StrFormat("luod: %s, process %d, kernel %s, %d VMs\n", host.phase,
                                     host.pid, host.kernel, vms.size());
  if (!host.old_kernel.empty()) {
    absl::StrAppendFormat(
        &text,
        "last update: number %d, from kernel %s, blackout %.1f ms\n"
        "  check %.1f, prepare %.1f, freeze %.1f, kexec %.1f, retrieve %.1f, resume %.1f ms\n",
        host.generation, host.old_kernel, Ms(host.blackout_ns), Ms(host.check_ns),
        Ms(host.prepare_ns), Ms(host.freeze_ns), Ms(host.kexec_ns), Ms(host.retrieve_ns),
        Ms(host.resume_ns));
  }
  if (vms.empty()) return text;
  absl::StrAppendFormat(&text, "%-24s %-9s %7s %5s %9s %12s\n", "VM", "STATE", "PID", "VCPUS",
                        "MEMORY", "BLACKOUT");
  for (const VmStatus& vm : vms) {
    std::string blackout =
        vm.blackout_ns == 0 ? "-" : absl::StrFormat("%.1f ms", Ms(vm.blackout_ns));
    absl::StrAppendFormat(&text, "%-24s %-9s %7d %5d %5d MiB %12s\n", vm.name, vm.state, vm.pid,
                          vm.vcpus, vm.memory_bytes >> 20, blackout);
    if (!vm.detail.empty()) absl::StrAppend(&text, "    ", vm.detail, "\n");
  }
  return text;
}

std::string StatusJson(const HostStatus& host, const std::vector<VmStatus>& vms) {
  nlohmann::ordered_json json = {
      {"phase", host.phase}, {"pid", host.pid}, {"kernel", host.kernel}, {"last_update", nullptr}};
  if (!host.old_kernel.empty()) {
    json["last_update"] = {
        {"generation", host.generation},       {"old_kernel", host.old_kernel},
        {"check_ms", Ms(host.check_ns)},       {"prepare_ms", Ms(host.prepare_ns)},
        {"freeze_ms", Ms(host.freeze_ns)},     {"kexec_ms", Ms(host.kexec_ns)},
        {"retrieve_ms", Ms(host.retrieve_ns)}, {"resume_ms", Ms(host.resume_ns)},
        {"blackout_ms", Ms(host.blackout_ns)}};
  }
  json["vms"] = nlohmann::ordered_json::array();
  for (const VmStatus& vm : vms) {
    json["vms"].push_back({{"name", vm.name},
                           {"state", vm.state},
                           {"detail", vm.detail},
                           {"pid", vm.pid},
                           {"vcpus", vm.vcpus},
                           {"memory_bytes", vm.memory_bytes},
                           {"prepare_ms", Ms(vm.prepare_ns)},
                           {"freeze_ms", Ms(vm.freeze_ns)},
                           {"state_bytes", vm.state_bytes},
                           {"blackout_ms", Ms(vm.blackout_ns)}});
  }
  // A VM's words need not be UTF-8.
  using Json = nlohmann::ordered_json;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace vmm
