// A broker whose messages are signed keeps every promise that one without signatures keeps.
#include "conformance/run_table.hpp"
#include "support/redis_server.hpp"
#include "unit/signing/keys.hpp"

#include <errand/drivers.hpp>

#include <doctest/doctest.h>

using namespace errand;

namespace {

void expect_everything(const std::string& url) {
  const testing::Keys keys;
  keys.make("k");
  TransportOptions options{.max_dead_letters = 8};
  options.signing.key_id = "k";
  options.signing.key_file = keys.pem("k");
  options.signing.trusted = {{"k", keys.pub("k")}};
  options.signing.policy = SignaturePolicy::require;
  testing::expect_all(conformance::check_broker({.open = [&] { return open_broker(url, options); },
                                                 .open_results = [&] { return open_result_backend(url, options); }}));
}

}  // namespace

TEST_CASE("memory with signatures: the broker keeps its promises") { expect_everything("memory://signed"); }

TEST_CASE("sqlite with signatures: the broker keeps its promises") {
  const testing::Folder folder;
  expect_everything("sqlite:///" + folder.file());
}

TEST_CASE("redis with signatures: the broker keeps its promises") {
  testing::RedisServer server;
  if (server.runs()) expect_everything(server.url());
}
