#include "protocol/envelope.hpp"
#include "protocol/decode_failure.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace errand;
using namespace errand::protocol;

namespace {

Message sample() {
  Message message;
  message.headers = Object{{"task", "proj.add"}, {"id", "t-1"}, {"retries", 0}, {"note", "h\xc3\xa9"}};
  message.properties = Object{{"correlation_id", "t-1"}, {"reply_to", ""}, {"app_id", "x"}, {"priority", 4}};
  message.body = "[[2, 3], {}, {}]";
  return message;
}

std::string failure_of(std::string_view text) {
  try {
    read_envelope(text);
  } catch (const DecodeFailure& failure) {
    return failure.reason() + " " + failure.line();
  }
  return "read";
}

}  // namespace

TEST_CASE("an envelope reads back as it was written, with what the transport adds taken out again") {
  const std::string text = encode_envelope({.route = {"ex", "key"}, .message = sample(), .priority = 4}, "tag-1");
  const StoredMessage back = read_envelope(text);
  CHECK(back.message.headers == sample().headers);
  CHECK(back.message.body == sample().body);
  CHECK(back.message.content_type == "application/json");
  CHECK(back.route == Route{"ex", "key"});
  CHECK(back.priority == 4);
  CHECK(back.delivery_tag == "tag-1");
  CHECK_FALSE(back.redelivered);
  CHECK(back.message.properties ==
        Object{{"correlation_id", "t-1"}, {"reply_to", ""}, {"app_id", "x"}, {"delivery_mode", 2}, {"priority", 4}});
}

TEST_CASE("an envelope is JSON in Python's style with delivery_info always there") {
  Message message;
  message.body = "x";
  CHECK(encode_envelope({.route = {"", "q\""}, .message = message}, "t") ==
        R"({"body": "eA==", "content-encoding": "utf-8", "content-type": "application/json", "headers": {}, )"
        R"("properties": {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "q\""}, )"
        R"("priority": 0, "body_encoding": "base64", "delivery_tag": "t"}})");
}

TEST_CASE("stale properties of another transport are replaced, not repeated") {
  Message message = sample();
  message.properties.set("delivery_tag", "old");
  message.properties.set("body_encoding", "utf-8");
  message.properties.set("delivery_info", Value::object({{"exchange", "old"}}));
  const StoredMessage back =
      read_envelope(encode_envelope({.route = {"", "q"}, .message = message, .priority = 9}, "new"));
  CHECK(back.delivery_tag == "new");
  CHECK(back.route == Route{"", "q"});
  CHECK(back.priority == 9);
}

TEST_CASE("a message that was put back is known by either of kombu's two marks") {
  std::string text;
  write_envelope(text, sample(), {"", "q"}, 0, "t", true);
  CHECK(read_envelope(text).redelivered);
  Message marked = sample();
  marked.headers.set("redelivered", true);
  CHECK(read_envelope(encode_envelope({.route = {}, .message = marked}, "t")).redelivered);
}

TEST_CASE("a body without body_encoding is plain text, and every byte survives base64") {
  const auto plain = read_envelope(R"({"body": "[[1], {}, \u00e9]", "headers": {}, "properties": {}})");
  CHECK(plain.message.body == "[[1], {}, \xc3\xa9]");
  Message message;
  for (int byte = 0; byte < 256; ++byte) message.body += static_cast<char>(byte);
  CHECK(read_envelope(encode_envelope({.route = {}, .message = message}, "t")).message.body == message.body);
}

// Whatever lies in a list, the reader names the defect and throws nothing else.
TEST_CASE("F108_F109_bytes that are no envelope are refused with the field that is wrong") {
  CHECK(failure_of("") == "UNDECODABLE envelope: expected '{' at byte 0, got the end");
  CHECK(failure_of("not json") == "UNDECODABLE envelope: expected '{' at byte 0, got 'n'");
  CHECK(failure_of(R"({"headers": {}, "properties": {}})") ==
        "UNDECODABLE envelope.body: expected it, but it is missing");
  CHECK(failure_of(R"({"body": "", "headers": {}})") ==
        "UNDECODABLE envelope.properties: expected it, but it is missing");
  CHECK(failure_of(R"({"body": "", "properties": {}})") ==
        "UNDECODABLE envelope.headers: expected it, but it is missing");
  CHECK(failure_of(R"({"body": "", "headers": [], "properties": {}})") ==
        "UNDECODABLE envelope.headers: expected object, got array");
  CHECK(failure_of(R"({"body": 5, "headers": {}, "properties": {}})") ==
        "UNDECODABLE envelope.body: expected text, got '5'");
  CHECK(failure_of(R"({"body": "@@", "headers": {}, "properties": {"body_encoding": "base64"}})") ==
        "UNDECODABLE envelope.body: expected base64 (properties.body_encoding), got '@@'");
  CHECK(failure_of(R"({"body": "", "headers": {}, "properties": {"body_encoding": "rot13"}})") ==
        "UNDECODABLE envelope.properties.body_encoding: expected base64, utf-8 or nothing, got 'rot13'");
  CHECK(failure_of(R"({"body": "", "headers": {}, "properties": {"delivery_info": 5}})") ==
        "UNDECODABLE envelope.properties.delivery_info: expected object, got integer");
  CHECK(failure_of(R"({"body": "", "headers": {}, "properties": {}} x)") ==
        "UNDECODABLE envelope: expected the end at byte 46, got 'x'");
  CHECK(failure_of(R"({"body": ")").starts_with("UNDECODABLE"));
  CHECK(failure_of(std::string(200'000, '[')).starts_with("UNDECODABLE"));
  CHECK(failure_of(R"({"headers": )" + std::string(200'000, '[') + std::string(200'000, ']') +
                   R"(, "body": "", "properties": {}})")
            .starts_with("UNDECODABLE envelope.headers"));
  CHECK(failure_of(std::string(kMaxEnvelopeBytes + 1, ' ')).starts_with("TOO_LARGE"));
}

TEST_CASE("null headers are none, and null content types are empty") {
  const auto back =
      read_envelope(R"({"body": "", "headers": null, "properties": {"delivery_info": null}, "content-type": null})");
  CHECK(back.message.headers.empty());
  CHECK(back.message.content_type.empty());
  CHECK(back.route == Route{});
}

TEST_CASE("an unacked entry gives back the envelope's own bytes and its route") {
  std::string envelope = encode_envelope({.route = {"ex", "k"}, .message = sample()}, "t");
  std::string text;
  write_unacked(text, envelope, {"ex", "k"});
  const Unacked back = read_unacked(text);
  CHECK(back.envelope == envelope);
  CHECK(back.route == Route{"ex", "k"});
  CHECK_THROWS_AS(read_unacked("[{}, 5, \"\"]"), DecodeFailure);
  CHECK_THROWS_AS(read_unacked("[{}]"), DecodeFailure);
}
