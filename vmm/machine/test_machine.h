// What a whole machine needs around it in a test: a guest to boot, somewhere to print, someone to
// hear of its end.
//
//   TestSurroundings surroundings;
//   auto machine = Machine::Boot(surroundings.ConfigWithCommands("o"), surroundings.environment());
//   (*machine)->Resume();
//   EXPECT_EQ(surroundings.WaitForEnd(), MachineEnd::Reason::kPowerOff);
//
// The guest is vmm/boot/test_kernel.h's. Waits give up after kPatience, far more than any needs.
#ifndef VMM_MACHINE_TEST_MACHINE_H_
#define VMM_MACHINE_TEST_MACHINE_H_

#include <stdint.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "devices/legacy/serial_output.h"
#include "guest_memory/guest_memory.h"
#include "vmm/machine/machine.h"

namespace vmm {

inline constexpr std::chrono::seconds kPatience{30};

// Outlives the machines that are given its environment.
class TestSurroundings final : private SerialOutput {
 public:
  TestSurroundings();

  // A machine of 64 MiB that boots the test kernel, to obey `commands`.
  MachineConfig ConfigWithCommands(absl::string_view commands) const;
  Machine::Environment environment();

  // What was printed so far, once it is `size` bytes or time is up.
  std::string WaitForOutput(size_t size);
  // How the machine ended first, or nullopt when time is up.
  std::optional<MachineEnd::Reason> WaitForEnd();
  std::vector<std::string> notices() const;

 private:
  void Write(absl::Span<const uint8_t> bytes) override;

  const UniqueFd kernel_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string output_;
  std::optional<MachineEnd> end_;
  std::vector<std::string> notices_;
};

// True as soon as `condition` holds; false when time is up.
bool WaitUntil(const std::function<bool()>& condition);

// The test kernel's counter.
uint32_t CountOf(const Machine& machine);
// Whether the guest runs: the counter moves.
bool Counts(const Machine& machine);

// The same RAM once more, by descriptors of its own: what a session gives back after the kexec.
absl::StatusOr<GuestMemory> SameMemory(const GuestMemory& memory);

// Saves `machine`, which is paused, as bytes, destroys it, and restores it from them over the same
// memory, as a live update does.
absl::StatusOr<std::unique_ptr<Machine>> SaveAndRestore(std::unique_ptr<Machine> machine,
                                                        TestSurroundings& surroundings);

}  // namespace vmm

#endif  // VMM_MACHINE_TEST_MACHINE_H_
