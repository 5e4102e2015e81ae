// luoctl: the operator's command. Exit codes: 0 done; 1 failed (guests run on as before); 2 wrong
// usage; 3 luod cannot be reached or was lost on the way.
#include <stdint.h>

#include <CLI/CLI.hpp>
#include <map>
#include <string>

#include "tools/luoctl/commands.h"
#include "tools/luoctl/inspect.h"

int main(int argc, char** argv) {
  vmm::Options options;
  CLI::App app("luoctl: host updates under running VMs.");
  app.require_subcommand(1);
  app.add_option("--socket", options.socket_path, "where luod listens")->capture_default_str();

  CLI::App* status = app.add_subcommand("status", "VMs, and how the last update went");
  status->add_flag("--json", options.json, "for programs");
  CLI::App* upgrade = app.add_subcommand("upgrade", "kexec into another kernel, VMs come along");
  upgrade->add_option("--kernel", options.kernel, "the kernel's bzImage")->required();
  upgrade->add_option("--initrd", options.initrd, "its initrd");
  upgrade->add_flag("--reuse-cmdline", options.command_line.reuse,
                    "the running kernel's command line (the default)");
  upgrade->add_option("--append", options.command_line.append, "what to add to it");
  upgrade->add_option("--command-line", options.command_line.replace, "this instead of it");
  upgrade->add_flag("--dry-run", options.dry_run, "check only, change nothing");
  upgrade->add_flag("--rehearse", options.rehearse,
                    "check, preserve every VM's memory while it runs, and undo it");
  upgrade
      ->add_option("--timeout", options.timeout_ms,
                   "how long a VM may take for one step (ms, s, min; default: luod's)")
      ->transform(CLI::AsNumberWithUnit(
          std::map<std::string, uint32_t>{{"ms", 1}, {"s", 1000}, {"min", 60'000}},
          CLI::AsNumberWithUnit::UNIT_REQUIRED))
      ->check(CLI::Range(1u, 86'400'000u));
  CLI::App* cancel = app.add_subcommand("cancel", "call off the update in progress");
  CLI::App* retry = app.add_subcommand("retry", "resume a failed VM once more");
  retry->add_option("name", options.name, "the VM")->required();
  CLI::App* abandon = app.add_subcommand("abandon", "give a failed VM up for good");
  abandon->add_option("name", options.name, "the VM")->required();
  abandon->add_flag("--yes", options.yes, "its memory is lost: yes");
  vmm::InspectOptions inspection;
  CLI::App* inspect = app.add_subcommand("inspect", "what a kernel hands over to the next");
  inspect->add_option("image,--image", inspection.image,
                      "a machine's memory: an ELF core, as QEMU's\n"
                      "dump-guest-memory and kdump's /proc/vmcore are\n"
                      "(default: the running kernel's)");
  inspect
      ->add_option("--hosted", inspection.hosted,
                   "the socket of a hosted instance\n(luo-emulate --socket)")
      ->excludes("--image");
  inspect->add_option("--fdt", inspection.fdt,
                      "physical address of KHO's device tree, in\n"
                      "hexadecimal (default: all memory is searched)");
  inspect->add_option("--extract", inspection.extract,
                      "a folder for the contents of preserved memfds");
  inspect->add_flag("--salvage", inspection.salvage,
                    "search for what is left of a handover that a\nkernel has read, too");
  inspect->add_flag("--json", inspection.json, "for programs");
  inspect->add_flag("--all", inspection.all, "every session and file, not only the first");
  inspect->footer(
      "  luoctl inspect                                the running kernel, as root\n"
      "  luoctl inspect /proc/vmcore                   in a crash kernel: what was lost\n"
      "  luoctl inspect vmcore --extract /var/tmp/out  the files' contents, too\n"
      "Exit code 0 where something was shown, whatever is wrong with it; 1 where\n"
      "nothing could be; 2 for wrong usage.");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? vmm::kDone : vmm::kUsage;
  }
  if (inspect->parsed()) return vmm::RunInspect(inspection);
  if (status->parsed()) return vmm::RunStatus(options);
  if (upgrade->parsed()) return vmm::RunUpgrade(options);
  if (cancel->parsed()) return vmm::RunCancel(options);
  if (retry->parsed()) return vmm::RunRetry(options);
  return vmm::RunAbandon(options);
}
