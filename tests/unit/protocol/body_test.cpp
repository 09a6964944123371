#include "protocol/body.hpp"
#include "protocol/compression.hpp"
#include "protocol/decode_failure.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace errand;
using namespace errand::protocol;

namespace {

Message with_body(std::string body) {
  Message message;
  message.body = std::move(body);
  return message;
}

std::string failure_of(const Message& message) {
  try {
    const Body body(message);
    body.args();
    body.kwargs();
    body.embed();
  } catch (const DecodeFailure& failure) {
    return failure.reason() + " " + failure.line();
  }
  return "read";
}

Value step(const char* task) {
  return Value::object(
      {{"task", task}, {"args", Value::array()}, {"kwargs", Value::object()}, {"options", Value::object()}});
}

}  // namespace

TEST_CASE("a body is written as Python writes it") {
  CHECK(encode_body({2, 3}, {}, {}) ==
        R"([[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}])");
  CHECK(encode_body({"h\xc3\xa9"}, {{"k", Value()}}, {}) ==
        R"([["h\u00e9"], {"k": null}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}])");
}

TEST_CASE("a body reads back, its parts untouched until asked for") {
  Embed embed;
  embed.chain = {step("b"), step("a")};
  embed.chord = step("body");
  const Message message = with_body(encode_body({1, "x]"}, {{"k\"", 2.5}}, embed));
  const Body body(message);
  CHECK(body.args_json() == R"([1, "x]"])");
  CHECK(body.args() == Array{1, "x]"});
  CHECK(body.kwargs() == Object{{"k\"", 2.5}});
  CHECK(body.embed().chain == embed.chain);
  CHECK(body.embed().chord == embed.chord);
  CHECK(body.embed().callbacks.empty());
}

TEST_CASE("an embed may be null or empty, and a chain may be an empty array") {
  CHECK(Body(with_body("[[], {}, null]")).embed().empty());
  CHECK(Body(with_body("[[], {}, {}]")).embed().empty());
  CHECK(Body(with_body(R"([[], {}, {"chain": []}])")).embed().empty());
}

// A Python worker dies of the first two; here each is one message refused.
TEST_CASE("bodies of the wrong shape are refused with what was expected") {
  CHECK(failure_of(with_body("[[], {}]")) == "BAD_BODY body: expected 3 elements, got 2");
  CHECK(failure_of(with_body("[[], {}, {}, 1]")) == "BAD_BODY body: expected 3 elements, got more");
  CHECK(failure_of(with_body("[]")) == "BAD_BODY body: expected 3 elements, got 0");
  CHECK(failure_of(with_body("")) == "BAD_BODY body: expected an array of args, kwargs and embed, got nothing");
  CHECK(failure_of(with_body("{}")) == "BAD_BODY body: expected an array of args, kwargs and embed, got '{}'");
  CHECK(failure_of(with_body(R"([{"x": 1}, {}, {}])")) == R"(BAD_BODY args: expected array, got '{"x": 1}')");
  CHECK(failure_of(with_body("[[], [], {}]")) == "BAD_BODY kwargs: expected object, got '[]'");
  CHECK(failure_of(with_body("[[], {}, 5]")) == "BAD_BODY embed: expected object or null, got '5'");
  CHECK(failure_of(with_body(R"([[], {}, {"chord": []}])")) ==
        "BAD_BODY embed.chord: expected object or null, got array");
  CHECK(failure_of(with_body(R"([[], {}, {"callbacks": {}}])")) ==
        "BAD_BODY embed.callbacks: expected array or null, got object");
  CHECK(failure_of(with_body(R"([[], {}, {"chain": ["x"]}])")) ==
        "BAD_BODY embed.chain: expected array of objects, got text");
  CHECK(failure_of(with_body("[[1,], {}, {}]")).starts_with("UNDECODABLE args"));
  CHECK(failure_of(with_body("[[\xff], {}, {}]")).starts_with("UNDECODABLE args"));
}

