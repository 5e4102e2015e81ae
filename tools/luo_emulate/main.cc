// luo-emulate: runs programs that use Linux's Live Update Orchestrator on a kernel without it. See
// luo_kernel/hosted/README.md. Exit codes: the program's; 125 where luo-emulate itself cannot work;
// 2 wrong usage.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "luo_kernel/hosted/instance.h"

namespace {

constexpr int kUsage = 2;
constexpr int kFailed = 125;  // as env(1), timeout(1) and others that run programs

constexpr char kDescription[] =
    "luo-emulate: runs PROGRAM on a kernel with /dev/liveupdate, which is emulated: the program "
    "and\n"
    "all that it starts see the device, and reboot(KEXEC) leads to the next command.\n"
    "\n"
    "  luo-emulate [--next COMMAND]... [--reexec] [--socket PATH] -- PROGRAM [ARGS]\n"
    "  luo-emulate --socket PATH            an instance for programs that join\n"
    "  luo-emulate --join PATH -- PROGRAM [ARGS]\n"
    "  luo-emulate --kexec                  inside an instance: kexec now";

constexpr char kFooter[] =
    "What is not as in Linux: a write past the end of a preserved memfd is not refused; the next\n"
    "reboot(KEXEC) is instead, with EPERM. Programs need no privileges. More is in\n"
    "luo_kernel/hosted/README.md, \"Limits\".\n"
    "The environment of programs: LUO_GENERATION (kexecs so far), LUO_CMDLINE (the command line\n"
    "that kexec_file_load() was given).\n"
    "Exit code: that of the last boot's program, 128 and the signal that killed it, or 125 where\n"
    "luo-emulate itself cannot go on.";

int Fail(const absl::Status& status) {
  fprintf(stderr, "luo-emulate: %s\n", std::string(status.message()).c_str());
  return kFailed;
}

}  // namespace

int main(int argc, char** argv) {
  // What is after "--" is the program's, whatever it looks like.
  int own = argc;
  for (int i = 1; i < argc && own == argc; ++i) {
    if (strcmp(argv[i], "--") == 0) own = i;
  }
  std::vector<std::string> program;
  for (int i = own + 1; i < argc; ++i) program.emplace_back(argv[i]);

  std::vector<std::string> next;
  std::string join;
  bool kexec = false;
  luo::InstanceOptions options;
  CLI::App app(kDescription, "luo-emulate");
  app.footer(kFooter);
  auto* next_option =
      app.add_option("--next", next, "what the next boot runs, by /bin/sh; once for each boot");
  next_option->expected(1)->take_all();
  auto* reexec =
      app.add_flag("--reexec", options.repeat_last, "further boots run the last command again");
  auto* socket = app.add_option("--socket", options.socket_path,
                                "where others join, and luoctl inspect looks");
  auto* metadata =
      app.add_option("--metadata", options.machine.metadata,
                     "memory for what KHO and LUO write themselves (MiB, GiB; default 256MiB)")
          ->transform(CLI::AsSizeValue(false));
  auto* join_option = app.add_option("--join", join, "run PROGRAM in the instance of that socket");
  auto* kexec_option = app.add_flag("--kexec", kexec, "load a next kernel and reboot into it");
  for (CLI::Option* option : std::vector<CLI::Option*>{next_option, reexec, socket, metadata}) {
    join_option->excludes(option);
    kexec_option->excludes(option);
  }
  kexec_option->excludes(join_option);
  try {
    app.parse(own, argv);
    if (kexec && !program.empty()) throw CLI::ArgumentMismatch("--kexec takes no program");
    if (!join.empty() && program.empty()) throw CLI::RequiredError("-- PROGRAM");
    if (!kexec && program.empty() && options.socket_path.empty()) {
      throw CLI::RequiredError("-- PROGRAM (or --socket)");
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }

  if (kexec) return Fail(luo::KexecFromInside());
  absl::StatusOr<int> code;
  if (!join.empty()) {
    code = luo::JoinInstance(join, program);
  } else {
    // Without a program the first boot has nothing to run, and later ones have.
    options.boots.push_back(std::move(program));
    for (const std::string& command : next) options.boots.push_back({"/bin/sh", "-c", command});
    code = luo::RunInstance(std::move(options));
  }
  return code.ok() ? *code : Fail(code.status());
}
