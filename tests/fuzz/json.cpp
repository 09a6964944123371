// Any bytes: the JSON reader gives a value or an Error, and what it gave is written so that it reads back equal.

#include <errand/error.hpp>
#include <errand/value.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  errand::Value value;
  try {
    value = errand::parse_json(std::string_view(reinterpret_cast<const char*>(data), size));
  } catch (const errand::Error&) {
    return 0;
  }
  std::string text;
  try {
    text = errand::to_json(value);
  } catch (const errand::Error&) {
    return 0;  // an object that looks like one of kombu's typed values may be refused
  }
  if (errand::parse_json(text) != value) std::abort();
  return 0;
}
