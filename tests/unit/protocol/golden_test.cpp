// What Celery itself wrote (tests/golden/make_vectors.py), read and written again.

#include "golden.hpp"

#include "protocol/body.hpp"
#include "protocol/compression.hpp"
#include "protocol/envelope.hpp"
#include "protocol/exception.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/result_json.hpp"
#include "protocol/saferepr.hpp"
#include "protocol/task_message.hpp"
#include "protocol/topic.hpp"

#include "core/base64.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace errand;
using namespace errand::protocol;
using errand::golden::load;

TEST_CASE("every message of a Python client is read, and written again to an equal envelope") {
  const Value vectors = load("messages.json");
  for (const auto& [name, list] : vectors.as_object()) {
    CAPTURE(name);
    for (const Value& entry : list.as_array()) {
      const std::string& raw = entry.find("raw")->as_text();
      StoredMessage stored = read_envelope(raw);
      CHECK_FALSE(stored.redelivered);
      std::string again;
      write_envelope(again, stored.message, stored.route, stored.priority, stored.delivery_tag);
      CHECK(parse_json(again) == parse_json(raw));

      const bool protocol1 = name.starts_with("protocol1");
      CHECK(stored.message.headers.contains("task") != protocol1);
      const TaskMessage task = decode_task(stored.message);
      CHECK(task.task.starts_with(name == "map" || name == "starmap" || name == "chunks" ? "celery." : "proj."));
      const Body body(stored.message);
      // The repr that Python wrote is the repr of what was read: nothing was lost on the way.
      CHECK(args_repr(body.args()) == task.argsrepr);
      // (Python printed the tuples inside these before they became arrays.)
      if (name != "map" && name != "starmap" && name != "chunks") CHECK(kwargs_repr(body.kwargs()) == task.kwargsrepr);
      body.embed();
      // And a body that is read and written by us has the bytes that Python's json gives.
      if (!protocol1) {
        CHECK(encode_body(body.args(), body.kwargs(), body.embed()) == unpacked_body(stored.message));
      }
    }
  }
}

TEST_CASE("options of a Python call arrive in their fields") {
  const Value messages = load("messages.json");
  const auto task_of = [&](const char* name) {
    StoredMessage stored = read_envelope(messages.find(name)->as_array().at(0).find("raw")->as_text());
    return decode_task(stored.message);
  };
  const TaskMessage options = task_of("options");
  CHECK(options.id == "job:1");
  CHECK(options.time_limit == Milliseconds{30'000});
  CHECK(options.soft_time_limit == Milliseconds{12'500});
  CHECK(options.shadow == "shown");
  CHECK(options.ignore_result == true);
  CHECK(options.retries == 1);
  CHECK(options.root_id == "root");
  CHECK(options.parent_id == "parent");
  CHECK(options.custom == Object{{"tenant", "a"}, {"n", Value::array({1})}});
  CHECK(task_of("eta").eta == task_of("eta_offset").eta);
  CHECK(task_of("eta").eta == read_time("2030-01-02T03:04:05.678901Z"));
  CHECK(task_of("expires_time").expires == task_of("eta").eta);
  CHECK(task_of("countdown").eta);
  CHECK(task_of("expires_seconds").expires);
  CHECK(task_of("priority_5").priority == 5);
  CHECK(task_of("protocol1_plain").time_limit == Milliseconds{9'000});
  CHECK(task_of("protocol1_chord").group_index == 0);
}

TEST_CASE("every result of a Python worker is read, and written again to an equal record") {
  const Value vectors = load("results.json");
  for (const auto& [name, list] : vectors.as_object()) {
    CAPTURE(name);
    REQUIRE_FALSE(list.as_array().empty());
    for (const Value& entry : list.as_array()) {
      const std::string& raw = entry.find("value")->as_text();
      const TaskResult result = read_result(raw);
      CHECK(result_key(result.id) == entry.find("result")->as_text());
      CHECK(result.done_at.has_value() == state::ready(result.state));
      Value expected = parse_json(raw);
      // Celery 5.2 leaves the offset out; we write it, as 5.5 does.
      if (result.done_at) expected.as_object().set("date_done", expected.find("date_done")->as_text() + "+00:00");
      CHECK(parse_json(encode_result(result)) == expected);
      if (result.state == state::failure || result.state == state::revoked || result.state == state::retry) {
        CHECK(parse_json(read_exception(result.result_json).to_json()) == parse_json(result.result_json));
      }
    }
  }
}

TEST_CASE("what our worker writes for tasks that could not run is what Celery's writes") {
  const Value results = load("results.json");
  const auto last = [&](const char* name) {
    return parse_json(read_result(results.find(name)->as_array().back().find("value")->as_text()).result_json);
  };
  CHECK(parse_json(not_registered("proj.nowhere").to_json()) == last("unregistered"));
  CHECK(parse_json(expired().to_json()) == last("expired"));
  CHECK(parse_json(type_error("loose() missing 1 required positional argument: 'y'").to_json()) ==
        last("wrong_arguments"));
}

TEST_CASE("saferepr prints what Celery's prints, also where it cuts") {
  const Value texts = load("texts.json");
  for (const Value& entry : texts.find("reprs")->as_array()) {
    const auto limit = static_cast<std::size_t>(entry.find("limit")->as_integer());
    const Value& value = *entry.find("value");
    CAPTURE(limit);
    if (const Value* repr = entry.find("repr")) CHECK(saferepr(value, limit) == repr->as_text());
    if (const Value* args = entry.find("args")) CHECK(args_repr(value.as_array(), {}, limit) == args->as_text());
  }
}

TEST_CASE("topic patterns have kombu's text and meaning") {
  const Value texts = load("texts.json");
  for (const Value& entry : texts.find("topics")->as_array()) {
    const std::string& key = entry.find("key")->as_text();
    CAPTURE(key);
    CHECK(topic_pattern(key) == entry.find("pattern")->as_text());
    for (const Value& word : entry.find("matches")->as_array()) {
      CAPTURE(word.as_text());
      CHECK(topic_matches(key, word.as_text()));
    }
    for (const Value& word : entry.find("misses")->as_array()) {
      CAPTURE(word.as_text());
      CHECK_FALSE(topic_matches(key, word.as_text()));
    }
  }
}

TEST_CASE("times read as Celery reads them, and compressed bodies as kombu packs them") {
  const Value texts = load("texts.json");
  for (const Value& entry : texts.find("times")->as_array()) {
    CAPTURE(entry.find("text")->as_text());
    CHECK(read_time(entry.find("text")->as_text()) == TimePoint{Microseconds{entry.find("micros")->as_integer()}});
  }
  const Value& packed = *texts.find("compression");
  for (const auto& [name, bytes] : packed.as_object()) {
    const auto method = find_compression(name);
    if (!method) continue;
    CAPTURE(name);
    CHECK(decompress(*method, *core::base64_decode(bytes.as_text())) == packed.find("body")->as_text());
  }
}
