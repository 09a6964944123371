// Any bytes in a result store: a record, a group, a chord part, an exception, or a DecodeFailure.

#include "protocol/decode_failure.hpp"
#include "protocol/exception.hpp"
#include "protocol/result_json.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

using namespace errand;
using namespace errand::protocol;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const TaskResult result = read_result(text);
    const TaskResult back = read_result(encode_result(result));
    if (back.state != result.state || back.result_json != result.result_json || back.done_at != result.done_at)
      std::abort();
    read_exception(result.result_json).text();
  } catch (const DecodeFailure&) {
  }
  try {
    read_group(text);
  } catch (const DecodeFailure&) {
  }
  try {
    read_chord_part(text);
  } catch (const DecodeFailure&) {
  }
  read_exception(text).repr();
  return 0;
}
