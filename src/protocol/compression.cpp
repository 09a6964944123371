#include "protocol/compression.hpp"

#include "protocol/decode_failure.hpp"

#include <brotli/decode.h>
#include <brotli/encode.h>
#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdint>
#include <memory>
#include <utility>

namespace errand::protocol {
namespace {

struct Name {
  std::string_view name;
  Compression method;
};

// The aliases kombu registers, then the MIME names.
constexpr std::array<Name, 14> kNames{{{"gzip", Compression::zlib},
                                       {"zlib", Compression::zlib},
                                       {"bzip2", Compression::bzip2},
                                       {"bzip", Compression::bzip2},
                                       {"lzma", Compression::lzma},
                                       {"xz", Compression::lzma},
                                       {"brotli", Compression::brotli},
                                       {"zstd", Compression::zstd},
                                       {"zstandard", Compression::zstd},
                                       {"application/x-gzip", Compression::zlib},
                                       {"application/x-bz2", Compression::bzip2},
                                       {"application/x-lzma", Compression::lzma},
                                       {"application/x-brotli", Compression::brotli},
                                       {"application/zstd", Compression::zstd}}};

// lzma and zstd may ask for a window as large as the packed text says; this bounds it.
// Python's defaults need 9 MiB (xz -6) and 2 MiB (zstd -3).
constexpr std::uint64_t kLzmaMemory = 16u << 20;
constexpr int kZstdWindowLog = 23;
constexpr std::size_t kStep = 64u << 10;

[[noreturn]] void broken(Compression method, std::string_view why) {
  throw DecodeFailure(reason::undecodable, "compression",
                      "expected " + std::string(mime_name(method)) + ", but " + std::string(why));
}

[[noreturn]] void library_refused(std::string_view library) {
  throw Error({.kind = ErrorKind::bug,
               .operation = "protocol.compress",
               .subject = std::string(library),
               .detail = "the library refused to start or to finish"});
}

// Collects what comes out and stops it at the limits.
class Sink {
 public:
  Sink(std::size_t packed, const UnpackLimits& limits) : packed_(packed), limits_(limits) {}

  /// Room for the next step; shrinks near the limit so that no more than one byte beyond it is ever made.
  std::pair<char*, std::size_t> room() {
    used_ = out_.size();
    const std::size_t step = std::min(kStep, limits_.bytes + 1 - used_);
    out_.resize(used_ + step);
    return {out_.data() + used_, step};
  }
  void took(std::size_t bytes) {
    out_.resize(used_ + bytes);
    if (out_.size() > limits_.bytes) {
      throw DecodeFailure(
          reason::too_large, "compression",
          "unpacks to more than " + std::to_string(limits_.bytes) + " bytes; send less or by reference");
    }
    if (too_good(packed_, out_.size(), limits_)) {
      throw DecodeFailure(reason::too_large, "compression",
                          "unpacks to more than " + std::to_string(limits_.ratio) + " times its size");
    }
  }
  std::string finish() && { return std::move(out_); }

 private:
  std::string out_;
  std::size_t used_ = 0;
  std::size_t packed_;
  UnpackLimits limits_;
};

unsigned narrow(std::size_t size) { return static_cast<unsigned>(std::min<std::size_t>(size, UINT_MAX)); }

template <class F>
class Cleanup {
 public:
  explicit Cleanup(F f) : f_(std::move(f)) {}
  ~Cleanup() { f_(); }
  Cleanup(const Cleanup&) = delete;
  Cleanup& operator=(const Cleanup&) = delete;

 private:
  F f_;
};

std::string unpack_zlib(std::string_view bytes, Sink sink) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) library_refused("zlib");
  const Cleanup end([&] { inflateEnd(&stream); });
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = narrow(bytes.size());
  for (;;) {
    auto [out, size] = sink.room();
    stream.next_out = reinterpret_cast<Bytef*>(out);
    stream.avail_out = narrow(size);
    const int status = inflate(&stream, Z_NO_FLUSH);
    sink.took(size - stream.avail_out);
    if (status == Z_STREAM_END) break;
    if (status == Z_BUF_ERROR || (status == Z_OK && stream.avail_in == 0 && stream.avail_out != 0)) {
      broken(Compression::zlib, "the bytes end too early");
    }
    if (status != Z_OK) broken(Compression::zlib, "the bytes are damaged");
  }
  if (stream.avail_in != 0) broken(Compression::zlib, "bytes follow its end");
  return std::move(sink).finish();
}

