#include "vmm/machine/config.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "guest_memory/guest_memory.h"
#include "vmm/boot/platform.h"
#include "vmm/machine/vm_name.h"

namespace vmm {
namespace {

constexpr absl::string_view kCompatible = "vmm,config-v1";

absl::string_view OnResetName(OnReset on_reset) {
  return on_reset == OnReset::kRestart ? "restart" : "exit";
}

}  // namespace

absl::StatusOr<OnReset> ParseOnReset(absl::string_view text) {
  if (text == "restart") return OnReset::kRestart;
  if (text == "exit") return OnReset::kExit;
  return absl::InvalidArgumentError(absl::StrCat("restart or exit, not \"", text, "\""));
}

absl::StatusOr<HugePages> ParseHugePages(absl::string_view text) {
  if (text == "auto") return HugePages::kAuto;
  if (text == "on") return HugePages::kOn;
  if (text == "off") return HugePages::kOff;
  return absl::InvalidArgumentError(absl::StrCat("auto, on or off, not \"", text, "\""));
}

absl::string_view HugePagesName(HugePages huge_pages) {
  switch (huge_pages) {
    case HugePages::kAuto:
      return "auto";
    case HugePages::kOn:
      return "on";
    case HugePages::kOff:
      return "off";
  }
  return "auto";
}

absl::StatusOr<uint64_t> ParseByteSize(absl::string_view text) {
  const auto refuse = [text] {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is no size: write 512M, 4G or a number of bytes"));
  };
  size_t digits = 0;
  while (digits < text.size() && absl::ascii_isdigit(text[digits])) ++digits;
  uint64_t number = 0;
  if (!absl::SimpleAtoi(text.substr(0, digits), &number)) return refuse();
  std::string unit = absl::AsciiStrToUpper(text.substr(digits));
  int shift = 0;
  if (!unit.empty() && unit != "B") {
    constexpr absl::string_view kUnits = "KMGT";
    const size_t at = kUnits.find(unit[0]);
    if (at == absl::string_view::npos) return refuse();
    unit.erase(0, 1);
    if (!unit.empty() && unit != "B" && unit != "IB") return refuse();
    shift = 10 * (static_cast<int>(at) + 1);
  }
  if (number > UINT64_MAX >> shift) return refuse();
  return number << shift;
}

absl::Status MachineConfig::Validate() const {
  RETURN_IF_ERROR(CheckVmName(name));
  if (kernel.empty()) return absl::InvalidArgumentError("--kernel is missing");
  if (vcpus < 1 || vcpus > static_cast<uint32_t>(kMaxVcpus)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--cpus ", vcpus, " is impossible; it takes 1 to ", kMaxVcpus));
  }
  if (memory_bytes < kMinMemoryBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("--memory of ", memory_bytes, " bytes is too small; the least is 64M"));
  }
  if (auto ranges = SplitGuestRam(memory_bytes); !ranges.ok()) {
    return Annotate(ranges.status(), "--memory");
  }
  for (const std::string* text : {&kernel, &initramfs, &command_line, &serial, &luod_socket}) {
    if (text->find('\0') != std::string::npos) {
      return absl::InvalidArgumentError("an option has a NUL byte in it");
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> MachineConfig::ToArguments() const {
  std::vector<std::string> arguments = {
      "run",
      absl::StrCat("--name=", name),
      absl::StrCat("--kernel=", kernel),
      absl::StrCat("--cmdline=", command_line),
      absl::StrCat("--cpus=", vcpus),
      absl::StrCat("--memory=", memory_bytes),
      absl::StrCat("--hugepages=", HugePagesName(huge_pages)),
      absl::StrCat("--serial=", serial),
      absl::StrCat("--on-reset=", OnResetName(on_reset)),
      absl::StrCat("--luod=", luod_socket.empty() ? "none" : luod_socket),
  };
  if (!initramfs.empty()) arguments.push_back(absl::StrCat("--initramfs=", initramfs));
  if (prefault) arguments.push_back("--prefault");
  return arguments;
}

Tree MachineConfig::Save() const {
  Tree node("config");
  node.SetString("compatible", kCompatible);
  node.SetString("name", name);
  node.SetString("kernel", kernel);
  node.SetString("initramfs", initramfs);
  node.SetString("command-line", command_line);
  node.SetU32("vcpus", vcpus);
  node.SetU64("memory-bytes", memory_bytes);
  node.SetString("huge-pages", HugePagesName(huge_pages));
  if (prefault) node.SetFlag("prefault");
  node.SetString("serial", serial);
  node.SetString("on-reset", OnResetName(on_reset));
  node.SetString("luod-socket", luod_socket);
  return node;
}

absl::StatusOr<MachineConfig> MachineConfig::Restore(const Tree& node) {
  ASSIGN_OR_RETURN(std::string compatible, node.GetString("compatible"));
  if (compatible != kCompatible) {
    return absl::InvalidArgumentError(absl::StrCat("unknown config \"", compatible, "\""));
  }
  MachineConfig config;
  ASSIGN_OR_RETURN(config.name, node.GetString("name"));
  ASSIGN_OR_RETURN(config.kernel, node.GetString("kernel"));
  ASSIGN_OR_RETURN(config.initramfs, node.GetString("initramfs"));
  ASSIGN_OR_RETURN(config.command_line, node.GetString("command-line"));
  ASSIGN_OR_RETURN(config.vcpus, node.GetU32("vcpus"));
  ASSIGN_OR_RETURN(config.memory_bytes, node.GetU64("memory-bytes"));
  ASSIGN_OR_RETURN(std::string huge_pages, node.GetString("huge-pages"));
  ASSIGN_OR_RETURN(config.huge_pages, ParseHugePages(huge_pages));
  config.prefault = node.Has("prefault");
  ASSIGN_OR_RETURN(config.serial, node.GetString("serial"));
  ASSIGN_OR_RETURN(std::string on_reset, node.GetString("on-reset"));
  ASSIGN_OR_RETURN(config.on_reset, ParseOnReset(on_reset));
  ASSIGN_OR_RETURN(config.luod_socket, node.GetString("luod-socket"));
  RETURN_IF_ERROR(config.Validate());
  return config;
}

}  // namespace vmm
