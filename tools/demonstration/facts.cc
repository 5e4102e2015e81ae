#include "tools/demonstration/facts.h"

#include <math.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace vmm::demonstration {
namespace {

constexpr uint64_t kMiB = 1 << 20;

Fact Blackout(const Findings& findings) {
  Fact fact = {.name = "blackout", .value = Milliseconds(*findings.guest_blackout_ms)};
  fact.notes.push_back("as the guest's CLOCK_MONOTONIC saw it");
  if (findings.timeline.has_value()) {
    fact.notes.push_back(
        absl::StrCat(Milliseconds(findings.timeline->blackout_ms()), " by the host's TSC"));
  }
  return fact;
}

Fact BareKexec(const Findings& findings) {
  Fact fact = {.name = "bare kexec", .value = Milliseconds(*findings.bare_kexec_ms)};
  fact.notes.push_back("the same kernel, with no guest");
  if (findings.guest_blackout_ms.has_value()) {
    fact.notes.push_back(absl::StrFormat("the blackout is %.2f times as long",
                                         *findings.guest_blackout_ms / *findings.bare_kexec_ms));
  }
  return fact;
}

Fact RamCopied(const Findings& findings) {
  const uint64_t compared = *findings.pages_compared;
  const uint64_t moved = *findings.pages_moved;
  Fact fact = {.name = "RAM copied", .value = Bytes(moved * kPageBytes)};
  fact.notes.push_back(
      absl::StrCat(Grouped(compared - moved), " of ", Grouped(compared), " pages did not move"));
  if (findings.pages_moved_by_rehearsal.value_or(0) != 0) {
    // Before a guest's memory is pinned, the kernel moves it out of the memory that the next one
    // boots in. The rehearsal has had it done already, while the guest ran.
    fact.notes.push_back(absl::StrCat("the rehearsal before had moved ",
                                      Bytes(*findings.pages_moved_by_rehearsal * kPageBytes)));
  }
  return fact;
}

Fact Folios(const Findings& findings) {
  const uint64_t small = *findings.pages_compared - *findings.huge_pages;
  return {.name = "folios",
          .value = Bytes(*findings.huge_pages * kPageBytes),
          .notes = {"of guest RAM in 2 MiB folios",
                    absl::StrCat(Bytes(small * kPageBytes), " in smaller ones")}};
}

Fact Compared(const Findings& findings) {
  return {.name = "compared",
          .value = absl::StrCat(Grouped(findings.words_verified), " words"),
          .notes = {"of the guest's memory, each as it was written",
                    absl::StrCat(Grouped(findings.vector_checks), " times its vector registers")}};
}

}  // namespace

std::vector<Fact> FactsOf(const Findings& findings) {
  std::vector<Fact> facts;
  if (findings.guest_blackout_ms.has_value()) facts.push_back(Blackout(findings));
  if (findings.bare_kexec_ms.has_value()) facts.push_back(BareKexec(findings));
  if (findings.pages_compared.has_value()) facts.push_back(RamCopied(findings));
  if (findings.state_bytes.has_value()) {
    facts.push_back({.name = "state",
                     .value = absl::StrCat(Grouped(*findings.state_bytes), " bytes"),
                     .notes = {"vCPUs, devices and clocks, in one memfd"}});
  }
  if (findings.pages_compared.has_value()) facts.push_back(Folios(findings));
  if (findings.words_verified != 0) facts.push_back(Compared(findings));
  return facts;
}

std::string Headline(const Findings& findings) {
  return findings.ok() ? "The guest survived the replacement of its host's kernel"
                       : "The demonstration failed";
}

std::vector<std::string> Cast(const Findings& findings) {
  if (!findings.timeline.has_value()) return {};
  const bool software = findings.accelerator == "tcg";
  const bool same = findings.old_kernel == findings.new_kernel;
  return {
      absl::StrCat("Guest: Debian's kernel, ", findings.guest_cpus, " vCPUs, ",
                   Bytes(findings.guest_memory_bytes), ", under load."),
      absl::StrCat("Host: ", software ? "emulated in software" : "a virtual machine", ", Linux ",
                   findings.old_kernel, same ? " booted anew" : " replaced by Linux ",
                   same ? "" : findings.new_kernel, " by kexec.")};
}

std::string Grouped(uint64_t number) {
  std::string text = absl::StrCat(number);
  for (int at = static_cast<int>(text.size()) - 3; at > 0; at -= 3) text.insert(at, 1, ',');
  return text;
}

std::string Milliseconds(double ms) {
  if (fabs(ms) < 100) return absl::StrFormat("%.1f ms", ms);
  return absl::StrCat(ms < 0 ? "-" : "", Grouped(static_cast<uint64_t>(llround(fabs(ms)))), " ms");
}

std::string Bytes(uint64_t bytes) {
  if (bytes != 0 && bytes % kMiB == 0) return absl::StrCat(Grouped(bytes / kMiB), " MiB");
  return absl::StrCat(Grouped(bytes), " bytes");
}

}  // namespace vmm::demonstration
