// Random sequences of everything that programs do with live update, against a model that is a few
// maps: what each call says, what each file holds, and that nothing is left taken.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "gtest/gtest.h"
#include "luo_kernel/luo/booting_machine.h"
#include "luo_kernel/luo/live_update.h"
#include "luo_kernel/memfd/memfd_handler.h"

namespace luo {
namespace {

using vmm::StatusErrno;
using vmm::UniqueFd;

// A file as programs see it.
struct File {
  UniqueFd fd;
  std::string contents;
  int64_t position = 0;
  int seals = 0;
  // LUO has it: preserved, or retrieved and not finished.
  bool busy = false;
};
using FilePointer = std::shared_ptr<File>;

struct Outgoing {
  std::unique_ptr<Session> session;
  std::map<uint64_t, FilePointer> files;
};

struct Incoming {
  bool retrieved = false;
  std::unique_ptr<Session> session;
  struct Entry {
    std::string contents;
    int64_t position;
    int seals;
    FilePointer file;  // once it is retrieved
  };
  std::map<uint64_t, Entry> files;
};

class RandomUpdates {
 public:
  explicit RandomUpdates(uint32_t seed) : random_(seed) {
    machine_.on_boot = [](BootingMachine& machine) {
      ASSERT_EQ(machine.luo().RegisterFileHandler(std::make_shared<MemfdHandler>(
                    &machine.memory(), &machine.outgoing(), machine.incoming())),
                absl::OkStatus());
      ASSERT_EQ(machine.luo().Deserialize(), absl::OkStatus());
    };
    machine_.PowerOn();
  }

  void Step() {
    switch (Below(24)) {
      case 0:
      case 1:
        return Create();
      case 2:
      case 3:
      case 4:
        return NewFile();
      case 5:
      case 6:
      case 7:
      case 8:
      case 9:
        return Preserve();
      case 10:
      case 11:
        return Write();
      case 12:
        return CloseOutgoing();
      case 13:
        return FailedKexec();
      case 14:
        return Kexec();
      case 15:
      case 16:
      case 17:
        return Retrieve();
      case 18:
      case 19:
      case 20:
        return RetrieveFile();
      case 21:
        return Finish();
      case 22:
        return CloseRetrieved();
      case 23:
        return CloseFile();
    }
  }

  // Of the machine's extents, each belongs to a file that LUO has, and LUO knows the same sessions.
  void Check() {
    size_t extents = 1;
    size_t sessions = outgoing_.size() + incoming_.size();
    for (const auto& [name, out] : outgoing_) {
      for (const auto& [token, file] : out.files) extents += !file->contents.empty();
    }
    for (const auto& [name, in] : incoming_) {
      for (const auto& [token, entry] : in.files) {
        extents += !entry.contents.empty() && entry.file == nullptr;
      }
    }
    EXPECT_EQ(machine_.usage().extents, extents);
    EXPECT_EQ(machine_.luo().sessions().size(), sessions);
  }

 private:
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  std::string Name() { return std::string(1, static_cast<char>('a' + Below(4))); }
  template <typename Map>
  typename Map::iterator Any(Map& map) {
    return map.empty() ? map.end() : std::next(map.begin(), Below(map.size()));
  }
  FilePointer AnyFile() { return files_.empty() ? nullptr : files_[Below(files_.size())]; }

  void Create() {
    const std::string name = Name();
    absl::StatusOr<std::unique_ptr<Session>> session = machine_.luo().CreateSession(name);
    EXPECT_EQ(StatusErrno(session.status()), outgoing_.contains(name) ? EEXIST : 0);
    if (session.ok()) outgoing_[name].session = *std::move(session);
  }

