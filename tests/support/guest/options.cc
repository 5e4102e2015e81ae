#include "tests/support/guest/options.h"

#include <charconv>

namespace vmm::guest {
namespace {

constexpr std::string_view kPrefix = "workload.";

struct Option {
  std::string_view name;
  uint64_t Options::*value;
  uint64_t min;
  uint64_t max;
};

constexpr Option kOptions[] = {
    {"memory_percent", &Options::memory_percent, 1, 90},
    {"seed", &Options::seed, 0, UINT64_MAX},
    {"batch_pages", &Options::batch_pages, 1, 1 << 20},
    {"rest_us", &Options::rest_us, 0, 1'000'000},
    {"spins", &Options::spins, 1, 1'000'000'000},
    {"sample_us", &Options::sample_us, 1, 1'000'000},
    {"heartbeat_ms", &Options::heartbeat_ms, 0, 3'600'000},
};

bool ParseOption(std::string_view word, Options& options) {
  const size_t equals = word.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view name = word.substr(0, equals);
  const char* const end = word.data() + word.size();
  for (const Option& option : kOptions) {
    if (option.name != name) continue;
    uint64_t value;
    const auto [stop, error] = std::from_chars(word.data() + equals + 1, end, value);
    if (error != std::errc() || stop != end || value < option.min || value > option.max)
      return false;
    options.*option.value = value;
    return true;
  }
  return false;
}

}  // namespace

bool ParseOptions(std::string_view command_line, Options& options, std::string& error) {
  constexpr std::string_view kSpace = " \t\n";
  while (true) {
    const size_t begin = command_line.find_first_not_of(kSpace);
    if (begin == std::string_view::npos) return true;
    command_line.remove_prefix(begin);
    const std::string_view word = command_line.substr(0, command_line.find_first_of(kSpace));
    command_line.remove_prefix(word.size());
    if (word.substr(0, kPrefix.size()) != kPrefix) continue;
    if (!ParseOption(word.substr(kPrefix.size()), options)) {
      error = std::string(word);
      return false;
    }
  }
}

}  // namespace vmm::guest
