// Problems: what is wrong with a handover, a line each. It goes on being read after the first, so
// there is a limit to how many are kept.
//
//   problems.Add("session \"a\": its block at 0x1000 is not preserved");
#ifndef LUO_KERNEL_INSPECT_PROBLEMS_H_
#define LUO_KERNEL_INSPECT_PROBLEMS_H_

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <utility>
#include <vector>

namespace luo {

class Problems {
 public:
  static constexpr size_t kMaxKept = 200;

  void Add(std::string problem) {
    if (kept_.size() < kMaxKept) {
      kept_.push_back(std::move(problem));
    } else {
      ++dropped_;
    }
  }

  bool empty() const { return kept_.empty(); }
  const std::vector<std::string>& kept() const { return kept_; }
  // How many more there were.
  uint64_t dropped() const { return dropped_; }

 private:
  std::vector<std::string> kept_;
  uint64_t dropped_ = 0;
};

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_PROBLEMS_H_
