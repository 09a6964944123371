// The Redis driver keeps every promise of the tables over every kind of connection.
#include "conformance/run_table.hpp"
#include "support/redis_server.hpp"

#include <errand/drivers.hpp>

#include <doctest/doctest.h>

using namespace errand;

namespace {

void expect_everything(const std::string& url, TransportOptions options = {}) {
  options.max_dead_letters = 8;
  testing::expect_all(conformance::check_broker({.open = [&] { return open_broker(url, options); },
                                                 .open_results = [&] { return open_result_backend(url, options); }}));
  testing::expect_all(conformance::check_backend({.open = [&] { return open_result_backend(url, options); }}));
}

}  // namespace

TEST_CASE("redis over TCP keeps every promise") {
  testing::RedisServer server;
  if (server.runs()) expect_everything(server.url());
}

TEST_CASE("redis over a Unix socket, with a password and a key prefix, keeps every promise") {
  testing::RedisServer server({"--requirepass", "p@ss/word"});
  if (!server.runs()) return;
  expect_everything("redis+socket://:p%40ss%2Fword@" + server.socket_path() + "?virtual_host=3",
                    {.key_prefix = "site"});
}

TEST_CASE("redis over TLS, as an ACL user who may do nothing else, keeps every promise") {
  testing::RedisServer server({"--user",
                               "worker",
                               "on",
                               ">secret",
                               "~*",
                               "&*",
                               "-@all",
                               "+@read",
                               "+@write",
                               "+@pubsub",
                               "+@scripting",
                               "+@transaction",
                               "+auth",
                               "+hello",
                               "+ping",
                               "+select",
                               "+client|setname",
                               "+client|tracking",
                               "+client|caching",
                               "+time",
                               "-@dangerous"},
                              true);
  if (!server.runs()) return;
  std::string url = server.tls_url();
  url.insert(std::string("rediss://").size(), "worker:secret@");
  expect_everything(url);
}

// An ACL or a proxy that refuses client tracking costs latency, not correctness.
TEST_CASE("redis without client tracking keeps every promise") {
  testing::RedisServer server({"--user", "worker", "on", ">secret", "~*", "&*", "+@all", "-client|tracking"});
  if (!server.runs()) return;
  expect_everything("redis://worker:secret@127.0.0.1:" + std::to_string(server.port()) + "/1");
}
