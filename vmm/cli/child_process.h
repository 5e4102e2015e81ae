// ChildProcess: a program under test, with its standard input a pipe and its output kept.
//
//   ChildProcess vmm({VmmProgram(), "run", "--kernel=..."});
//   ASSERT_TRUE(vmm.WaitForOutput("up\n"));
//   vmm.Input("o");
//   EXPECT_EQ(vmm.WaitForExit(), 0);
//   EXPECT_EQ(vmm.errors(), "");
//
// Waits give up after a time that is far more than any needs. The child is killed where it is left
// behind.
#ifndef VMM_CLI_CHILD_PROCESS_H_
#define VMM_CLI_CHILD_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace vmm {

class ChildProcess {
 public:
  // `arguments` begins with the program, looked up in PATH. `terminal`, if any, is the child's
  // standard input and output instead, and its controlling terminal.
  explicit ChildProcess(const std::vector<std::string>& arguments, int terminal = -1);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }

  void Input(absl::string_view text);
  void CloseInput() { input_.Reset(); }
  void Signal(int number) const;

  // What it has written so far.
  std::string output() const;
  std::string errors() const;
  // False when time is up, or it ended without.
  bool WaitForOutput(absl::string_view text);
  bool WaitForErrors(absl::string_view text);

  // The exit code; 1000 + the signal's number when a signal killed it, -1 when time is up.
  int WaitForExit();

 private:
  bool Ended();
  bool WaitForText(int file, absl::string_view text);

  UniqueFd input_;
  UniqueFd output_;
  UniqueFd errors_;
  pid_t pid_ = -1;
  bool ended_ = false;
  int wait_status_ = 0;
};

// The vmm binary; wants to be called before the working directory changes.
std::string VmmProgram();

}  // namespace vmm

#endif  // VMM_CLI_CHILD_PROCESS_H_
