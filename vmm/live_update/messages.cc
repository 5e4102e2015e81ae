#include "vmm/live_update/messages.h"

#include <string.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/machine/vm_name.h"

namespace vmm {
namespace {

// A Tree's string ends at a NUL, so text from elsewhere is cut there.
std::string Text(absl::string_view text) {
  text = text.substr(0, text.find('\0'));
  return std::string(text.substr(0, kMaxErrorText));
}

Message WithBody(MessageType type, uint32_t request, Tree body) {
  return Message{type, request, std::move(body), {}};
}

// Reads several properties with one check at the end: the first failure is kept.
class Reader {
 public:
  explicit Reader(const Tree& tree) : tree_(tree) {}

  Reader& Get(absl::string_view name, uint32_t& out) { return Keep(tree_.GetU32(name), out); }
  Reader& Get(absl::string_view name, uint64_t& out) { return Keep(tree_.GetU64(name), out); }
  Reader& Get(absl::string_view name, std::string& out) { return Keep(tree_.GetString(name), out); }
  Reader& Get(absl::string_view name, std::vector<std::string>& out) {
    return Keep(GetStringList(tree_, name), out);
  }
  Reader& GetVmName(std::string& out) {
    Get("name", out);
    if (status_.ok()) status_ = CheckVmName(out);
    return *this;
  }

  const absl::Status& status() const { return status_; }

 private:
  template <typename T>
  Reader& Keep(absl::StatusOr<T> value, T& out) {
    if (!status_.ok()) return *this;
    if (value.ok()) {
      out = *std::move(value);
    } else {
      status_ = value.status();
    }
    return *this;
  }

  const Tree& tree_;
  absl::Status status_;
};

}  // namespace

void SetStringList(Tree& tree, absl::string_view name, const std::vector<std::string>& list) {
  Tree::Bytes bytes;
  for (const std::string& entry : list) {
    bytes.insert(bytes.end(), entry.c_str(), entry.c_str() + strlen(entry.c_str()) + 1);
  }
  tree.SetBytes(name, bytes);
}

absl::StatusOr<std::vector<std::string>> GetStringList(const Tree& tree, absl::string_view name) {
  ASSIGN_OR_RETURN(absl::Span<const uint8_t> bytes, tree.GetBytes(name));
  if (!bytes.empty() && bytes.back() != 0) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is no list of strings"));
  }
  std::vector<std::string> list;
  while (!bytes.empty()) {
    if (list.size() == kMaxListStrings) {
      return absl::InvalidArgumentError(absl::StrCat(name, " has too many strings"));
    }
    list.emplace_back(reinterpret_cast<const char*>(bytes.data()));
    bytes.remove_prefix(list.back().size() + 1);
  }
  return list;
}

Message OkMessage(uint32_t request) { return WithBody(MessageType::kOk, request, Tree()); }

Message ErrorMessage(uint32_t request, const absl::Status& status) {
  Tree body;
  body.SetU32("code", static_cast<uint32_t>(status.code()));
  body.SetString("text", Text(status.message()));
  return WithBody(MessageType::kError, request, std::move(body));
}

absl::Status StatusOfAnswer(const Message& answer) {
  if (answer.type == MessageType::kOk) return absl::OkStatus();
  if (answer.type != MessageType::kError) {
    return absl::InvalidArgumentError(
        absl::StrCat(MessageTypeName(answer.type), " where an answer was expected"));
  }
  uint32_t code = 0;
  std::string text;
  RETURN_IF_ERROR(Reader(answer.body).Get("code", code).Get("text", text).status());
  if (code == 0 || code > static_cast<uint32_t>(absl::StatusCode::kUnauthenticated)) {
    code = static_cast<uint32_t>(absl::StatusCode::kUnknown);
  }
  return absl::Status(static_cast<absl::StatusCode>(code), text);
}

