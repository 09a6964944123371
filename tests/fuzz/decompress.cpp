// Any bytes under any method: at most the limit comes out, or a DecodeFailure; and what is packed unpacks to itself.

#include "protocol/compression.hpp"
#include "protocol/decode_failure.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

using namespace errand::protocol;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto method = static_cast<Compression>(data[0] % 5);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr UnpackLimits kLimits{.bytes = 256u << 10};
  try {
    if (decompress(method, bytes, kLimits).size() > kLimits.bytes) std::abort();
  } catch (const DecodeFailure&) {
  }
  if (bytes.size() < 4096 && decompress(method, compress(method, bytes)) != bytes) std::abort();
  return 0;
}
