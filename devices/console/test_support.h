// What the console's tests share: descriptors of every kind, and reads that give up instead of
// hanging.
#ifndef DEVICES_CONSOLE_TEST_SUPPORT_H_
#define DEVICES_CONSOLE_TEST_SUPPORT_H_

#include <chrono>
#include <functional>
#include <string>

#include "base/unique_fd.h"

namespace vmm {

// Long enough for a busy machine with a sanitizer; a test that passes never waits for it.
inline constexpr std::chrono::seconds kTestTimeout{20};

struct FdPair {
  UniqueFd read;   // of a pty: the side that stands for whoever sits at the terminal
  UniqueFd write;  // of a pty: the terminal
};
FdPair MakePipe();
FdPair MakePty();
FdPair MakeSocketPair(int type);

// A directory of the test's own, removed with what is in it.
class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();
  std::string Path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Connects to a Unix stream socket; invalid when nobody listens.
UniqueFd ConnectTo(const std::string& path);

// Reads `size` bytes, or what came before the end or kTestTimeout.
std::string ReadBytes(int fd, size_t size);
// Reads to the end.
std::string ReadToEnd(int fd);
void WriteAll(int fd, const std::string& text);

// True once `condition` is, false after kTestTimeout.
bool Eventually(const std::function<bool()>& condition);

}  // namespace vmm

#endif  // DEVICES_CONSOLE_TEST_SUPPORT_H_
