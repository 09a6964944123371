#include <errand/error.hpp>
#include <errand/value.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <ctime>
#include <limits>
#include <string>

using namespace errand;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ERRAND_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define ERRAND_SANITIZED
#endif
#endif

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

std::string many_keys(int count) {
  std::string text = "{";
  for (int i = 0; i < count; ++i) text += "\"k" + std::to_string(i) + "\":0,";
  text.back() = '}';
  return text;
}

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
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

TEST_CASE("F113_what no double holds becomes infinity or zero of its sign") {
  struct Row {
    std::string_view in, out;
  };
  const std::string many_zeros = "0." + std::string(400, '0') + "1";
  const std::string many_zeros_back = many_zeros + "e401";
  const std::string many_nines = std::string(400, '9') + ".5";
  const std::string many_nines_back = many_nines + "e-400";
  const Row rows[] = {{"1.5e400", "Infinity"},
                      {"-1.5e400", "-Infinity"},
                      {"1.5e-400", "0.0"},
                      {"-1.5e-400", "-0.0"},
                      {"0e400", "0.0"},
                      {"-0.0e99999999999999999999", "-0.0"},
                      {"1e99999999999999999999", "Infinity"},
                      {"-1e-99999999999999999999", "-0.0"},
                      {"2e-324", "0.0"},
                      {"3e-324", "5e-324"},
                      {"1.7976931348623159e308", "Infinity"},
                      {"0.0000001e315", "1e+308"},
                      {many_zeros, "0.0"},
                      {many_zeros_back, "1.0"},
                      {many_nines, "Infinity"},
                      {many_nines_back, "1.0"}};
  for (const Row& row : rows) {
    CAPTURE(row.in);
    CHECK(echo(row.in) == row.out);
  }
  CHECK(to_json(Value(1234.5)) == "1234.5");
}

TEST_CASE("F113_a big integer that is not written as one is refused") {
  for (const char* wrong : {"", "-", "-0", "007", "1.5", "+1", "1e5", "NaN", "1,\"x\":2"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(to_json(Value(BigInteger{wrong})), Error);
  }
  CHECK(to_json(Value(BigInteger{"-18446744073709551616"})) == "-18446744073709551616");
  CHECK(parse_json("18446744073709551616").as_number() == 18446744073709551616.0);
  CHECK_THROWS_WITH_AS(parse_json(std::string(400, '9')).as_number(), doctest::Contains("got an integer of 400 digits"),
                       Error);
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
  CHECK(refusal(many_keys(1'000'000)).find("limit nodes") != std::string::npos);
  CHECK(parse_json(many_keys(200'000), JsonLimits{.nodes = 1'000'000}).as_object().size() == 200'000);
  CHECK(refusal("[1]", JsonLimits{.bytes = 2}).find("limit bytes") != std::string::npos);
}

TEST_CASE("F112_each limit lets exactly its number pass") {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(refusal(nested(128)) == "accepted");
  CHECK(refusal(nested(129)) == "json.parse: expected nesting of at most 128 (limit depth), got more at byte 129");
  CHECK(refusal(R"({"a":{"b":[{}]}})", {.depth = 4}) == "accepted");
  CHECK(refusal(R"({"a":{"b":[{}]}})", {.depth = 3}).find("limit depth") != std::string::npos);
  CHECK(refusal("[1, {}, 3]", {.nodes = 4}) == "accepted");
  CHECK(refusal("[1, {}, 3]", {.nodes = 3}) ==
        "json.parse: expected at most 3 values (limit nodes), got more at byte 8");
  CHECK(refusal("[1]", {.bytes = 3}) == "accepted");
  CHECK(refusal("-123", {.integer_digits = 3}) == "accepted");
  CHECK(refusal("1234", {.integer_digits = 3}).find("limit integer_digits") != std::string::npos);
  CHECK(refusal("1234.5", {.integer_digits = 3}) == "accepted");
}

// A depth limit set too high must not become a stack overflow in the value's destructor.
TEST_CASE("F112_no limit makes values deeper than can be copied, compared, written and destroyed") {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  constexpr JsonLimits kNone{.depth = 1'000'000'000, .nodes = 1'000'000'000};
  CHECK(refusal(nested(1'001), kNone).find("at most 1000 (limit depth)") != std::string::npos);
  const Value deepest = parse_json(nested(1'000), kNone);
  const Value copy = deepest;
  CHECK(copy == deepest);
  CHECK(to_json(copy) == nested(1'000));
}

// The bound that fault F112 names; on a machine so slow that what is allowed takes as long, half of that again. Time of
// this thread, not of the machine; the best of five, since other work can only make it longer. Unoptimised and
// sanitized builds are not what anybody runs.
TEST_CASE("F112_hostile messages are refused within ten milliseconds") {
#if defined(NDEBUG) && defined(__OPTIMIZE__) && !defined(ERRAND_SANITIZED)
  constexpr double kSeconds = 0.010;
#else
  constexpr double kSeconds = 1.0;
#endif
  const std::string largest = many_keys(99'999);  // with the object itself, as many values as may be
  for (const std::string& text : {std::string(200'000, '['), many_keys(1'000'000)}) {
    double best = 1e9, allowed = 1e9;
    for (int i = 0; i < 5; ++i) {
      const double from = thread_seconds();
      CHECK_THROWS_AS(parse_json(text), Error);
      const double between = thread_seconds();
      CHECK_NOTHROW(parse_json(largest));
      best = std::min(best, between - from);
      allowed = std::min(allowed, thread_seconds() - between);
    }
    CAPTURE(text.size());
    CHECK(best < std::max(kSeconds, 1.5 * allowed));
  }
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
  CHECK(to_json(value, JsonStyle{.spaces = false}) ==
        R"([{"__type__":"bytes","__value__":"plain"},{"__type__":"base64","__value__":"/wA="}])");
  for (const char* wrong : {R"({"__type__": "base64", "__value__": "/w"})", R"({"__type__": "base64", "__value__": 1})",
                            R"({"__type__": "bytes", "__value__": "\ud800"})", R"({"__type__": 1, "__value__": 1})"}) {
    CAPTURE(wrong);
    Value value_of_peer = parse_json(wrong);
    CHECK_THROWS_AS(decode_typed(value_of_peer), Error);
  }
  Value date = parse_json(R"({"__type__": "date", "__value__": "2030-01-02"})");
  decode_typed(date);
  CHECK(to_json(date) == R"({"__type__": "date", "__value__": "2030-01-02"})");
}

// The reader and the writer look at eight bytes at a time; whatever needs a closer look may stand at any of them.
TEST_CASE("a special byte is found at every place of a text") {
  for (const std::string_view special :
       {"\"", "\\", "\n", "\x01", "\x1f", "\x7f", "\xc3\xa9", "\xed\xa0\x80", "\xf0\x9f\x98\x80"}) {
    for (std::size_t before = 0; before < 20; ++before) {
      for (const std::size_t after : {0u, 1u, 7u, 8u, 9u}) {
        const Value text(std::string(before, ' ') + std::string(special) + std::string(after, '~'));
        CHECK(parse_json(to_json(text)) == text);
        CHECK(parse_json(to_json(text, JsonStyle{.ascii = false})) == text);
        std::string broken = "[\"" + std::string(before, 'x') + "\xff" + std::string(after, 'x') + "\"]";
        CHECK(refusal(broken).find("got byte 0xff at byte " + std::to_string(before + 2)) != std::string::npos);
      }
    }
  }
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
