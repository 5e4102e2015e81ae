#include "tools/luod/spawner.h"

#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace vmm {
namespace {

struct SpawnOptions {
  SpawnOptions() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnOptions() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnOptions(const SpawnOptions&) = delete;
  SpawnOptions& operator=(const SpawnOptions&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

}  // namespace

absl::StatusOr<pid_t> ProcessSpawner::Spawn(const std::vector<std::string>& argv, int session_fd) {
  if (argv.empty()) return absl::InvalidArgumentError("nothing to start");
  std::vector<std::string> arguments = argv;
  arguments.insert(arguments.end(),
                   {"--session-fd", absl::StrCat(kSessionFdOfChild), "--luod", socket_path_});
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);

  SpawnOptions options;
  // Clears close-on-exec even when the two are the same descriptor.
  posix_spawn_file_actions_adddup2(&options.actions, session_fd, kSessionFdOfChild);
  posix_spawn_file_actions_addclosefrom_np(&options.actions, kSessionFdOfChild + 1);
  // luod blocks the signals that it reads from a descriptor; the child must not inherit that.
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&options.attributes, &none);
  // Nor those that it ignores (main.cc).
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigdefault(&options.attributes, &all);
  posix_spawnattr_setflags(&options.attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  pid_t pid = 0;
  int error = posix_spawn(&pid, pointers[0], &options.actions, &options.attributes, pointers.data(),
                          environ);
  if (error != 0) return ErrnoStatus(error, absl::StrCat("start ", arguments[0]));
  return pid;
}

}  // namespace vmm
