// The header, and what a signature is over.
#include "signing/header.hpp"

#include <errand/signing.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace errand;
using signing::format_header;
using signing::parse_header;
using signing::SignatureHeader;
using signing::signed_bytes;

namespace {

SignatureHeader sample() {
  return {.key_id = "web-2026",
          .algorithm = "ed25519",
          .issued = TimePoint(Microseconds(1'795'881'600'123'456)),
          .nonce = "AAECAwQFBgcICQoLDA0ODw==",
          .signature = "signature"};
}

Message message() {
  Message out;
  out.headers = Object{{"task", "t"}, {"id", "1"}, {"timelimit", Value::array({nullptr, 2.5})}};
  out.properties = Object{{"correlation_id", "1"}, {"priority", 3}};
  out.body = "[[], {}, {}]";
  return out;
}

}  // namespace

TEST_CASE("a header says its fields in one line and is read back") {
  const std::string text = format_header(sample());
  CHECK(text == "1;web-2026;ed25519;1795881600123456;AAECAwQFBgcICQoLDA0ODw==;c2lnbmF0dXJl");
  const auto back = parse_header(text);
  REQUIRE(back);
  CHECK(back->key_id == "web-2026");
  CHECK(back->algorithm == "ed25519");
  CHECK(back->issued == sample().issued);
  CHECK(back->nonce == sample().nonce);
  CHECK(back->signature == "signature");
}

TEST_CASE("F124_a header of another shape is none") {
  for (const char* text :
       {"", "1", ";;;;;", "2;k;ed25519;1;AAECAwQFBgcICQoLDA0ODw==;c2ln", "1;k;ed25519;1;AAECAwQFBgcICQoLDA0ODw==",
        "1;k;ed25519;1;AAECAwQFBgcICQoLDA0ODw==;c2ln;", "1;;ed25519;1;AAECAwQFBgcICQoLDA0ODw==;c2ln",
        "1;a key;ed25519;1;AAECAwQFBgcICQoLDA0ODw==;c2ln", "1;k;ed25519;-1;AAECAwQFBgcICQoLDA0ODw==;c2ln",
        "1;k;ed25519;9223372036854775808;AAECAwQFBgcICQoLDA0ODw==;c2ln", "1;k;ed25519;1;AAEC;c2ln",
        "1;k;ed25519;1;AAECAwQFBgcICQoLDA0ODw==;", "1;k;ed25519;1;AAECAwQFBgcICQoLDA0ODw==;c2l"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_header(text));
  }
  CHECK_FALSE(parse_header("1;k;ed25519;1;AAECAwQFBgcICQoLDA0ODw==;" + std::string(signing::kMostHeaderBytes, 'A')));
}

TEST_CASE("key ids are short and plain") {
  for (const char* good : {"a", "web-2026", "A.b_c-9"}) CHECK(signing::is_key_id(good));
  for (const char* bad : {"", "a b", "a;b", "\xc3\xa9"}) CHECK_FALSE(signing::is_key_id(bad));
  CHECK(signing::is_key_id(std::string(64, 'x')));
  CHECK_FALSE(signing::is_key_id(std::string(65, 'x')));
}

TEST_CASE("what is signed does not depend on the order of headers, nor on what others write on the way") {
  const std::string before = signed_bytes(message(), {"", "q"}, sample());
  Message other = message();
  other.headers = Object{{"timelimit", Value::array({nullptr, 2.5})}, {"id", "1"}, {"task", "t"}};
  other.headers.set("redelivered", true);
  other.headers.set("x-death", Value::array({1}));
  other.headers.set(std::string(kSignatureHeader), "anything");
  other.properties.set("reply_to", "");
  other.properties.set("expiration", "1000");
  other.properties.set("priority", 9);
  CHECK(signed_bytes(other, {"", "q"}, sample()) == before);
}

TEST_CASE("everything else changes what is signed") {
  const std::string before = signed_bytes(message(), {"", "q"}, sample());
  const auto changed = [&](const auto& change) {
    Message other = message();
    Route route{"", "q"};
    SignatureHeader header = sample();
    change(other, route, header);
    return signed_bytes(other, route, header) != before;
  };
  CHECK(changed([](Message& m, Route&, SignatureHeader&) { m.headers.set("task", "u"); }));
  CHECK(changed([](Message& m, Route&, SignatureHeader&) { m.headers.set("id", "2"); }));
  CHECK(changed([](Message& m, Route&, SignatureHeader&) { m.headers.set("timelimit", Value::array({nullptr, 2})); }));
  CHECK(changed([](Message& m, Route&, SignatureHeader&) { m.headers.set("unknown", nullptr); }));
  CHECK(changed([](Message& m, Route&, SignatureHeader&) { m.headers.erase("id"); }));
  CHECK(changed([](Message& m, Route&, SignatureHeader&) { m.properties.set("correlation_id", "2"); }));
  CHECK(changed([](Message& m, Route&, SignatureHeader&) { m.properties.set("reply_to", "x"); }));
  CHECK(changed([](Message& m, Route&, SignatureHeader&) { m.content_type = "text/plain"; }));
  CHECK(changed([](Message& m, Route&, SignatureHeader&) { m.content_encoding = "latin-1"; }));
  CHECK(changed([](Message& m, Route&, SignatureHeader&) { m.body += ' '; }));
  CHECK(changed([](Message&, Route& r, SignatureHeader&) { r.exchange = "e"; }));
  CHECK(changed([](Message&, Route& r, SignatureHeader&) { r.routing_key = "p"; }));
  CHECK(changed([](Message&, Route&, SignatureHeader& h) { h.key_id = "other"; }));
  CHECK(changed([](Message&, Route&, SignatureHeader& h) { h.algorithm = "rsa-pss-sha256"; }));
  CHECK(changed([](Message&, Route&, SignatureHeader& h) { h.issued += Microseconds(1); }));
  CHECK(changed([](Message&, Route&, SignatureHeader& h) { h.nonce = "BAECAwQFBgcICQoLDA0ODw=="; }));
}
