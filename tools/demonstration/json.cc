#include "tools/demonstration/json.h"

#include <math.h>

#include <nlohmann/json.hpp>
#include <optional>

namespace vmm::demonstration {
namespace {

using OrderedJson = nlohmann::ordered_json;

// To the microsecond: more is noise.
OrderedJson Ms(std::optional<double> ms) {
  return ms.has_value() ? OrderedJson(round(*ms * 1000) / 1000) : OrderedJson();
}

OrderedJson OrNull(const std::optional<uint64_t>& number) {
  return number.has_value() ? OrderedJson(*number) : OrderedJson();
}

OrderedJson PagesAsBytes(const std::optional<uint64_t>& pages) {
  return pages.has_value() ? OrderedJson(*pages * kPageBytes) : OrderedJson();
}

}  // namespace

std::string Json(const Findings& findings) {
  OrderedJson json = {{"ok", findings.ok()}, {"why", nullptr}, {"failures", findings.failures}};
  if (!findings.ok()) json["why"] = findings.failures[0];
  json["host"] = {{"accelerator", findings.accelerator},
                  {"old_kernel", findings.old_kernel},
                  {"new_kernel", findings.new_kernel}};
  json["guest"] = {{"vcpus", findings.guest_cpus}, {"memory_bytes", findings.guest_memory_bytes}};

  json["phases_ms"] = nullptr;
  json["blackout_ms"] = Ms(findings.guest_blackout_ms);
  json["blackout_by_guest_tsc_ms"] = Ms(findings.guest_tsc_blackout_ms);
  json["blackout_by_host_ms"] = nullptr;
  if (findings.timeline.has_value()) {
    for (const Phase& phase : findings.timeline->phases) {
      json["phases_ms"][phase.name] = Ms(phase.duration_ms());
    }
    json["blackout_by_host_ms"] = Ms(findings.timeline->blackout_ms());
  }
  json["bare_kexec_ms"] = Ms(findings.bare_kexec_ms);

  json["bytes_copied"] = PagesAsBytes(findings.pages_moved);
  json["bytes_moved_by_rehearsal"] = PagesAsBytes(findings.pages_moved_by_rehearsal);
  json["state_bytes"] = OrNull(findings.state_bytes);
  json["pfns_compared"] = OrNull(findings.pages_compared);
  json["pfns_changed"] = OrNull(findings.pages_moved);
  json["folio_sizes"] = nullptr;
  if (findings.pages_compared.has_value() && findings.huge_pages.has_value()) {
    const uint64_t small = *findings.pages_compared - *findings.huge_pages;
    json["folio_sizes"] = {
        {{"folio_bytes", 2 << 20}, {"ram_bytes", *findings.huge_pages * kPageBytes}},
        {{"folio_bytes", kPageBytes}, {"ram_bytes", small * kPageBytes}}};
  }
  json["words_verified"] = findings.words_verified;
  json["vector_register_checks"] = findings.vector_checks;
  // A guest's words need not be UTF-8.
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

}  // namespace vmm::demonstration
