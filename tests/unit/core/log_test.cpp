#include "core/log.hpp"

#include <doctest/doctest.h>

#include <unistd.h>
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

using namespace errand;

namespace {
std::string json(std::string_view message, const log::Fields& fields = {}) {
  log::Settings settings;
  settings.json = true;
  settings.process = "w1@host";
  settings.source = "queue";
  return log::format(settings, log::Level::info, "task.succeeded", message, fields);
}
std::string after_time(const std::string& line) { return line.substr(line.find(", \"severity\"")); }
}  // namespace

TEST_CASE("AT-37: a JSON line has timestamp, severity, source, message, process and every field") {
  const std::string line = json(
      "done",
      {{"task_id", "t1"}, {"task_name", "a.b"}, {"queue", "q"}, {"retry_number", 2}, {"duration", 0.25}, {"ok", true}});
  CHECK(line.rfind("{\"timestamp\": \"20", 0) == 0);
  CHECK(after_time(line) ==
        ", \"severity\": \"INFO\", \"source\": \"queue\", \"event\": \"task.succeeded\", \"message\": \"done\", "
        "\"pid\": " +
            std::to_string(getpid()) +
            ", \"process\": \"w1@host\", \"task_id\": \"t1\", \"task_name\": \"a.b\", \"queue\": \"q\", "
            "\"retry_number\": 2, \"duration\": 0.250000, \"ok\": true}");
}

// F157, S37: whatever a message or a task name holds, one event is one line and no terminal obeys it.
TEST_CASE("F157: control characters, line separators and invalid bytes cannot break a line") {
  const std::string evil =
      "a\nb\rc\x1b[31m\xe2\x80\xa8"
      "d\xff\xc2\x9b"
      "e\"\\";
  for (const bool as_json : {false, true}) {
    log::Settings settings;
    settings.json = as_json;
    const std::string line = log::format(settings, log::Level::error, "task.failed", evil, {{"task_name", evil}});
    CAPTURE(line);
    for (const char c : {'\n', '\r', '\x1b'}) CHECK(line.find(c) == std::string::npos);
    CHECK(line.find("\xe2\x80\xa8") == std::string::npos);
    CHECK(line.find("\xc2\x9b") == std::string::npos);
  }
  CHECK(json("\xff").find("\"\\\\xff\"") != std::string::npos);
  CHECK(json("gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x88").find("gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x88") != std::string::npos);
  CHECK(json("", {{"x", std::nan("")}}).find("\"x\": null") != std::string::npos);
}

TEST_CASE("F157: a megabyte becomes a line of bounded length that says how much was cut") {
  const std::string line = json(std::string(1 << 20, 'x'), {{"detail", std::string(1 << 20, 'y')}});
  CHECK(line.size() < 3 * log::kMostText);
  CHECK(line.find("(1048576 bytes)") != std::string::npos);
}

TEST_CASE("F157: secrets are masked by key and by URL, whatever the notation") {
  const std::vector<std::pair<std::string, std::string>> table{
      {"nothing to hide: 1 = 1", "nothing to hide: 1 = 1"},
      {"redis://:CANARY@host/0", "redis://:********@host/0"},
      {"redis://user:CANARY@host:6379/0 refused", "redis://user:********@host:6379/0 refused"},
      {"amqps://u:CAN@ARY@host/v", "amqps://u:********@host/v"},
      {"redis://u:CAN/ARY@host/0", "redis://u:********@host/0"},
      {"https://CANARY@git.example/repo", "https://********@git.example/repo"},
      {"https://host:8080/mail?to=a@b.example", "https://host:8080/mail?to=a@b.example"},
      {"http://[::1]:80/x", "http://[::1]:80/x"},
      {"a redis://u:CANARY@h1;redis://u:CANARY@h2", "a redis://u:********@h1;redis://u:********@h2"},
      {"password=CANARY", "password=********"},
      {"DB_PASSWORD = CANARY, next=1", "DB_PASSWORD = ********, next=1"},
      {"{\"api_key\": \"CAN ARY\\\"X\", \"n\": 1}", "{\"api_key\": \"********\", \"n\": 1}"},
      {"{'secret': 'CANARY'}", "{'secret': '********'}"},
      {"body {\\\"token\\\": \\\"CANARY\\\", \\\"n\\\": 1}", "body {\\\"token\\\": \\\"********\\\", \\\"n\\\": 1}"},
      {"Authorization: Bearer CANARY CANARY", "Authorization: ********"},
      {"GET /?access_token=CANARY&page=2", "GET /?access_token=********&page=2"},
      {"Cookie: a=CANARY; b=CANARY", "Cookie: ********"},
      {"password: ", "password: "},
      {"token=", "token="},
  };
  for (const auto& [given, masked] : table) {
    CAPTURE(given);
    CHECK(log::redact(given) == masked);
    const std::string line = json(given, {{"detail", given}, {"password", "CANARY"}, {"authorization", 7}});
    CHECK(line.find("CANARY") == std::string::npos);
  }
}

TEST_CASE("a terminal line reads as a sentence and says nothing twice") {
  log::Settings settings;
  const std::string line =
      log::format(settings, log::Level::info, "task.succeeded", "task a.b[t1] (queue: q) succeeded in 0.2500s",
                  {{"task_id", "t1"},
                   {"task_name", "a.b"},
                   {"queue", "q"},
                   {"retry_number", 1},
                   {"duration", 0.25},
                   {"deliveries", 0}});
  CHECK(line.substr(line.find("INFO")) == "INFO    task a.b[t1] (queue: q) succeeded in 0.2500s retry_number=1");
  settings.color = true;
  const std::string colored = log::format(settings, log::Level::error, "x", "broken");
  CHECK(colored.find("\x1b[31mERROR   broken\x1b[0m") != std::string::npos);
}

TEST_CASE("levels have Celery's names in any case") {
  log::Level level = log::Level::off;
  for (const char* name : {"DEBUG", "info", "Warning", "ERROR", "critical", "FATAL"})
    CHECK(log::parse_level(name, level));
  CHECK_FALSE(log::parse_level("loud", level));
}

// I16: at most one line in ten seconds when something repeats.
TEST_CASE("F144 F157: the same line is written once in ten seconds") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  log::Settings settings;
  settings.file = ends[1];
  log::configure(settings);
  for (int i = 0; i < 1'000; ++i) log::limited(log::Level::warning, "broker", "connection refused");
  log::limited(log::Level::warning, "broker", "another one");
  log::set_level(log::Level::error);
  log::warning("broker", "not at this level");
  log::configure({});
  close(ends[1]);
  std::string all(1 << 16, '\0');
  all.resize(static_cast<std::size_t>(read(ends[0], all.data(), all.size())));
  close(ends[0]);
  CHECK(std::count(all.begin(), all.end(), '\n') == 2);
}
