// What each C++ type looks like in a message, and what is refused with which words.
#include <errand/codec.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>

using namespace errand;
using namespace std::chrono_literals;

namespace shop {
struct Point {
  int x = 0;
  int y = 0;
  std::optional<std::string> label;
  bool operator==(const Point&) const = default;
};
struct Options {
  static constexpr bool errand_defaults = true;
  int width = 200;
  std::string format = "png";
};
struct Login {
  std::string user;
  Secret<std::string> token;
};
enum class Size { small, large };
}  // namespace shop
ERRAND_STRUCT(shop::Point, x, y, label)
ERRAND_STRUCT(shop::Options, width, format)
ERRAND_STRUCT(shop::Login, user, token)
ERRAND_ENUM(shop::Size, small, large)

namespace {

Value json(std::string_view text) {
  Value value = parse_json(text);
  decode_typed(value);
  return value;
}

template <class T>
T read(std::string_view text) {
  return Codec<T>::decode(json(text), "p");
}

/// What decoding says: the value as it is written again, or the error.
template <class T>
std::string said(std::string_view text) {
  try {
    return to_json(Codec<T>::encode(read<T>(text)));
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::invalid);
    return error.detail();
  }
}

struct Row {
  const char* json;
  std::string (*decode)(std::string_view);
  const char* expected;
};

template <class T>
std::string schema_of() {
  return to_json(Codec<T>::schema());
}

}  // namespace

// A value outside its type must never wrap to another number: it would run the task with wrong data.
TEST_CASE("F118: integers of every width are range checked and never wrap") {
  const Row rows[] = {
      {"-128", said<std::int8_t>, "-128"},
      {"127", said<std::int8_t>, "127"},
      {"128", said<std::int8_t>, "p: expected integer from -128 to 127, got 128"},
      {"-129", said<std::int8_t>, "p: expected integer from -128 to 127, got -129"},
      {"255", said<std::uint8_t>, "255"},
      {"256", said<std::uint8_t>, "p: expected integer from 0 to 255, got 256"},
      {"-1", said<std::uint8_t>, "p: expected an integer of at least 0, got -1"},
      {"-32768", said<short>, "-32768"},
      {"32768", said<short>, "p: expected integer from -32768 to 32767, got 32768"},
      {"65535", said<std::uint16_t>, "65535"},
      {"2147483647", said<int>, "2147483647"},
      {"2147483648", said<int>, "p: expected integer from -2147483648 to 2147483647, got 2147483648"},
      {"4294967296", said<std::uint32_t>, "p: expected integer from 0 to 4294967295, got 4294967296"},
      {"9223372036854775807", said<std::int64_t>, "9223372036854775807"},
      {"-9223372036854775808", said<std::int64_t>, "-9223372036854775808"},
      {"9223372036854775808", said<std::int64_t>, "p: expected an integer within 64 bits, got 9223372036854775808"},
      {"18446744073709551615", said<std::uint64_t>, "18446744073709551615"},
      {"18446744073709551616", said<std::uint64_t>,
       "p: expected an integer from 0 to 18446744073709551615, got 18446744073709551616"},
      {"-9223372036854775809", said<std::uint64_t>,
       "p: expected an integer from 0 to 18446744073709551615, got -9223372036854775809"},
      {"1.0", said<int>, "p: expected integer, got float"},
      {"true", said<int>, "p: expected integer, got bool"},
      {"\"1\"", said<int>, "p: expected integer, got text"},
      {"null", said<int>, "p: expected integer, got null"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.json);
    CHECK(row.decode(row.json) == row.expected);
  }
}

TEST_CASE("F118: floats, bools, text and bytes take what means the same and refuse the rest") {
  const Row rows[] = {
      {"1.5", said<double>, "1.5"},
      {"3", said<double>, "3.0"},
      {"NaN", said<double>, "NaN"},
      {"-Infinity", said<float>, "-Infinity"},
      {"1e39", said<float>, "p: expected a float within its 32 bits, got 1e+39"},
      {"true", said<double>, "p: expected float, got bool"},
      {"\"x\"", said<double>, "p: expected float, got text"},
      {"true", said<bool>, "true"},
      {"1", said<bool>, "p: expected bool, got integer"},
      {"\"caf\\u00e9\"", said<std::string>, "\"caf\\u00e9\""},
      {"7", said<std::string>, "p: expected text, got integer"},
      {"[1]", said<std::string>, "p: expected text, got array"},
      {R"({"__type__": "bytes", "__value__": "hi"})", said<Bytes>, R"({"__type__": "bytes", "__value__": "hi"})"},
      {R"({"__type__": "base64", "__value__": "/w=="})", said<Bytes>, R"({"__type__": "base64", "__value__": "/w=="})"},
      {"\"hi\"", said<Bytes>, "p: expected bytes, got text"},
      {"{\"any\": [1, null]}", said<Value>, "{\"any\": [1, null]}"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.json);
    CHECK(row.decode(row.json) == row.expected);
  }
}

