// main() of a test whose process has a hosted kernel with LUO inside it.
#include <gtest/gtest.h>
#include <stdio.h>

#include <memory>
#include <string>

#include "luo_kernel/hosted/in_process.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  absl::StatusOr<std::unique_ptr<luo::HostedLiveUpdate>> luo = luo::HostedLiveUpdate::Create();
  int result = 1;
  absl::Status status = luo.status();
  if (luo.ok()) status = (*luo)->Run([&result] { result = RUN_ALL_TESTS(); });
  if (status.ok()) return result;
  const std::string message(status.message());
  const bool lacks = message.find("seccomp notifications") != std::string::npos;
  fprintf(stderr, "%s%s\n", lacks ? "SKIPPED: " : "", message.c_str());
  return lacks ? 0 : 1;
}
