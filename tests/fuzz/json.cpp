// Any bytes: the JSON reader gives a value or an Error, and what it gave is written, in every style, so that it reads
// back equal; written again it is the same text.

#include <errand/error.hpp>
#include <errand/value.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace errand;
  Value value;
  try {
    value = parse_json(std::string_view(reinterpret_cast<const char*>(data), size));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid) std::abort();
    return 0;
  }
  for (const JsonStyle& style :
       {JsonStyle{}, JsonStyle{.spaces = false}, JsonStyle{.ascii = false}, JsonStyle{.indent = 2}}) {
    std::string text;
    try {
      text = to_json(value, style);
    } catch (const Error& error) {
      // The only reason to refuse what was read: an object that kombu would take for one of its typed values.
      if (error.detail().find("__type__") == std::string::npos) std::abort();
      return 0;
    }
    const Value back = parse_json(text);
    if (back != value || to_json(back, style) != text) std::abort();
  }
  try {
    decode_typed(value);
  } catch (const Error&) {
    return 0;
  }
  // Bytes go out as what they came in as, or in the other of kombu's two forms; read again they are the same bytes.
  Value again = parse_json(to_json(value));
  decode_typed(again);
  if (again != value) std::abort();
  return 0;
}
