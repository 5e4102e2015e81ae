// vmm: runs a virtual machine whose guest survives the upgrade of its host's kernel.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/live_update/socket.h"
#include "vmm/machine/config.h"

namespace {

constexpr char kFooter[] =
    "Exit codes:\n"
    "  0  the guest switched itself off\n"
    "  1  bad input, or the host failed\n"
    "  2  the command line is wrong\n"
    "  3  the guest asked for a reset, with --on-reset=exit\n"
    "  4  the guest triple-faulted\n"
    "  5  KVM could not run the guest any further\n"
    "  128+N  ended by signal N (SIGTERM, SIGINT, SIGHUP); SIGPWR presses the power button\n"
    "\n"
    "Examples:\n"
    "  vmm run --kernel vmlinuz --initramfs initrd.img --cmdline \"console=ttyS0\" \\\n"
    "      --cpus 4 --memory 4G --name web1\n"
    "  luoctl upgrade --kernel /boot/vmlinuz-new --initrd /boot/initrd-new --reuse-cmdline\n";

constexpr char kResumeHelp[] =
    "Go on with a VM that came over a kexec (luod runs this for each VM)\n"
    "\n"
    "Usage: vmm resume --session-fd NUMBER [OPTIONS]\n"
    "\n"
    "Options:\n"
    "  -h,--help            Print this help message and exit\n"
    "  --session-fd NUMBER  Descriptor of the VM's retrieved LUO session\n"
    "  --serial TEXT        COM1 instead of where it was\n"
    "  --luod PATH          luod's socket, or none for no live update (%s)\n";

// CLI11's own conversions take 010 for 8 and explain a refusal in terms of types.
absl::StatusOr<int> ParseNumber(absl::string_view text) {
  int number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < 0) {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is no number from 0 up"));
  }
  return number;
}

// Adds the option `name`, which sets `field` to what `parse` makes of its value.
template <typename T, typename Parse>
CLI::Option* AddOption(CLI::App& command, std::string name, T& field, Parse parse,
                       std::string description) {
  const auto set = [&field, parse, name](const CLI::results_t& results) {
    auto value = parse(results.back());
    if (!value.ok()) {
      throw CLI::ValidationError(std::string(vmm::Annotate(value.status(), name).message()));
    }
    field = *value;
    return true;
  };
  return command.add_option(name, set, description);
}

void AddRunOptions(CLI::App& run, vmm::MachineConfig& config) {
  run.add_option("--kernel", config.kernel, "Guest kernel: bzImage, or ELF with a PVH entry")
      ->required()
      ->type_name("FILE");
  run.add_option("--initramfs,--initrd", config.initramfs, "Initial RAM file system")
      ->type_name("FILE");
  run.add_option("--cmdline", config.command_line, "The guest kernel's command line")
      ->type_name("TEXT");
  AddOption(run, "--cpus", config.vcpus, ParseNumber, "Number of vCPUs")
      ->type_name("NUMBER")
      ->default_str("1");
  AddOption(run, "--memory", config.memory_bytes, vmm::ParseByteSize, "Guest RAM, from 64M up")
      ->type_name("SIZE")
      ->default_str("512M");
  run.add_option("--name", config.name, "The VM's name, one of a kind on this host")
      ->capture_default_str();
  run.add_option("--serial", config.serial,
                 "COM1: tty (Ctrl-A x quits), file:PATH, socket:PATH or none")
      ->capture_default_str();
  AddOption(run, "--hugepages", config.huge_pages, vmm::ParseHugePages,
            "2 MiB folios for guest RAM: auto (says when the host gives none), on, off")
      ->type_name("POLICY")
      ->default_str("auto");
  run.add_flag("--prefault", config.prefault, "Allocate all guest RAM before the guest starts");
  AddOption(run, "--on-reset", config.on_reset, vmm::ParseOnReset,
            "What a guest's reset does: restart or exit")
      ->type_name("ACTION")
      ->default_str("restart");
}

