// Where a time axis has its ticks, and what stands at them.
#ifndef TOOLS_DEMONSTRATION_AXIS_H_
#define TOOLS_DEMONSTRATION_AXIS_H_

#include <string>
#include <vector>

namespace vmm::demonstration {

// The ticks between two times in ms: round ones, at most eleven, 0 among them where it lies
// between.
std::vector<double> Ticks(double start_ms, double end_ms);

// A tick in seconds: "2 s", "0.5 s".
std::string TickLabel(double ms);

}  // namespace vmm::demonstration

#endif  // TOOLS_DEMONSTRATION_AXIS_H_