// A list of a million objects is useless to debug without the place of the one that is wrong.
TEST_CASE("F118: an error inside a container names its path") {
  const Row rows[] = {
      {"[1, 2, \"three\"]", said<std::vector<int>>, "p[2]: expected integer, got text"},
      {"[[1], [2, null]]", said<std::vector<std::vector<int>>>, "p[1][1]: expected integer, got null"},
      {R"({"a": 1, "b": "x"})", said<std::map<std::string, int>>, "p.b: expected integer, got text"},
      {R"([{"x": 1, "y": 2}, {"x": 1, "y": "2"}])", said<std::vector<shop::Point>>,
       "p[1].y: expected integer, got text"},
      {R"({"x": 1})", said<shop::Point>, "p.y: expected integer, it is missing"},
      {R"({"x": 1, "y": 2, "z": 3})", said<shop::Point>, "p.z: expected no such field"},
      {"[1, \"a\"]", said<std::tuple<int, std::string>>, "[1, \"a\"]"},
      {"[1, 2]", said<std::pair<int, std::string>>, "p[1]: expected text, got integer"},
      {"[1]", said<std::pair<int, int>>, "p: expected 2 items, got 1"},
      {"[1, 2, 3]", said<std::array<int, 2>>, "p: expected 2 items, got 3"},
      {"{}", said<std::vector<int>>, "p: expected list of integer, got object"},
      {"[]", said<std::map<std::string, int>>, "p: expected map of integer, got array"},
      {"\"medium\"", said<shop::Size>, "p: expected small | large, got 'medium'"},
      {"1", said<shop::Size>, "p: expected small | large, got integer"},
      {"\"x\"", said<std::optional<int>>, "p: expected integer, got text"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.json);
    CHECK(row.decode(row.json) == row.expected);
  }
}

TEST_CASE("containers, enums and structs come back as they went") {
  const Row rows[] = {
      {"[3, 1, 1]", said<std::vector<int>>, "[3, 1, 1]"},
      {"[3, 1, 1]", said<std::set<int>>, "[1, 3]"},
      {"[3]", said<std::unordered_set<int>>, "[3]"},
      {"[3, 1]", said<std::list<int>>, "[3, 1]"},
      {"[1, 2]", said<std::array<int, 2>>, "[1, 2]"},
      {"{\"a\": 1}", said<std::unordered_map<std::string, int>>, "{\"a\": 1}"},
      {"null", said<std::optional<int>>, "null"},
      {"4", said<std::optional<int>>, "4"},
      {"\"large\"", said<shop::Size>, "\"large\""},
      {R"({"y": 2, "x": 1})", said<shop::Point>, R"({"x": 1, "y": 2, "label": null})"},
      {R"({"width": 5})", said<shop::Options>, R"({"width": 5, "format": "png"})"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.json);
    CHECK(row.decode(row.json) == row.expected);
  }
}

// kombu >= 5.3 writes these for Python's own types; a C++ task must be able to take each of the seven.
TEST_CASE("kombu's seven typed values are read where a type can hold them") {
  const TimePoint noon = TimePoint{std::chrono::sys_days{std::chrono::year{2026} / 11 / 22}} + 12h;
  CHECK(read<TimePoint>(R"({"__type__": "datetime", "__value__": "2026-11-22T12:00:00+00:00"})") == noon);
  CHECK(read<TimePoint>(R"({"__type__": "datetime", "__value__": "2026-11-22T13:00:00+01:00"})") == noon);
  CHECK(read<TimePoint>(R"({"__type__": "date", "__value__": "2026-11-22"})") == noon - 12h);
  CHECK(read<std::string>(R"({"__type__": "time", "__value__": "12:00:00"})") == "12:00:00");
  CHECK(read<std::string>(R"({"__type__": "decimal", "__value__": "1.10"})") == "1.10");
  CHECK(read<std::string>(
            R"({"__type__": "uuid", "__value__": {"hex": "0123456789abcdef0123456789abcdef", "version": 4}})") ==
        "01234567-89ab-cdef-0123-456789abcdef");
  CHECK(read<Bytes>(R"({"__type__": "bytes", "__value__": "x"})").data == "x");
  CHECK(read<Bytes>(R"({"__type__": "base64", "__value__": "AP8="})").data == std::string("\0\xff", 2));
}

