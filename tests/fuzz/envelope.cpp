// Any bytes in a Redis list: a message or a DecodeFailure, and a message that was read is written so that it reads
// back equal.

#include "protocol/envelope.hpp"
#include "protocol/decode_failure.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace errand;
using namespace errand::protocol;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    read_unacked(text);
  } catch (const DecodeFailure&) {
  }
  StoredMessage stored;
  try {
    stored = read_envelope(text);
  } catch (const DecodeFailure&) {
    return 0;
  }
  std::string again;
  try {
    write_envelope(again, stored.message, stored.route, stored.priority, stored.delivery_tag, stored.redelivered);
  } catch (const Error&) {
    return 0;  // a header that looks like one of kombu's typed values
  }
  const StoredMessage back = read_envelope(again);
  if (back.message.headers != stored.message.headers || back.message.body != stored.message.body ||
      back.route != stored.route || back.delivery_tag != stored.delivery_tag || back.priority != stored.priority ||
      back.redelivered != stored.redelivered) {
    std::abort();
  }
  return 0;
}
