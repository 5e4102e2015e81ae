// The guest workload's options, from the kernel's command line: words of the form
// workload.NAME=NUMBER.
#ifndef TESTS_SUPPORT_GUEST_OPTIONS_H_
#define TESTS_SUPPORT_GUEST_OPTIONS_H_

#include <stdint.h>

#include <string>
#include <string_view>

namespace vmm::guest {

struct Options {
  uint64_t memory_percent = 50;  // Of the memory free at the start, filled with the pattern.
  uint64_t seed = 1;             // Of the pattern.
  uint64_t batch_pages = 16;     // Pages a thread rewrites between two rests.
  uint64_t rest_us = 1000;       // The rest's length; 0 never rests.
  uint64_t spins = 20000;        // Turns that hold the vector registers before each rest.
  uint64_t sample_us = 1000;     // Between two looks at the clocks.
  uint64_t heartbeat_ms = 1000;  // Between two heartbeat lines; 0 prints none.
};

// Reads `command_line`, leaving other words alone. False, with the word in `error`, where a
// workload.* word is unknown, not a number or out of range.
bool ParseOptions(std::string_view command_line, Options& options, std::string& error);

}  // namespace vmm::guest

#endif  // TESTS_SUPPORT_GUEST_OPTIONS_H_