Message RegisterRequest::ToMessage(uint32_t request) const {
  Tree body;
  body.SetString("name", name);
  body.SetU32("vcpus", vcpus);
  body.SetU64("memory-bytes", memory_bytes);
  body.SetU32("pid", pid);
  SetStringList(body, "resume-argv", resume_argv);
  if (resumed) body.SetFlag("resumed");
  body.SetU64("run-tsc", run_tsc);
  return WithBody(MessageType::kRegister, request, std::move(body));
}

absl::StatusOr<RegisterRequest> RegisterRequest::FromTree(const Tree& tree) {
  RegisterRequest out;
  RETURN_IF_ERROR(Reader(tree)
                      .GetVmName(out.name)
                      .Get("vcpus", out.vcpus)
                      .Get("memory-bytes", out.memory_bytes)
                      .Get("pid", out.pid)
                      .Get("resume-argv", out.resume_argv)
                      .Get("run-tsc", out.run_tsc)
                      .status());
  out.resumed = tree.Has("resumed");
  if (out.resume_argv.empty() || out.resume_argv[0].empty() || out.resume_argv[0][0] != '/') {
    return absl::InvalidArgumentError("resume-argv must begin with an absolute path");
  }
  return out;
}

Message PingReply::ToMessage(uint32_t request) const {
  Tree body;
  body.SetU64("missing-bytes", missing_bytes);
  return WithBody(MessageType::kOk, request, std::move(body));
}

absl::StatusOr<PingReply> PingReply::FromTree(const Tree& tree) {
  PingReply out;
  // An older vmm answers without a body.
  if (!tree.Has("missing-bytes")) return out;
  RETURN_IF_ERROR(Reader(tree).Get("missing-bytes", out.missing_bytes).status());
  return out;
}

Message PrepareReply::ToMessage(uint32_t request) const {
  Tree body;
  body.SetU64("duration-ns", duration_ns);
  body.SetU64("preserved-bytes", preserved_bytes);
  return WithBody(MessageType::kOk, request, std::move(body));
}

absl::StatusOr<PrepareReply> PrepareReply::FromTree(const Tree& tree) {
  PrepareReply out;
  RETURN_IF_ERROR(Reader(tree)
                      .Get("duration-ns", out.duration_ns)
                      .Get("preserved-bytes", out.preserved_bytes)
                      .status());
  return out;
}

Message FreezeReply::ToMessage(uint32_t request) const {
  Tree body;
  body.SetU64("pause-tsc", pause_tsc);
  body.SetU64("duration-ns", duration_ns);
  body.SetU64("state-bytes", state_bytes);
  return WithBody(MessageType::kOk, request, std::move(body));
}

absl::StatusOr<FreezeReply> FreezeReply::FromTree(const Tree& tree) {
  FreezeReply out;
  RETURN_IF_ERROR(Reader(tree)
                      .Get("pause-tsc", out.pause_tsc)
                      .Get("duration-ns", out.duration_ns)
                      .Get("state-bytes", out.state_bytes)
                      .status());
  return out;
}

Message UpgradeRequest::ToMessage(uint32_t request, std::vector<UniqueFd> fds) const {
  Tree body;
  body.SetString("command-line", command_line);
  if (has_initrd) body.SetFlag("initrd");
  if (check_only) body.SetFlag("check-only");
  if (rehearse) body.SetFlag("rehearse");
  body.SetU32("vm-timeout-ms", vm_timeout_ms);
  return Message{MessageType::kUpgrade, request, std::move(body), std::move(fds)};
}

absl::StatusOr<UpgradeRequest> UpgradeRequest::FromMessage(const Message& message) {
  UpgradeRequest out;
  RETURN_IF_ERROR(Reader(message.body)
                      .Get("command-line", out.command_line)
                      .Get("vm-timeout-ms", out.vm_timeout_ms)
                      .status());
  out.has_initrd = message.body.Has("initrd");
  out.check_only = message.body.Has("check-only");
  out.rehearse = message.body.Has("rehearse");
  if (message.fds.size() != (out.has_initrd ? 2 : 1)) {
    return absl::InvalidArgumentError("an UPGRADE carries the kernel and, if announced, an initrd");
  }
  return out;
}