TEST_CASE("durations are seconds, time points ISO 8601 or Unix seconds") {
  CHECK(read<Milliseconds>("1.001") == 1001ms);  // 1000.9999... as a double: must not be cut to 1000
  CHECK(read<std::chrono::seconds>("90") == 90s);
  CHECK(read<std::chrono::duration<double>>("0.25").count() == 0.25);
  CHECK(to_json(Codec<Milliseconds>::encode(1500ms)) == "1.5");
  CHECK(said<Milliseconds>("1e300") == "p: expected seconds within 292 years");
  CHECK(said<Milliseconds>("NaN") == "p: expected seconds within 292 years");
  CHECK(said<std::chrono::nanoseconds>("9e9") == "p: expected seconds that fit the parameter's type, got 9000000000.0");
  CHECK(said<Milliseconds>("\"5s\"") == "p: expected float, got text");
  CHECK(said<TimePoint>("\"2026-11-22T05:43:54.166995+00:00\"") == "\"2026-11-22T05:43:54.166995+00:00\"");
  CHECK(said<TimePoint>("1.5") == "\"1970-01-01T00:00:01.500000+00:00\"");
  CHECK(said<TimePoint>("\"tomorrow\"") == "p: expected time (ISO 8601), got 'tomorrow'");
  CHECK(said<TimePoint>("[]") == "p: expected time (ISO 8601), got array");
  CHECK(said<std::chrono::sys_seconds>("\"2026-11-22T05:43:54.9Z\"") == "\"2026-11-22T05:43:54.000000+00:00\"");
  CHECK(said<std::chrono::sys_time<std::chrono::nanoseconds>>("\"9000-01-01T00:00:00Z\"") ==
        "p: expected a time that fits the parameter's type, got \"9000-01-01T00:00:00Z\"");
}

TEST_CASE("a value without a name in its enum has no JSON form") {
  CHECK_THROWS_WITH_AS(Codec<shop::Size>::encode(static_cast<shop::Size>(9)),
                       doctest::Contains("expected one of small | large"), Error);
}

TEST_CASE("CP-29: a secret is found wherever it stands inside a type") {
  CHECK(codec::holds_secret<Secret<std::string>>);
  CHECK(codec::holds_secret<std::vector<std::optional<Secret<int>>>>);
  CHECK(codec::holds_secret<std::map<std::string, Secret<int>>>);
  CHECK(codec::holds_secret<std::pair<int, Secret<int>>>);
  CHECK(codec::holds_secret<shop::Login>);
  CHECK(codec::holds_secret<std::vector<shop::Login>>);
  CHECK_FALSE(codec::holds_secret<shop::Point>);
  CHECK_FALSE(codec::holds_secret<std::vector<int>>);
}

TEST_CASE("CP-3: every type has a JSON Schema of 2020-12") {
  CHECK(schema_of<std::uint8_t>() == R"({"type": "integer", "minimum": 0, "maximum": 255})");
  CHECK(schema_of<double>() == R"({"type": "number"})");
  CHECK(schema_of<Bytes>() == R"({"type": "string", "contentEncoding": "base64"})");
  CHECK(schema_of<std::optional<bool>>() == R"({"anyOf": [{"type": "boolean"}, {"type": "null"}]})");
  CHECK(schema_of<std::vector<std::string>>() == R"({"type": "array", "items": {"type": "string"}})");
  CHECK(schema_of<std::array<bool, 2>>() ==
        R"({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2})");
  CHECK(schema_of<shop::Size>() == R"({"enum": ["small", "large"]})");
  CHECK(schema_of<Secret<std::string>>() == R"({"type": "string", "writeOnly": true})");
  CHECK(schema_of<Value>() == "{}");
  CHECK(
      schema_of<shop::Options>() ==
      R"({"type": "object", "properties": {"width": {"type": "integer", "minimum": -2147483648, "maximum": 2147483647}, )"
      R"("format": {"type": "string"}}, "required": [], "additionalProperties": false})");
}
