// luod's log, on standard error. A line never waits for whoever reads it: a pipe that is full, a
// terminal that is stopped or a journal that hangs would keep guests frozen.
//
//   Log("VM db registered");
//
// What cannot be written at once is dropped, and the next line that can be says how much was.
// One thread.
#ifndef TOOLS_LUOD_LOG_H_
#define TOOLS_LUOD_LOG_H_

#include <stdint.h>

#include <string>

namespace vmm {

class LineLog {
 public:
  // `fd` is borrowed.
  explicit LineLog(int fd) : fd_(fd) {}
  void Write(const std::string& line);

 private:
  int fd_;
  uint64_t dropped_ = 0;
};

// "luod: LINE" on standard error.
void Log(const std::string& line);

}  // namespace vmm

#endif  // TOOLS_LUOD_LOG_H_