Message VmNameRequest::ToMessage(MessageType type, uint32_t request) const {
  Tree body;
  body.SetString("name", name);
  return WithBody(type, request, std::move(body));
}

absl::StatusOr<VmNameRequest> VmNameRequest::FromTree(const Tree& tree) {
  VmNameRequest out;
  RETURN_IF_ERROR(Reader(tree).GetVmName(out.name).status());
  return out;
}

Message Progress::ToMessage(uint32_t request) const {
  Tree body;
  body.SetString("phase", phase);
  body.SetString("text", Text(text));
  return WithBody(MessageType::kProgress, request, std::move(body));
}

absl::StatusOr<Progress> Progress::FromTree(const Tree& tree) {
  Progress out;
  RETURN_IF_ERROR(Reader(tree).Get("phase", out.phase).Get("text", out.text).status());
  return out;
}

Message VmStatus::ToMessage(uint32_t request) const {
  Tree body;
  body.SetString("name", name);
  body.SetString("state", state);
  body.SetString("detail", Text(detail));
  body.SetU32("vcpus", vcpus);
  body.SetU64("memory-bytes", memory_bytes);
  body.SetU32("pid", pid);
  body.SetU64("prepare-ns", prepare_ns);
  body.SetU64("freeze-ns", freeze_ns);
  body.SetU64("state-bytes", state_bytes);
  body.SetU64("blackout-ns", blackout_ns);
  return WithBody(MessageType::kVmStatus, request, std::move(body));
}

absl::StatusOr<VmStatus> VmStatus::FromTree(const Tree& tree) {
  VmStatus out;
  RETURN_IF_ERROR(Reader(tree)
                      .GetVmName(out.name)
                      .Get("state", out.state)
                      .Get("detail", out.detail)
                      .Get("vcpus", out.vcpus)
                      .Get("memory-bytes", out.memory_bytes)
                      .Get("pid", out.pid)
                      .Get("prepare-ns", out.prepare_ns)
                      .Get("freeze-ns", out.freeze_ns)
                      .Get("state-bytes", out.state_bytes)
                      .Get("blackout-ns", out.blackout_ns)
                      .status());
  return out;
}

Message HostStatus::ToMessage(uint32_t request) const {
  Tree body;
  body.SetString("phase", phase);
  body.SetString("kernel", kernel);
  body.SetString("old-kernel", old_kernel);
  body.SetU64("generation", generation);
  body.SetU32("pid", pid);
  body.SetU64("check-ns", check_ns);
  body.SetU64("prepare-ns", prepare_ns);
  body.SetU64("freeze-ns", freeze_ns);
  body.SetU64("kexec-ns", kexec_ns);
  body.SetU64("retrieve-ns", retrieve_ns);
  body.SetU64("resume-ns", resume_ns);
  body.SetU64("blackout-ns", blackout_ns);
  return WithBody(MessageType::kOk, request, std::move(body));
}

absl::StatusOr<HostStatus> HostStatus::FromTree(const Tree& tree) {
  HostStatus out;
  RETURN_IF_ERROR(Reader(tree)
                      .Get("phase", out.phase)
                      .Get("kernel", out.kernel)
                      .Get("old-kernel", out.old_kernel)
                      .Get("generation", out.generation)
                      .Get("pid", out.pid)
                      .Get("check-ns", out.check_ns)
                      .Get("prepare-ns", out.prepare_ns)
                      .Get("freeze-ns", out.freeze_ns)
                      .Get("kexec-ns", out.kexec_ns)
                      .Get("retrieve-ns", out.retrieve_ns)
                      .Get("resume-ns", out.resume_ns)
                      .Get("blackout-ns", out.blackout_ns)
                      .status());
  return out;
}

}  // namespace vmm
