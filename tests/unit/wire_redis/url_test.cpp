#include "wire/redis/url.hpp"

#include <errand/error.hpp>

#include <doctest/doctest.h>

using namespace errand;

TEST_CASE("Redis URLs are read as Celery writes them") {
  const auto plain = redis::parse_url("redis://");
  CHECK(plain.address.text() == "localhost:6379");
  CHECK(plain.database == 0);
  const auto full = redis::parse_url("redis://ann:p%40ss@example.org:6380/5");
  CHECK(full.user == "ann");
  CHECK(full.password == "p@ss");
  CHECK(full.address.text() == "example.org:6380");
  CHECK(full.database == 5);
  CHECK(redis::parse_url("redis://:secret@h").password == "secret");
  CHECK(redis::parse_url("redis://[::1]:7000/1").address.host == "::1");
  const auto socket = redis::parse_url("redis+socket:///run/redis/redis.sock?virtual_host=3");
  CHECK(socket.address.unix_path == "/run/redis/redis.sock");
  CHECK(socket.database == 3);
}

TEST_CASE("AT-39: both spellings of certificate checks are understood") {
  CHECK(redis::parse_url("rediss://h?ssl_cert_reqs=required").address.tls.verify);
  CHECK(redis::parse_url("rediss://h?ssl_cert_reqs=CERT_REQUIRED").address.tls.verify);
  CHECK_FALSE(redis::parse_url("rediss://h?ssl_cert_reqs=none").address.tls.verify);
  CHECK(redis::parse_url("rediss://h/2?ssl_ca_certs=/ca.pem").address.tls.ca_file == "/ca.pem");
  CHECK(redis::parse_url("rediss://h/2?ssl_ca_certs=/ca.pem").database == 2);
}

TEST_CASE("a wrong Redis URL is refused without showing its password") {
  for (const char* url :
       {"redis://:hush@h/five", "redis://:hush@h:99999/", "redis://:hush@h:0/", "redis://:hush@[::1/0",
        "rediss://:hush@h?ssl_cert_reqs=maybe", "redis://:hush@a;redis://:hush@b", "redis+socket://relative"}) {
    CAPTURE(url);
    try {
      redis::parse_url(url);
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find("hush") == std::string::npos);
    }
  }
}
