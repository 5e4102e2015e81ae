// A stretch of memory whose every word is known, and keeps changing: what a guest's RAM holds while
// its host is updated.
//
//   PatternRegion region(words, /*first_index=*/0, seed);
//   region.Fill();
//   region.Advance(17);                        // Page 17 is checked, then rewritten anew.
//   PatternErrors errors = region.Verify(17);  // Nothing but what was written last.
//
// A word is a function of the seed, its index and how often its page was rewritten, so a page that
// is lost, stale, swapped with another or torn shows. A page is 4096 bytes, 512 words. Not
// synchronised: one thread at a time.
#ifndef TESTS_SUPPORT_GUEST_PATTERN_H_
#define TESTS_SUPPORT_GUEST_PATTERN_H_

#include <stddef.h>
#include <stdint.h>

#include <vector>

namespace vmm::guest {

inline constexpr size_t kWordsPerPage = 4096 / sizeof(uint64_t);

// The word at `index` in generation `generation`.
uint64_t PatternWord(uint64_t seed, uint64_t index, uint32_t generation);

// Words that did not hold what they should, and the first of them.
struct PatternErrors {
  uint64_t count = 0;
  uint64_t index = 0;
  uint64_t expected = 0;
  uint64_t found = 0;

  // Adds `other`'s count; the first error stays the first.
  void Merge(const PatternErrors& other);
};

class PatternRegion {
 public:
  // Covers `pages` pages from `words`, which must outlive this; `first_index` is the first word's
  // index in the whole.
  PatternRegion(uint64_t* words, size_t pages, uint64_t first_index, uint64_t seed)
      : words_(words), first_index_(first_index), seed_(seed), generations_(pages) {}

  size_t pages() const { return generations_.size(); }

  // Writes generation 0 everywhere.
  void Fill();

  // Compares page `page` with what was written last.
  PatternErrors Verify(size_t page) const;

  // Verify(), then writes the page's next generation word by word.
  PatternErrors Advance(size_t page);

 private:
  void Write(size_t page);

  uint64_t* words_;
  uint64_t first_index_;
  uint64_t seed_;
  std::vector<uint32_t> generations_;  // A page each.
};

}  // namespace vmm::guest

#endif  // TESTS_SUPPORT_GUEST_PATTERN_H_