std::string unpack_bzip2(std::string_view bytes, Sink sink) {
  bz_stream stream{};
  if (BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK) library_refused("bzip2");
  const Cleanup end([&] { BZ2_bzDecompressEnd(&stream); });
  stream.next_in = const_cast<char*>(bytes.data());
  stream.avail_in = narrow(bytes.size());
  for (;;) {
    auto [out, size] = sink.room();
    stream.next_out = out;
    stream.avail_out = narrow(size);
    const int status = BZ2_bzDecompress(&stream);
    sink.took(size - stream.avail_out);
    if (status == BZ_STREAM_END) break;
    if (status != BZ_OK) broken(Compression::bzip2, "the bytes are damaged");
    if (stream.avail_in == 0 && stream.avail_out != 0) broken(Compression::bzip2, "the bytes end too early");
  }
  if (stream.avail_in != 0) broken(Compression::bzip2, "bytes follow its end");
  return std::move(sink).finish();
}

std::string unpack_lzma(std::string_view bytes, Sink sink) {
  lzma_stream stream = LZMA_STREAM_INIT;
  if (lzma_stream_decoder(&stream, kLzmaMemory, 0) != LZMA_OK) library_refused("lzma");
  const Cleanup end([&] { lzma_end(&stream); });
  stream.next_in = reinterpret_cast<const std::uint8_t*>(bytes.data());
  stream.avail_in = bytes.size();
  for (;;) {
    auto [out, size] = sink.room();
    stream.next_out = reinterpret_cast<std::uint8_t*>(out);
    stream.avail_out = size;
    const lzma_ret status = lzma_code(&stream, LZMA_FINISH);
    sink.took(size - stream.avail_out);
    if (status == LZMA_STREAM_END) break;
    if (status == LZMA_BUF_ERROR) broken(Compression::lzma, "the bytes end too early");
    if (status == LZMA_MEMLIMIT_ERROR) {
      throw DecodeFailure(reason::too_large, "compression",
                          "unpacking needs more than " + std::to_string(kLzmaMemory >> 20) + " MiB of memory");
    }
    if (status != LZMA_OK) broken(Compression::lzma, "the bytes are damaged");
  }
  if (stream.avail_in != 0) broken(Compression::lzma, "bytes follow its end");
  return std::move(sink).finish();
}

std::string unpack_brotli(std::string_view bytes, Sink sink) {
  const std::unique_ptr<BrotliDecoderState, void (*)(BrotliDecoderState*)> state(
      BrotliDecoderCreateInstance(nullptr, nullptr, nullptr), BrotliDecoderDestroyInstance);
  if (!state) library_refused("brotli");
  const auto* next_in = reinterpret_cast<const std::uint8_t*>(bytes.data());
  std::size_t left_in = bytes.size();
  for (;;) {
    auto [out, size] = sink.room();
    auto* next_out = reinterpret_cast<std::uint8_t*>(out);
    std::size_t left_out = size;
    const auto status = BrotliDecoderDecompressStream(state.get(), &left_in, &next_in, &left_out, &next_out, nullptr);
    sink.took(size - left_out);
    if (status == BROTLI_DECODER_RESULT_SUCCESS) break;
    if (status == BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT) broken(Compression::brotli, "the bytes end too early");
    if (status == BROTLI_DECODER_RESULT_ERROR) broken(Compression::brotli, "the bytes are damaged");
  }
  if (left_in != 0) broken(Compression::brotli, "bytes follow its end");
  return std::move(sink).finish();
}

std::string unpack_zstd(std::string_view bytes, Sink sink) {
  const std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(), ZSTD_freeDStream);
  if (!stream) library_refused("zstd");
  ZSTD_DCtx_setParameter(stream.get(), ZSTD_d_windowLogMax, kZstdWindowLog);
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  for (;;) {
    auto [data, size] = sink.room();
    ZSTD_outBuffer out{data, size, 0};
    const std::size_t before = in.pos;
    const std::size_t status = ZSTD_decompressStream(stream.get(), &out, &in);
    sink.took(out.pos);
    if (ZSTD_isError(status) != 0 && ZSTD_getErrorCode(status) == ZSTD_error_frameParameter_windowTooLarge) {
      throw DecodeFailure(
          reason::too_large, "compression",
          "unpacking needs a window of more than " + std::to_string(1 << (kZstdWindowLog - 20)) + " MiB");
    }
    if (ZSTD_isError(status) != 0) broken(Compression::zstd, "the bytes are damaged");
    if (status == 0) break;
    if (in.pos == in.size && in.pos == before && out.pos == 0) broken(Compression::zstd, "the bytes end too early");
  }
  if (in.pos != in.size) broken(Compression::zstd, "bytes follow its end");
  return std::move(sink).finish();
}

