// Seeds of corpus/inspect that have handovers of the first LUO's in them: no mutation of others
// makes a valid device tree. They are those that the readers' tests have
// (luo_kernel/inspect/test_older_handover.h).
//
//   for (const auto& [name, seed] : OlderSeeds()) ...
#ifndef TESTS_FUZZ_OLDER_SEEDS_H_
#define TESTS_FUZZ_OLDER_SEEDS_H_

#include <stdint.h>

#include <map>
#include <string>
#include <vector>

namespace luo {

// {name: bytes}. Ends the program where one cannot be made.
std::map<std::string, std::vector<uint8_t>> OlderSeeds();

}  // namespace luo

#endif  // TESTS_FUZZ_OLDER_SEEDS_H_