// argv as CLI11 wants a vector of it: without the program's name, last argument first. CLI11 takes
// the argument after "--option=" for the option's value; split in two it is an empty one.
std::vector<std::string> Arguments(int argc, char** argv) {
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool empty_value =
        argument.starts_with("--") && argument.find('=') == argument.size() - 1;
    arguments.push_back(empty_value ? argument.substr(0, argument.size() - 1) : argument);
    if (empty_value) arguments.emplace_back();
  }
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

int Refuse(const std::string& why) {
  fprintf(stderr, "vmm: %s (see vmm --help)\n", why.c_str());
  return vmm::kExitUsage;
}

// Without CLI11: a guest stands still meanwhile, and CLI11's model of all options takes 20 ms to
// build where code is slow to run for the first time, as after a kexec.
int ResumeMain(int argc, char** argv) {
  std::optional<std::string> session_fd, serial, luod;
  const struct {
    absl::string_view name;
    std::optional<std::string>* value;
  } kOptions[] = {{"--session-fd", &session_fd}, {"--serial", &serial}, {"--luod", &luod}};
  for (int i = 2; i < argc; ++i) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(argv[i], absl::MaxSplits('=', 1));
    if (parts.first == "--help" || parts.first == "-h") {
      printf(kResumeHelp, vmm::kDefaultSocketPath);
      return 0;
    }
    const auto* option = std::find_if(std::begin(kOptions), std::end(kOptions),
                                      [&](const auto& one) { return one.name == parts.first; });
    if (option == std::end(kOptions)) {
      return Refuse(absl::StrCat("resume does not know ", argv[i]));
    }
    if (option->value->has_value()) return Refuse(absl::StrCat(option->name, " is given twice"));
    if (absl::StrContains(argv[i], '=')) {
      *option->value = std::string(parts.second);
    } else if (++i < argc) {
      *option->value = argv[i];
    } else {
      return Refuse(absl::StrCat(option->name, " wants a value"));
    }
  }
  if (!session_fd.has_value()) return Refuse("resume wants --session-fd");
  absl::StatusOr<int> fd = ParseNumber(*session_fd);
  if (!fd.ok()) return Refuse(absl::StrCat("--session-fd: ", fd.status().message()));
  vmm::ResumeOptions options{.session_fd = *fd,
                             .serial = serial.value_or(""),
                             .luod_socket = luod.value_or(vmm::kDefaultSocketPath)};
  if (options.luod_socket == "none") options.luod_socket.clear();
  return vmm::Resume(options);
}

int RunMain(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "resume") == 0) return ResumeMain(argc, argv);
  CLI::App app("A virtual machine monitor whose guests survive the upgrade of their host's kernel.",
               "vmm");
  app.footer(kFooter);
  vmm::MachineConfig config;
  std::string luod = vmm::kDefaultSocketPath;

  CLI::App* run = app.add_subcommand("run", "Start a virtual machine");
  AddRunOptions(*run, config);
  run->add_option("--luod", luod, "luod's socket, or none for no live update")
      ->type_name("PATH")
      ->default_str(vmm::kDefaultSocketPath);
  // For the list of commands alone.
  app.add_subcommand("resume", "Go on with a VM that came over a kexec (luod runs this)");

  try {
    app.parse(Arguments(argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return Refuse(error.what());
  }
  if (!run->parsed()) return Refuse("run or resume?");
  if (luod == "none") luod.clear();
  config.luod_socket = luod;
  return vmm::Run(std::move(config));
}

}  // namespace

int main(int argc, char** argv) {
  // Whoever closed a standard descriptor would find some file of the VM's in its place.
  int null;
  while ((null = open("/dev/null", O_RDWR)) >= 0 && null <= STDERR_FILENO) {
  }
  if (null >= 0) close(null);
  // The only exceptions are CLI11's, and allocation failure; neither may end in an abort.
  try {
    return RunMain(argc, argv);
  } catch (const std::exception& error) {
    fprintf(stderr, "vmm: %s\n", error.what());
    return vmm::kExitError;
  }
}