  void NewFile() {
    auto file = std::make_shared<File>();
    file->fd.Reset(memfd_create("random", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    // Sizes of no page, of odd pages, and of a huge page and more.
    const uint32_t size = Below(4) == 0 ? 0 : Below(Below(5) == 0 ? (5 << 20) : 40000);
    ASSERT_EQ(ftruncate(file->fd.get(), size), 0);
    file->contents.resize(size);
    if (Below(3) == 0) file->seals |= F_SEAL_SHRINK | F_SEAL_GROW;
    if (Below(4) == 0) file->seals |= F_SEAL_SEAL;
    ASSERT_EQ(fcntl(file->fd.get(), F_ADD_SEALS, file->seals), 0);
    files_.push_back(std::move(file));
    Write();
  }

  void Write() {
    const FilePointer file = AnyFile();
    if (file == nullptr || file->contents.empty()) return;
    const std::string text = absl::StrCat("text ", random_());
    const size_t at = Below(file->contents.size());
    const size_t size = std::min(text.size(), file->contents.size() - at);
    ASSERT_EQ(pwrite(file->fd.get(), text.data(), size, at), static_cast<ssize_t>(size));
    file->contents.replace(at, size, text, 0, size);
    file->position = Below(100000);
    ASSERT_EQ(lseek(file->fd.get(), file->position, SEEK_SET), file->position);
  }

  void Preserve() {
    const auto out = Any(outgoing_);
    const FilePointer file = AnyFile();
    if (out == outgoing_.end() || file == nullptr) return;
    const uint64_t token = Below(6);
    const int expected = out->second.files.contains(token) ? EEXIST : file->busy ? EBUSY : 0;
    UniqueFd fd(fcntl(file->fd.get(), F_DUPFD_CLOEXEC, 0));
    EXPECT_EQ(StatusErrno(out->second.session->PreserveFd(token, std::move(fd))), expected);
    if (expected != 0) return;
    out->second.files[token] = file;
    file->busy = true;
  }

  void CloseOutgoing() {
    const auto out = Any(outgoing_);
    if (out == outgoing_.end()) return;
    for (const auto& [token, file] : out->second.files) file->busy = false;
    outgoing_.erase(out);
  }

  void FailedKexec() {
    // A file that somebody resizes calls it off.
    for (const auto& [name, out] : outgoing_) {
      for (const auto& [token, file] : out.files) {
        if (file->contents.empty() || (file->seals & F_SEAL_GROW) != 0) continue;
        const off_t size = static_cast<off_t>(file->contents.size());
        ASSERT_EQ(ftruncate(file->fd.get(), size + 1), 0);
        EXPECT_EQ(StatusErrno(machine_.Kexec()), EPERM);
        ASSERT_EQ(ftruncate(file->fd.get(), size), 0);
        return;
      }
    }
  }

  void Kexec() {
    ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
    incoming_.clear();
    for (auto& [name, out] : outgoing_) {
      Incoming& in = incoming_[name];
      for (const auto& [token, file] : out.files) {
        in.files[token] = {file->contents, file->position, file->seals, nullptr};
      }
    }
    // Every process is gone.
    outgoing_.clear();
    files_.clear();
  }

  void Retrieve() {
    const std::string name = Name();
    const auto in = incoming_.find(name);
    absl::StatusOr<std::unique_ptr<Session>> session = machine_.luo().RetrieveSession(name);
    EXPECT_EQ(StatusErrno(session.status()), in == incoming_.end()  ? ENOENT
                                             : in->second.retrieved ? EINVAL
                                                                    : 0);
    if (!session.ok()) return;
    in->second.retrieved = true;
    in->second.session = *std::move(session);
  }

  Incoming* AnyRetrieved(std::string* name) {
    const auto in = Any(incoming_);
    if (in == incoming_.end() || in->second.session == nullptr) return nullptr;
    *name = in->first;
    return &in->second;
  }

  void RetrieveFile() {
    std::string name;
    Incoming* in = AnyRetrieved(&name);
    if (in == nullptr) return;
    const uint64_t token = Below(6);
    const auto entry = in->files.find(token);
    absl::StatusOr<UniqueFd> fd = in->session->RetrieveFd(token);
    EXPECT_EQ(StatusErrno(fd.status()), entry == in->files.end() ? ENOENT : 0) << fd.status();
    if (!fd.ok() || entry->second.file != nullptr) return;
    const Incoming::Entry& expected = entry->second;
    std::string contents(expected.contents.size() + 1, '?');
    const ssize_t size = pread(fd->get(), contents.data(), contents.size(), 0);
    contents.resize(size < 0 ? 0 : static_cast<size_t>(size));
    // Not EXPECT_EQ, which would print megabytes.
    EXPECT_TRUE(contents == expected.contents);
    EXPECT_EQ(lseek(fd->get(), 0, SEEK_CUR), expected.position);
    EXPECT_EQ(fcntl(fd->get(), F_GET_SEALS), expected.seals);
    auto file = std::make_shared<File>();
    *file = {*std::move(fd), expected.contents, expected.position, expected.seals, true};
    entry->second.file = file;
    files_.push_back(std::move(file));
  }

  void Forget(Incoming& in) {
    for (const auto& [token, entry] : in.files) {
      if (entry.file != nullptr) entry.file->busy = false;
    }
    in.files.clear();
  }

  void Finish() {
    std::string name;
    Incoming* in = AnyRetrieved(&name);
    if (in == nullptr) return;
    EXPECT_EQ(in->session->Finish(), absl::OkStatus());
    Forget(*in);
  }

  void CloseRetrieved() {
    std::string name;
    Incoming* in = AnyRetrieved(&name);
    if (in == nullptr) return;
    Forget(*in);
    incoming_.erase(name);
  }

  // LUO's own descriptor keeps what it has.
  void CloseFile() {
    if (files_.empty()) return;
    const size_t i = Below(files_.size());
    if (!files_[i]->busy) files_.erase(files_.begin() + static_cast<ptrdiff_t>(i));
  }

  std::mt19937 random_;
  BootingMachine machine_;
  std::vector<FilePointer> files_;
  std::map<std::string, Outgoing> outgoing_;
  std::map<std::string, Incoming> incoming_;
};

class RandomUpdatesTest : public testing::TestWithParam<uint32_t> {};

TEST_P(RandomUpdatesTest, GoAsTheModelDoes) {
  RandomUpdates updates(GetParam());
  for (int step = 0; step < 400 && !testing::Test::HasFailure(); ++step) {
    SCOPED_TRACE(absl::StrCat("step ", step));
    updates.Step();
    updates.Check();
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomUpdatesTest, testing::Range(1u, 21u));

}  // namespace
}  // namespace luo
