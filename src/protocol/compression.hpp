#pragma once
// Compression of message bodies as kombu does it (kombu/compression.py, celery-wire section 1.8).
//
// The header `compression` holds a MIME name. "application/x-gzip" is a zlib stream, not RFC 1952: the name is
// kombu's mistake and now the format. Unpacking is streamed and stops at a limit, so that a small hostile message
// cannot fill the memory (fault F115).

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace errand::protocol {

enum class Compression { zlib, bzip2, lzma, brotli, zstd };

/// The method behind an alias ("gzip", "xz") or a MIME name; nullopt: unknown.
std::optional<Compression> find_compression(std::string_view name) noexcept;
/// "application/x-gzip", ...: what goes into the header.
std::string_view mime_name(Compression method) noexcept;

/// Where unpacking stops. At a limit it throws DecodeFailure TOO_LARGE.
struct UnpackLimits {
  std::size_t bytes = 8u << 20;        ///< DECMAX: most bytes that come out
  std::size_t ratio = 100;             ///< most bytes that come out per byte that went in
  std::size_t ratio_from = 64u << 10;  ///< below this many bytes a high ratio harms nobody and is common in JSON
};

/// True when decompress() would refuse it again for its ratio: such a body is better sent as it is.
bool too_good(std::size_t packed, std::size_t unpacked, const UnpackLimits& limits = {}) noexcept;

/// Throws Error{bug} when a library refuses, which only happens without memory.
std::string compress(Compression method, std::string_view bytes);
/// Throws DecodeFailure: UNDECODABLE for damaged, cut or trailing bytes, TOO_LARGE at a limit.
std::string decompress(Compression method, std::string_view bytes, const UnpackLimits& limits = {});

}  // namespace errand::protocol
