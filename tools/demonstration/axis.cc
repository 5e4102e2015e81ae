#include "tools/demonstration/axis.h"

#include <math.h>

#include "absl/strings/str_cat.h"

namespace vmm::demonstration {
namespace {

constexpr int kMostIntervals = 10;

// The smallest of 1, 2, 5 times a power of ten that is at least `least`.
double RoundStep(double least) {
  const double power = pow(10, floor(log10(least)));
  for (double factor : {1., 2., 5.}) {
    if (factor * power >= least) return factor * power;
  }
  return 10 * power;
}

}  // namespace

std::vector<double> Ticks(double start_ms, double end_ms) {
  std::vector<double> ticks;
  if (!(end_ms > start_ms)) return ticks;
  const double step = RoundStep((end_ms - start_ms) / kMostIntervals);
  const auto first = static_cast<int64_t>(ceil(start_ms / step));
  for (int64_t i = first; i * step <= end_ms; ++i) ticks.push_back(i * step);
  return ticks;
}

std::string TickLabel(double ms) { return absl::StrCat(ms / 1000, " s"); }

}  // namespace vmm::demonstration