// F116: the label decides, not a look at the bytes.
TEST_CASE("pickle, yaml and unknown content are refused by their label") {
  Message message = with_body("[[], {}, {}]");
  message.content_type = "application/x-python-serialize";
  CHECK(failure_of(message) ==
        "CONTENT_DISALLOWED content-type: expected application/json, got application/x-python-serialize (pickle); let "
        "the sender use the json serializer");
  message.content_type = "application/x-unheard";
  CHECK(failure_of(message).starts_with("CONTENT_DISALLOWED content-type"));
  message.content_type = "application/json";
  message.content_encoding = "utf-16";
  CHECK(failure_of(message) == "CONTENT_DISALLOWED content-encoding: expected utf-8, got utf-16");
}

TEST_CASE("a compressed body is unpacked by its header") {
  Message message = with_body(compress(Compression::zstd, "[[1], {}, null]"));
  message.headers.set("compression", "application/zstd");
  CHECK(Body(message).args() == Array{1});
  message.headers.set("compression", "application/x-unheard");
  CHECK(failure_of(message).starts_with("CONTENT_DISALLOWED compression"));
  message.headers.set("compression", 5);
  CHECK(failure_of(message) == "BAD_HEADER compression: expected text or null, got integer");
}

// F122.
TEST_CASE("more callbacks than the limit are refused") {
  std::string body = R"([[], {}, {"callbacks": [)";
  for (std::size_t i = 0; i <= kMaxLinks; ++i) {
    if (i > 0) body += ", ";
    body += R"({"task": "t", "options": {}})";
  }
  body += "]}]";
  CHECK(failure_of(with_body(body)) == "TOO_LARGE embed: more than 10000 callbacks, errbacks and chain steps");
}

TEST_CASE("a result is put before the arguments without being parsed") {
  CHECK(join_body("", "[1]", "{}", {}).starts_with("[[1], {}, "));
  CHECK(join_body("NaN", "[1, 2]", R"({"a": 1})", {}).starts_with(R"([[NaN, 1, 2], {"a": 1}, )"));
  CHECK(join_body("{}", "[ ]", "{}", {}).starts_with("[[{}], {}, "));
}

TEST_CASE("every compression reads back what it wrote, and knows kombu's names") {
  std::string text = "[";
  for (int i = 0; i < 20'000; ++i) text += std::to_string(i * 7919 % 10007) + ", ";
  for (const char* name : {"gzip", "bzip2", "lzma", "brotli", "zstd"}) {
    CAPTURE(name);
    const auto method = find_compression(name);
    REQUIRE(method);
    CHECK(find_compression(mime_name(*method)) == method);
    const std::string packed = compress(*method, text);
    CHECK(packed.size() < text.size());
    CHECK(decompress(*method, packed) == text);
    CHECK(decompress(*method, compress(*method, "")).empty());
    CHECK_THROWS_AS(decompress(*method, packed.substr(0, packed.size() / 2)), DecodeFailure);
    CHECK_THROWS_AS(decompress(*method, packed + "x"), DecodeFailure);
    CHECK_THROWS_AS(decompress(*method, "no such thing"), DecodeFailure);
    CHECK_THROWS_AS(decompress(*method, ""), DecodeFailure);
  }
  CHECK(compress(Compression::zlib, "x").substr(0, 2) == "\x78\x9c");
  CHECK_FALSE(find_compression("rot13"));
}

// F115: a small message must not become a large one.
TEST_CASE("unpacking stops at the limits of size and ratio") {
  const std::string zeros(4u << 20, '0');
  for (const Compression method :
       {Compression::zlib, Compression::bzip2, Compression::lzma, Compression::brotli, Compression::zstd}) {
    CAPTURE(mime_name(method));
    const std::string packed = compress(method, zeros);
    try {
      decompress(method, packed);
      FAIL("a ratio of more than 100 was accepted");
    } catch (const DecodeFailure& failure) {
      CHECK(failure.reason() == reason::too_large);
    }
    CHECK(decompress(method, packed, {.bytes = zeros.size(), .ratio = 1'000'000}) == zeros);
    CHECK_THROWS_AS(decompress(method, packed, {.bytes = zeros.size() - 1, .ratio = 1'000'000}), DecodeFailure);
  }
}
