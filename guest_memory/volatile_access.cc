#include "guest_memory/volatile_access.h"

#include <string.h>

namespace vmm {
namespace {

// Calls access(offset, word) for each word of [guest, guest + size), where `word` only conveys the
// type.
template <typename Access>
void ForEachWord(const uint8_t* guest, size_t size, Access access) {
  size_t offset = 0;
  while (offset < size) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(guest) + offset;
    const size_t left = size - offset;
    const auto visit = [&](auto word) {
      if (address % sizeof(word) != 0 || left < sizeof(word)) return false;
      access(offset, word);
      offset += sizeof(word);
      return true;
    };
    visit(uint64_t{}) || visit(uint32_t{}) || visit(uint16_t{}) || visit(uint8_t{});
  }
}

// Relaxed atomics on volatile: one instruction each, neither split, fused nor repeated, and no data
// race in the eyes of the language or of ThreadSanitizer.
template <typename Word>
Word LoadWord(const uint8_t* guest) {
  return __atomic_load_n(reinterpret_cast<const volatile Word*>(guest), __ATOMIC_RELAXED);
}

template <typename Word>
void StoreWord(uint8_t* guest, Word word) {
  __atomic_store_n(reinterpret_cast<volatile Word*>(guest), word, __ATOMIC_RELAXED);
}

}  // namespace

void CopyFromGuest(const uint8_t* guest, uint8_t* out, size_t size) {
  ForEachWord(guest, size, [=](size_t offset, auto word) {
    word = LoadWord<decltype(word)>(guest + offset);
    memcpy(out + offset, &word, sizeof(word));
  });
}

void CopyToGuest(uint8_t* guest, const uint8_t* bytes, size_t size) {
  ForEachWord(guest, size, [=](size_t offset, auto word) {
    memcpy(&word, bytes + offset, sizeof(word));
    StoreWord(guest + offset, word);
  });
}

void FillGuest(uint8_t* guest, uint8_t value, size_t size) {
  ForEachWord(guest, size, [=](size_t offset, auto word) {
    memset(&word, value, sizeof(word));
    StoreWord(guest + offset, word);
  });
}

}  // namespace vmm
