// Runs a fuzz target without a fuzzer, over seeds, and over mutations of them that are the same in
// every run. So any compiler's sanitizers see the targets, and a target cannot rot between fuzzing
// runs. The arguments are the longest input that the fuzzer tries, in bytes, and the seeds.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Input = std::vector<uint8_t>;

constexpr int kMutationsPerSeed = 1000;
constexpr int kMaxChanges = 4;
// Values at which length and offset arithmetic tends to break.
constexpr uint64_t kEdges[] = {0,          1,          0x7f,           0xff,
                               0x7fff,     0xffff,     0x7fffffff,     0xffffffff,
                               0x80000000, 0xfffff000, 0x7fffffffffff, ~uint64_t{0}};

size_t Below(std::mt19937& random, size_t bound) { return bound == 0 ? 0 : random() % bound; }

void Change(std::mt19937& random, Input& input) {
  const size_t at = Below(random, input.size());
  switch (Below(random, 5)) {
    case 0:  // a bit
      if (!input.empty()) input[at] ^= static_cast<uint8_t>(1 << Below(random, 8));
      break;
    case 1:  // a byte
      if (!input.empty()) input[at] = static_cast<uint8_t>(random());
      break;
    case 2: {  // a number, of any width and byte order
      const uint64_t edge = kEdges[Below(random, std::size(kEdges))];
      const size_t width = size_t{1} << Below(random, 4);
      const bool big_endian = Below(random, 2) != 0;
      for (size_t i = 0; i < width && at + i < input.size(); ++i) {
        input[at + i] = static_cast<uint8_t>(edge >> 8 * (big_endian ? width - 1 - i : i));
      }
      break;
    }
    case 3:  // cut short
      input.resize(at);
      break;
    case 4:  // something twice
      input.insert(input.end(), input.begin() + at, input.begin() + at + (input.size() - at) / 2);
      break;
  }
}

void Run(const Input& input) { LLVMFuzzerTestOneInput(input.data(), input.size()); }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: %s MAX_LEN SEED...\n", argv[0]);
    return 2;
  }
  const size_t max_len = strtoul(argv[1], nullptr, 10);
  Run({});
  for (int i = 2; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    if (!file) {
      fprintf(stderr, "cannot open the seed %s\n", argv[i]);
      return 1;
    }
    const Input seed{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (seed.size() > max_len) {
      fprintf(stderr, "the seed %s has %zu bytes, and max_len is %zu: libFuzzer would cut it\n",
              argv[i], seed.size(), max_len);
      return 1;
    }
    Run(seed);
    std::mt19937 random(static_cast<uint32_t>(i - 1));
    for (int mutation = 0; mutation < kMutationsPerSeed; ++mutation) {
      Input mutant = seed;
      for (size_t changes = 1 + Below(random, kMaxChanges); changes > 0; --changes) {
        Change(random, mutant);
      }
      Run(mutant);
    }
  }
  return 0;
}
