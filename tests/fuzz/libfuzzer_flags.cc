// libFuzzer's flags that only the run knows: for how long ($FUZZ_SECONDS, so that a longer run is
// not another build) and where to leave an input that failed.
#include <stdlib.h>

#include <string>
#include <vector>

// Called by libFuzzer before it reads its arguments; of a flag given twice it takes the last.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  static std::vector<std::string> flags;
  if (const char* seconds = getenv("FUZZ_SECONDS")) {
    flags.push_back(std::string("-max_total_time=") + seconds);
  }
  // Bazel keeps what is there as outputs.zip beside the test's log.
  if (const char* folder = getenv("TEST_UNDECLARED_OUTPUTS_DIR")) {
    flags.push_back(std::string("-artifact_prefix=") + folder + "/");
  }
  static std::vector<char*> arguments(*argv, *argv + *argc);
  for (std::string& flag : flags) arguments.push_back(flag.data());
  *argc = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  *argv = arguments.data();
  return 0;
}