std::string pack_zlib(std::string_view bytes) {
  uLongf size = compressBound(bytes.size());
  std::string out(size, '\0');
  if (compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size(),
                Z_DEFAULT_COMPRESSION) != Z_OK) {
    library_refused("zlib");
  }
  out.resize(size);
  return out;
}

std::string pack_bzip2(std::string_view bytes) {
  // The library's own bound: one percent and 600 bytes more than the input.
  unsigned size = narrow(bytes.size() + bytes.size() / 100 + 601);
  std::string out(size, '\0');
  if (BZ2_bzBuffToBuffCompress(out.data(), &size, const_cast<char*>(bytes.data()), narrow(bytes.size()), 9, 0, 0) !=
      BZ_OK) {
    library_refused("bzip2");
  }
  out.resize(size);
  return out;
}

std::string pack_lzma(std::string_view bytes) {
  std::string out(lzma_stream_buffer_bound(bytes.size()), '\0');
  std::size_t used = 0;
  if (lzma_easy_buffer_encode(LZMA_PRESET_DEFAULT, LZMA_CHECK_CRC64, nullptr,
                              reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(),
                              reinterpret_cast<std::uint8_t*>(out.data()), &used, out.size()) != LZMA_OK) {
    library_refused("lzma");
  }
  out.resize(used);
  return out;
}

std::string pack_brotli(std::string_view bytes) {
  // Quality 11, Python's default, is made for files that are packed once; 5 costs a tenth for a few percent.
  constexpr int kQuality = 5;
  std::size_t size = std::max<std::size_t>(BrotliEncoderMaxCompressedSize(bytes.size()), 64);
  std::string out(size, '\0');
  if (BrotliEncoderCompress(kQuality, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_TEXT, bytes.size(),
                            reinterpret_cast<const std::uint8_t*>(bytes.data()), &size,
                            reinterpret_cast<std::uint8_t*>(out.data())) != BROTLI_TRUE) {
    library_refused("brotli");
  }
  out.resize(size);
  return out;
}

std::string pack_zstd(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  const std::size_t size = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), ZSTD_CLEVEL_DEFAULT);
  if (ZSTD_isError(size) != 0) library_refused("zstd");
  out.resize(size);
  return out;
}

}  // namespace

std::optional<Compression> find_compression(std::string_view name) noexcept {
  for (const Name& known : kNames) {
    if (known.name == name) return known.method;
  }
  return std::nullopt;
}

std::string_view mime_name(Compression method) noexcept {
  switch (method) {
    case Compression::zlib:
      return "application/x-gzip";
    case Compression::bzip2:
      return "application/x-bz2";
    case Compression::lzma:
      return "application/x-lzma";
    case Compression::brotli:
      return "application/x-brotli";
    case Compression::zstd:
      return "application/zstd";
  }
  return "";
}

bool too_good(std::size_t packed, std::size_t unpacked, const UnpackLimits& limits) noexcept {
  return unpacked > limits.ratio_from && unpacked / limits.ratio > packed;
}

std::string compress(Compression method, std::string_view bytes) {
  switch (method) {
    case Compression::zlib:
      return pack_zlib(bytes);
    case Compression::bzip2:
      return pack_bzip2(bytes);
    case Compression::lzma:
      return pack_lzma(bytes);
    case Compression::brotli:
      return pack_brotli(bytes);
    case Compression::zstd:
      return pack_zstd(bytes);
  }
  library_refused("an unknown method");
}

std::string decompress(Compression method, std::string_view bytes, const UnpackLimits& limits) {
  Sink sink(bytes.size(), limits);
  switch (method) {
    case Compression::zlib:
      return unpack_zlib(bytes, std::move(sink));
    case Compression::bzip2:
      return unpack_bzip2(bytes, std::move(sink));
    case Compression::lzma:
      return unpack_lzma(bytes, std::move(sink));
    case Compression::brotli:
      return unpack_brotli(bytes, std::move(sink));
    case Compression::zstd:
      return unpack_zstd(bytes, std::move(sink));
  }
  library_refused("an unknown method");
}

}  // namespace errand::protocol
