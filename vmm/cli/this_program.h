// Where the program of this process lies, for whoever runs it again.
//
//   .resume_argv = {PathOfThisProgram(), "resume"}
#ifndef VMM_CLI_THIS_PROGRAM_H_
#define VMM_CLI_THIS_PROGRAM_H_

#include <string>

namespace vmm {

// What to execute to become this very program again, even where its file is gone or another has
// taken its place (proc_pid_exe(5)). Of this process and now alone.
inline constexpr char kThisProgram[] = "/proc/self/exe";

// The absolute path that this program was started from. Where its file has been replaced there
// since, as an upgrade does, that is the path of the new one: the program for the next kernel to
// run. "vmm" where /proc does not say. `link` is another of /proc's links in tests only.
std::string PathOfThisProgram(const std::string& link = kThisProgram);

}  // namespace vmm

#endif  // VMM_CLI_THIS_PROGRAM_H_
