// FakeSessions: the two kernels of an update in one process, for luod's unit tests. A session is a
// pipe's read end, so that the tests see its last close as EPIPE would: IsOpen() asks the write
// end. Kexec() makes what was preserved retrievable; nothing else outlives it.
#ifndef TOOLS_LUOD_FAKE_SESSIONS_H_
#define TOOLS_LUOD_FAKE_SESSIONS_H_

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tools/luod/sessions.h"

namespace vmm {

class FakeSessions : public Sessions {
 public:
  absl::StatusOr<luo::LiveUpdateSession> Create(const std::string& name) override {
    if (name == fail_create) return absl::ResourceExhaustedError("no room for a session");
    if (outgoing_.contains(name) && IsOpen(outgoing_[name])) {
      return absl::AlreadyExistsError(name);
    }
    outgoing_.erase(name);
    return Open(outgoing_[name]);
  }

  absl::StatusOr<luo::LiveUpdateSession> Retrieve(const std::string& name) override {
    auto found = incoming_.find(name);
    if (found == incoming_.end()) return absl::NotFoundError(name);
    if (found->second.write_end.valid()) {
      if (IsOpen(found->second)) return absl::InvalidArgumentError("retrieved already");
      return absl::NotFoundError(name);
    }
    return Open(found->second);
  }

  absl::Status Preserve(luo::LiveUpdateSession& session, int fd, uint64_t token) override {
    for (auto& [name, entry] : outgoing_) {
      if (entry.inode != Inode(session.fd())) continue;
      if (name == fail_preserve) return absl::ResourceExhaustedError("no room for a file");
      entry.files[token].Reset(fcntl(fd, F_DUPFD_CLOEXEC, 0));
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError("no outgoing session");
  }

  absl::StatusOr<UniqueFd> RetrieveFile(luo::LiveUpdateSession& session, uint64_t token) override {
    for (auto& [name, entry] : incoming_) {
      if (entry.inode != Inode(session.fd())) continue;
      auto found = entry.files.find(token);
      if (found == entry.files.end()) return absl::NotFoundError("no such token");
      return UniqueFd(fcntl(found->second.get(), F_DUPFD_CLOEXEC, 0));
    }
    return absl::InvalidArgumentError("no incoming session");
  }

  absl::Status Finish(luo::LiveUpdateSession& session) override {
    for (auto& [name, entry] : incoming_) {
      if (entry.inode == Inode(session.fd())) {
        finished.insert(name);
        return absl::OkStatus();
      }
    }
    return absl::InvalidArgumentError("no incoming session");
  }

  // The sessions that somebody still holds go to the next kernel.
  void Kexec() {
    incoming_.clear();
    for (auto& [name, entry] : outgoing_) {
      if (IsOpen(entry)) incoming_[name].files = std::move(entry.files);
    }
    outgoing_.clear();
  }

  // Puts an incoming session there by hand.
  void AddIncoming(const std::string& name, uint64_t token, UniqueFd file) {
    incoming_[name].files[token] = std::move(file);
  }

  bool OutgoingOpen(const std::string& name) {
    return outgoing_.contains(name) && IsOpen(outgoing_[name]);
  }
  // Whether some descriptor of the retrieved session is open.
  bool IncomingOpen(const std::string& name) {
    return incoming_.contains(name) && IsOpen(incoming_[name]);
  }

  std::string fail_create;    // the name of a session that cannot be created
  std::string fail_preserve;  // or preserved into
  std::set<std::string> finished;

 private:
  struct Entry {
    UniqueFd write_end = UniqueFd();
    ino_t inode = 0;
    std::map<uint64_t, UniqueFd> files = {};
  };

  static ino_t Inode(int fd) {
    struct stat info = {};
    fstat(fd, &info);
    return info.st_ino;
  }

  static luo::LiveUpdateSession Open(Entry& entry) {
    int fds[2] = {-1, -1};
    if (pipe2(fds, O_CLOEXEC) < 0) return luo::LiveUpdateSession(UniqueFd());
    entry.write_end.Reset(fds[1]);
    entry.inode = Inode(fds[0]);
    return luo::LiveUpdateSession(UniqueFd(fds[0]));
  }

  static bool IsOpen(const Entry& entry) {
    pollfd poll_fd = {entry.write_end.get(), POLLOUT, 0};
    return entry.write_end.valid() && poll(&poll_fd, 1, 0) >= 0 && (poll_fd.revents & POLLERR) == 0;
  }

  std::map<std::string, Entry> outgoing_;
  std::map<std::string, Entry> incoming_;
};

}  // namespace vmm

#endif  // TOOLS_LUOD_FAKE_SESSIONS_H_
