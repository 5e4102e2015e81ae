#include "luo_kernel/hosted/inspect_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace luo {
namespace {

// Linux, include/net/scm.h: SCM_MAX_FD.
constexpr size_t kMaxFilesPerPacket = 253;
static_assert(kExtentsPerPacket <= kMaxFilesPerPacket);

template <typename T>
absl::Span<const uint8_t> BytesOf(const T& value) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&value), sizeof(value));
}

absl::StatusOr<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", path, "\" is no path for a socket: 1 to ",
                                                   sizeof(address.sun_path) - 1, " bytes"));
  }
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// A description of its own, so that the receiver cannot write.
absl::StatusOr<vmm::UniqueFd> OpenForReading(int fd) {
  vmm::UniqueFd reopened(
      open(absl::StrCat("/proc/self/fd/", fd).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!reopened.valid()) return vmm::ErrnoStatus(errno, "open a file of memory for reading");
  return reopened;
}

}  // namespace

absl::StatusOr<vmm::UniqueFd> ConnectTo(const std::string& path) {
  ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(path));
  vmm::UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return vmm::ErrnoStatus(errno, "socket");
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    return vmm::ErrnoStatus(errno, path);
  }
  return fd;
}

absl::StatusOr<vmm::UniqueFd> ListenOn(const std::string& path) {
  ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(path));
  vmm::UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return vmm::ErrnoStatus(errno, "socket");
  struct stat old;
  if (lstat(path.c_str(), &old) == 0 && S_ISSOCK(old.st_mode) &&
      vmm::StatusErrno(ConnectTo(path).status()) == ECONNREFUSED) {
    unlink(path.c_str());
  }
  // A socket has its mode from the umask at the time of bind().
  const mode_t mask = umask(0177);
  const int bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = errno;
  umask(mask);
  if (bound < 0) return vmm::ErrnoStatus(error, path);
  if (listen(fd.get(), SOMAXCONN) < 0) return vmm::ErrnoStatus(errno, path);
  return fd;
}

absl::Status SendPacket(int socket, absl::Span<const uint8_t> bytes, absl::Span<const int> files) {
  if (files.size() > kMaxFilesPerPacket) return absl::InvalidArgumentError("too many files");
  iovec data = {const_cast<uint8_t*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFilesPerPacket * sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!files.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(files.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(files.size() * sizeof(int));
    memcpy(CMSG_DATA(header), files.data(), files.size() * sizeof(int));
  }
  while (sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return vmm::ErrnoStatus(errno, "send");
  }
  return absl::OkStatus();
}

absl::StatusOr<Packet> ReceivePacket(int socket, size_t max_size) {
  Packet packet;
  packet.bytes.resize(max_size);
  iovec data = {packet.bytes.data(), packet.bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFilesPerPacket * sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t size;
  while ((size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0) {
    if (errno != EINTR) return vmm::ErrnoStatus(errno, "receive");
  }
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
      packet.files.emplace_back(fd);
    }
  }
  if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
    return absl::InvalidArgumentError("a packet is too long, or has more files than fit");
  }
  packet.bytes.resize(static_cast<size_t>(size));
  return packet;
}

absl::StatusOr<SocketRequestKind> ParseRequest(absl::Span<const uint8_t> bytes) {
  SocketRequest request;
  if (bytes.size() != sizeof(request)) {
    return absl::InvalidArgumentError("a request of a wrong size");
  }
  memcpy(&request, bytes.data(), sizeof(request));
  if (request.magic != kSocketMagic || request.version != kSocketVersion || request.reserved != 0) {
    return absl::InvalidArgumentError("a request of no known version");
  }
  switch (const auto kind = static_cast<SocketRequestKind>(request.kind)) {
    case SocketRequestKind::kInspect:
    case SocketRequestKind::kJoin:
      return kind;
  }
  return absl::InvalidArgumentError("a request of no known kind");
}

absl::StatusOr<SocketReply> ParseReply(absl::Span<const uint8_t> bytes) {
  SocketReply reply;
  if (bytes.size() != sizeof(reply)) return absl::InvalidArgumentError("a reply of a wrong size");
  memcpy(&reply, bytes.data(), sizeof(reply));
  if (reply.magic != kSocketMagic || reply.version != kSocketVersion) {
    return absl::InvalidArgumentError("a reply of no known version; is it a luo-emulate's socket?");
  }
  if (reply.error != 0) return vmm::ErrnoStatus(reply.error, "the instance refused");
  if (reply.extents > kMaxExtents) return absl::InvalidArgumentError("too many extents");
  return reply;
}

