#include <errand/error.hpp>
#include <errand/value.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <limits>

using namespace errand;

namespace {
// Reads and writes again, as Python's json.dumps(json.loads(text)) would.
std::string echo(std::string_view text) { return to_json(parse_json(text)); }

std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  try {
    parse_json(text, limits);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::invalid);
    return error.what();
  }
  return "accepted";
}
}  // namespace

TEST_CASE("JSON is read and written as Python reads and writes it") {
  struct Row {
    std::string_view in, out;
  };
  const Row rows[] = {
      {"null", "null"},
      {" [ 1 , 2 ] ", "[1, 2]"},
      {R"({"b":1,"a":{}})", R"({"b": 1, "a": {}})"},
      {R"({"a": 1, "b": 2, "a": 3})", R"({"a": 3, "b": 2})"},
      {R"("é")", R"("\u00e9")"},
      {R"("\ud834\udd1e")", R"("\ud834\udd1e")"},
      {R"("\ud834")", R"("\ud834")"},
      {R"("\udd1e\ud834")", R"("\udd1e\ud834")"},
      {"\"\x7f\"", R"("\u007f")"},
      {R"("\u0000\u001f\/\b\f\n\r\t\"\\")", R"("\u0000\u001f/\b\f\n\r\t\"\\")"},
      {"-0", "0"},
      {"-0.0", "-0.0"},
      {"0", "0"},
      {"9223372036854775807", "9223372036854775807"},
      {"9223372036854775808", "9223372036854775808"},
      {"-9223372036854775809", "-9223372036854775809"},
      {"10000000000000000000000000", "10000000000000000000000000"},
      {"NaN", "NaN"},
      {"[Infinity, -Infinity]", "[Infinity, -Infinity]"},
      {"1e400", "Infinity"},
      {"1e-400", "0.0"},
      {"1E5", "100000.0"},
      {"1e16", "1e+16"},
      {"123456789012345680.0", "1.2345678901234568e+17"},
      {"9999999999999998.0", "9999999999999998.0"},
      {"0.0001", "0.0001"},
      {"0.00001", "1e-05"},
      {"1.5e-7", "1.5e-07"},
      {"1e100", "1e+100"},
      {"5e-324", "5e-324"},
      {"1.7976931348623157e308", "1.7976931348623157e+308"},
      {"0.1", "0.1"},
      {"3.0", "3.0"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.in);
    CHECK(echo(row.in) == row.out);
  }
}

TEST_CASE("F113_integers are exact to 64 bits and carried as digits beyond; they never wrap") {
  CHECK(parse_json("9007199254740993").as_integer() == 9007199254740993);
  CHECK(parse_json("18446744073709551616").as_big_integer().digits == "18446744073709551616");
  const std::string long_one(4300, '7');
  CHECK(echo(long_one) == long_one);
  CHECK(refusal(std::string(4301, '7')).find("integer_digits") != std::string::npos);
  CHECK(to_json(Value(std::numeric_limits<unsigned long long>::max())) == "18446744073709551615");
}

TEST_CASE("F114_what is not JSON is refused with what was expected and where") {
  struct Row {
    std::string_view in, says;
  };
  const Row rows[] = {
      {"", "expected a value, got the end of the text at byte 0"},
      {"[1,]", "expected a value, got ']' at byte 3"},
      {"{\"a\" 1}", "expected ':', got '1' at byte 5"},
      {"{a: 1}", "expected a key in double quotes"},
      {"01", "expected no digit after a leading zero"},
      {"-", "expected a digit"},
      {"1 2", "expected the end of the text, got '2'"},
      {"1.", "expected the end of the text, got '.'"},
      {"tru", "expected 'true'"},
      {"\"\n\"", "no control character"},
      {"\"\xff\"", "expected UTF-8, got byte 0xff"},
      {"\"\xed\xa0\x80\"", "expected UTF-8"},
      {"\"\xc0\x80\"", "expected UTF-8"},
      {"\"\\x\"", "escapes"},
      {"\"\\u12g4\"", "four hexadecimal digits"},
      {"\"open", "got the end of the text"},
      {"\xef\xbb\xbf{}", "byte order mark"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.in);
    CHECK(refusal(row.in).find(row.says) != std::string::npos);
  }
}

// A hostile message must cost no more than its size: no recursion, no quadratic lookup.
TEST_CASE("F112_deep nesting and a million keys are refused at a named limit") {
  CHECK(refusal(std::string(200'000, '[')).find("limit depth") != std::string::npos);
  std::string many = "{";
  for (int i = 0; i < 200'000; ++i) many += "\"k" + std::to_string(i) + "\":0,";
  many.back() = '}';
  CHECK(refusal(many).find("limit nodes") != std::string::npos);
  CHECK(parse_json(many, JsonLimits{.nodes = 1'000'000}).as_object().size() == 200'000);
  CHECK(refusal("[1]", JsonLimits{.bytes = 2}).find("limit bytes") != std::string::npos);
}

TEST_CASE("bytes are written as kombu's typed values and read back; unknown types are refused") {
  Value value = Value::array({Bytes{"plain"}, Bytes{std::string("\xff\x00", 2)}});
  CHECK(to_json(value) ==
        R"([{"__type__": "bytes", "__value__": "plain"}, {"__type__": "base64", "__value__": "/wA="}])");
  Value back = parse_json(to_json(value));
  decode_typed(back);
  CHECK(back == value);
  CHECK_THROWS_AS(to_json(value, JsonStyle{.typed_bytes = false}), Error);
  Value unknown = parse_json(R"({"__type__": "surprise", "__value__": 1})");
  CHECK_THROWS_AS(decode_typed(unknown), Error);
  CHECK_THROWS_AS(to_json(unknown), Error);
  Value date = parse_json(R"({"__type__": "date", "__value__": "2030-01-02"})");
  decode_typed(date);
  CHECK(to_json(date) == R"({"__type__": "date", "__value__": "2030-01-02"})");
}

TEST_CASE("text that is not UTF-8 is refused by the writer and leaves nothing behind") {
  std::string out = "before";
  CHECK_THROWS_AS(write_json(out, Value::array({1, "\xff"})), Error);
  CHECK(out == "before");
}

TEST_CASE("an object keeps insertion order, replaces in place and compares like a dict") {
  Object object{{"a", 1}, {"b", 2}};
  object.set("a", 3);
  object["c"] = 4;
  CHECK(to_json(Value(object)) == R"({"a": 3, "b": 2, "c": 4})");
  CHECK(object.erase("b"));
  CHECK_FALSE(object.erase("b"));
  CHECK(object == Object{{"c", 4}, {"a", 3}});
  Object large;
  for (int i = 0; i < 100; ++i) large.set("k" + std::to_string(i), i);
  CHECK(large.erase("k7"));
  CHECK(large.find("k8")->as_integer() == 8);
  CHECK(large.find("k7") == nullptr);
  Object copy = large;
  large.set("k8", "changed");
  CHECK(copy.find("k8")->as_integer() == 8);
}

TEST_CASE("indentation and compact style are for people and for stores") {
  const Value value = Value::object({{"a", Value::array({1, 2})}, {"b", Value::array()}});
  CHECK(to_json(value, JsonStyle{.spaces = false}) == R"({"a":[1,2],"b":[]})");
  CHECK(to_json(value, JsonStyle{.indent = 2}) == "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": []\n}");
  CHECK(to_json(Value("é\x7f"), JsonStyle{.ascii = false}) == "\"é\x7f\"");
}
