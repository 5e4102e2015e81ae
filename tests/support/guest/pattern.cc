#include "tests/support/guest/pattern.h"

namespace vmm::guest {

// The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit of the input reaches every bit
// of the word.
uint64_t PatternWord(uint64_t seed, uint64_t index, uint32_t generation) {
  uint64_t z = seed + index * 0x9e3779b97f4a7c15 + generation * 0xd1b54a32d192ed03;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void PatternErrors::Merge(const PatternErrors& other) {
  if (other.count == 0) return;
  const uint64_t sum = count + other.count;
  if (count == 0) *this = other;
  count = sum;
}

void PatternRegion::Fill() {
  for (size_t page = 0; page < pages(); ++page) {
    generations_[page] = 0;
    Write(page);
  }
}

PatternErrors PatternRegion::Verify(size_t page) const {
  PatternErrors errors;
  const volatile uint64_t* words = words_ + page * kWordsPerPage;
  const uint64_t index = first_index_ + page * kWordsPerPage;
  for (size_t i = 0; i < kWordsPerPage; ++i) {
    const uint64_t expected = PatternWord(seed_, index + i, generations_[page]);
    const uint64_t found = words[i];
    if (found != expected) errors.Merge({1, index + i, expected, found});
  }
  return errors;
}

PatternErrors PatternRegion::Advance(size_t page) {
  const PatternErrors errors = Verify(page);
  ++generations_[page];
  Write(page);
  return errors;
}

void PatternRegion::Write(size_t page) {
  volatile uint64_t* words = words_ + page * kWordsPerPage;
  const uint64_t index = first_index_ + page * kWordsPerPage;
  for (size_t i = 0; i < kWordsPerPage; ++i) {
    words[i] = PatternWord(seed_, index + i, generations_[page]);
  }
}

}  // namespace vmm::guest
