#include "luo_kernel/versions/decompress.h"

#include <lzma.h>
#include <stddef.h>
#include <zlib.h>
#include <zstd.h>

#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "luo_kernel/versions/lz4_legacy.h"

namespace luo {
namespace {

// The kernel's build uses a dictionary of 128 MiB (scripts/xz_wrap.sh).
constexpr uint64_t kLzmaMemoryLimit = uint64_t{256} << 20;

absl::Status Damaged(absl::string_view format, absl::string_view how) {
  return absl::InvalidArgumentError(absl::StrCat("damaged ", format, " stream: ", how));
}

absl::Status CheckFilled(absl::string_view format, bool ended, size_t produced, size_t wanted) {
  if (produced == wanted && ended) return absl::OkStatus();
  return Damaged(format, ended ? "it ends early" : "it is cut short, or longer than announced");
}

absl::Status Gunzip(absl::Span<const uint8_t> packed, absl::Span<uint8_t> out) {
  if (packed.size() > std::numeric_limits<uInt>::max() ||
      out.size() > std::numeric_limits<uInt>::max()) {
    return Damaged("gzip", "too large");
  }
  z_stream stream = {};
  stream.next_in = const_cast<Bytef*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  constexpr int kGzipWithLargestWindow = 16 + MAX_WBITS;
  if (inflateInit2(&stream, kGzipWithLargestWindow) != Z_OK) {
    return absl::ResourceExhaustedError("no memory to decompress");
  }
  const int result = inflate(&stream, Z_FINISH);
  const std::string message = stream.msg == nullptr ? "" : stream.msg;
  inflateEnd(&stream);
  if (result != Z_STREAM_END && result != Z_OK && result != Z_BUF_ERROR) {
    return Damaged("gzip", message);
  }
  return CheckFilled("gzip", result == Z_STREAM_END, stream.total_out, out.size());
}

using LzmaDecoder = lzma_ret (*)(lzma_stream*);

absl::Status Unlzma(absl::string_view format, LzmaDecoder decoder, absl::Span<const uint8_t> packed,
                    absl::Span<uint8_t> out) {
  lzma_stream stream = LZMA_STREAM_INIT;
  if (decoder(&stream) != LZMA_OK) return absl::ResourceExhaustedError("no memory to decompress");
  stream.next_in = packed.data();
  stream.avail_in = packed.size();
  stream.next_out = out.data();
  stream.avail_out = out.size();
  // Once `out` is full, another call checks what follows the data; a call without progress ends the
  // loop.
  lzma_ret result;
  do {
    result = lzma_code(&stream, LZMA_RUN);
  } while (result == LZMA_OK);
  lzma_end(&stream);
  if (result != LZMA_STREAM_END && result != LZMA_BUF_ERROR) {
    return Damaged(format, absl::StrCat("liblzma error ", result));
  }
  return CheckFilled(format, result == LZMA_STREAM_END, stream.total_out, out.size());
}

lzma_ret XzDecoder(lzma_stream* stream) {
  return lzma_stream_decoder(stream, kLzmaMemoryLimit, /*flags=*/0);
}

lzma_ret LzmaAloneDecoder(lzma_stream* stream) {
  return lzma_alone_decoder(stream, kLzmaMemoryLimit);
}

absl::Status Unzstd(absl::Span<const uint8_t> packed, absl::Span<uint8_t> out) {
  // Only the first frame: what follows it is not a frame.
  const size_t frame = ZSTD_findFrameCompressedSize(packed.data(), packed.size());
  if (ZSTD_isError(frame)) return Damaged("zstd", ZSTD_getErrorName(frame));
  const size_t size = ZSTD_decompress(out.data(), out.size(), packed.data(), frame);
  if (ZSTD_isError(size)) return Damaged("zstd", ZSTD_getErrorName(size));
  return CheckFilled("zstd", /*ended=*/true, size, out.size());
}

absl::Status Unsupported(absl::string_view format) {
  return absl::UnimplementedError(absl::StrCat(
      "the kernel is packed with ", format, "; gzip, xz, lzma, lz4 and zstd can be looked into"));
}

}  // namespace

absl::Status Decompress(absl::Span<const uint8_t> packed, absl::Span<uint8_t> out) {
  if (packed.size() < 2) return Damaged("compressed", "it is empty");
  switch (packed[0] << 8 | packed[1]) {
    case 0x1f8b:
      return Gunzip(packed, out);
    case 0xfd37:
      return Unlzma("xz", XzDecoder, packed, out);
    case 0x5d00:
      return Unlzma("lzma", LzmaAloneDecoder, packed, out);
    case 0x28b5:
      return Unzstd(packed, out);
    case 0x0221:
      return UnpackLz4Legacy(packed, out);
    case 0x425a:
      return Unsupported("bzip2");
    case 0x894c:
      return Unsupported("lzo");
    default:
      return Unsupported("an unknown compression");
  }
}

}  // namespace luo