absl::StatusOr<std::vector<InspectedExtent>> ParseExtents(absl::Span<const uint8_t> bytes) {
  const size_t count = bytes.size() / sizeof(SocketExtent);
  if (count == 0 || count > kExtentsPerPacket || bytes.size() % sizeof(SocketExtent) != 0) {
    return absl::InvalidArgumentError("extents of a wrong size");
  }
  std::vector<InspectedExtent> extents(count);
  for (size_t i = 0; i < count; ++i) {
    SocketExtent extent;
    memcpy(&extent, bytes.data() + i * sizeof(extent), sizeof(extent));
    extents[i].range = {PhysicalAddress(extent.address), extent.size};
    extents[i].offset = extent.offset;
    extents[i].use = extent.use == 0 ? ExtentUse::kMetadata : ExtentUse::kData;
    if (extent.size == 0 || extents[i].range.wraps() || extent.offset + extent.size < extent.size ||
        extent.use > 1) {
      return absl::InvalidArgumentError("a malformed extent");
    }
  }
  return extents;
}

absl::Status SendInspection(int socket, uint64_t generation, bool kexec_image,
                            const abi::KhoData& handover, const std::vector<Extent>& extents) {
  const SocketReply reply = {.magic = kSocketMagic,
                             .version = kSocketVersion,
                             .error = 0,
                             .extents = static_cast<uint32_t>(extents.size()),
                             .generation = generation,
                             .kexec_image = kexec_image,
                             .reserved = 0,
                             .handover = handover};
  RETURN_IF_ERROR(SendPacket(socket, BytesOf(reply), {}));
  for (size_t next = 0; next < extents.size();) {
    const size_t count = std::min(kExtentsPerPacket, extents.size() - next);
    std::vector<SocketExtent> packet;
    std::vector<vmm::UniqueFd> files;
    std::vector<int> fds;
    for (size_t i = 0; i < count; ++i, ++next) {
      const Extent& extent = extents[next];
      packet.push_back({.address = extent.range.start.value(),
                        .size = extent.range.size,
                        .offset = extent.offset,
                        .use = extent.use == ExtentUse::kMetadata ? 0U : 1U,
                        .reserved = 0});
      ASSIGN_OR_RETURN(vmm::UniqueFd file, OpenForReading(extent.fd));
      fds.push_back(file.get());
      files.push_back(std::move(file));
    }
    RETURN_IF_ERROR(SendPacket(socket,
                               absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(packet.data()),
                                                   packet.size() * sizeof(SocketExtent)),
                               fds));
  }
  return absl::OkStatus();
}

namespace {

absl::StatusOr<InspectedMachine> AskForMachine(int socket) {
  const SocketRequest request = {kSocketMagic, kSocketVersion,
                                 static_cast<uint32_t>(SocketRequestKind::kInspect), 0};
  RETURN_IF_ERROR(SendPacket(socket, BytesOf(request), {}));
  ASSIGN_OR_RETURN(Packet packet, ReceivePacket(socket, sizeof(SocketReply)));
  ASSIGN_OR_RETURN(const SocketReply reply, ParseReply(packet.bytes));
  InspectedMachine machine = {.generation = reply.generation,
                              .kexec_image = reply.kexec_image != 0,
                              .handover = reply.handover,
                              .extents = {}};
  while (machine.extents.size() < reply.extents) {
    ASSIGN_OR_RETURN(packet, ReceivePacket(socket, kExtentsPerPacket * sizeof(SocketExtent)));
    ASSIGN_OR_RETURN(std::vector<InspectedExtent> extents, ParseExtents(packet.bytes));
    if (extents.size() != packet.files.size() ||
        extents.size() > reply.extents - machine.extents.size()) {
      return absl::InvalidArgumentError("extents without files, or more than were announced");
    }
    for (size_t i = 0; i < extents.size(); ++i) {
      extents[i].file = std::move(packet.files[i]);
      machine.extents.push_back(std::move(extents[i]));
    }
  }
  return machine;
}

}  // namespace

absl::StatusOr<InspectedMachine> InspectHosted(const std::string& path) {
  ASSIGN_OR_RETURN(const vmm::UniqueFd socket, ConnectTo(path));
  absl::StatusOr<InspectedMachine> machine = AskForMachine(socket.get());
  if (!machine.ok()) return vmm::Annotate(machine.status(), path);
  return machine;
}

}  // namespace luo
