#include "wire/redis/reply.hpp"

#include "wire/redis/commands.hpp"
#include "wire/redis/errors.hpp"
#include "wire/redis/settle_call.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace errand;
using redis::Reply;
using redis::ReplyReader;

namespace {

// As one line, so that tables read well.
std::string show(const Reply& reply) {
  switch (reply.kind) {
    case Reply::Kind::nil:
      return "nil";
    case Reply::Kind::integer:
      return std::to_string(reply.integer);
    case Reply::Kind::status:
      return "+" + reply.text;
    case Reply::Kind::error:
      return "-" + reply.text;
    case Reply::Kind::text:
      return "'" + reply.text + "'";
    default:
      break;
  }
  std::string out = reply.kind == Reply::Kind::push ? ">[" : "[";
  for (const Reply& element : reply.elements) out += (out.back() == '[' ? "" : " ") + show(element);
  return out + "]";
}

std::string read_all(ReplyReader& reader) {
  std::string out;
  while (const auto reply = reader.next()) out += show(*reply) + "\n";
  return out;
}

const std::string kEverything =
    "+OK\r\n-ERR no\r\n:-12\r\n$5\r\nhe\r\no\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n*1\r\n:1\r\n$1\r\na\r\n"
    "_\r\n,1.5\r\n#t\r\n#f\r\n(123456789012345678901\r\n=7\r\ntxt:abc\r\n!5\r\nERR "
    "x\r\n%1\r\n+k\r\n:1\r\n~2\r\n:1\r\n:2\r\n"
    ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nq\r\n|1\r\n+ttl\r\n:9\r\n:7\r\n|0\r\n%0\r\n";

const std::string kShown =
    "+OK\n-ERR no\n-12\n'he\r\no'\n''\nnil\nnil\n[]\n[[1] 'a']\nnil\n'1.5'\n1\n0\n'123456789012345678901'\n'abc'\n-ERR "
    "x\n"
    "[+k 1]\n[1 2]\n>['invalidate' ['q']]\n7\n[]\n";

}  // namespace

TEST_CASE("every kind of answer of RESP2 and RESP3 is read") {
  ReplyReader reader;
  reader.feed(kEverything);
  CHECK(read_all(reader) == kShown);
}

TEST_CASE("F096_answers may be cut at every byte") {
  for (std::size_t cut = 0; cut <= kEverything.size(); ++cut) {
    ReplyReader reader;
    reader.feed(std::string_view(kEverything).substr(0, cut));
    std::string shown = read_all(reader);
    reader.feed(std::string_view(kEverything).substr(cut));
    shown += read_all(reader);
    CAPTURE(cut);
    CHECK(shown == kShown);
  }
  ReplyReader drip;
  std::string shown;
  for (const char c : kEverything) {
    drip.feed({&c, 1});
    shown += read_all(drip);
  }
  CHECK(shown == kShown);
}

TEST_CASE("F096_what is not Redis's protocol, or exceeds a limit, is refused before memory is spent on it") {
  ReplyReader::Limits small;
  small.text_bytes = 100;
  small.reply_bytes = 150;
  small.elements = 10;
  small.depth = 3;
  for (const std::string& bytes : std::vector<std::string>{
           "HTTP/1.1 400 Bad Request\r\n", "\x15\x03\x01\r\n", "\r\n", "$x\r\n", "$-2\r\n", "$101\r\n",
           "$99999999999999999999\r\n", "*11\r\n", "*-2\r\n", "*x\r\n", ":1.5\r\n", "#x\r\n", "$2\r\nabc\r\n", "+OK\n",
           "*1\r\n*1\r\n*1\r\n*1\r\n", "%6\r\n", std::string(70'000, '+'),
           "*2\r\n$90\r\n" + std::string(90, 'a') + "\r\n$90\r\n" + std::string(90, 'b') + "\r\n"}) {
    CAPTURE(bytes.substr(0, 40));
    ReplyReader reader(small);
    reader.feed(bytes);
    CHECK_THROWS_AS(read_all(reader), Error);
  }
}

TEST_CASE("a promise of a million elements reserves little until they come") {
  ReplyReader reader;
  reader.feed("*1000000\r\n:1\r\n");
  CHECK_FALSE(reader.next());
}

TEST_CASE("commands are counted and framed as the server reads them") {
  redis::Commands commands;
  CHECK(commands.empty());
  commands.add({"PING"});
  commands.begin("SET").word("k").word(12);
  const std::vector<std::string> keys{"a"};
  commands.eval({"return 1", "abc"}, keys).word("x");
  CHECK(commands.count() == 3);
  CHECK(commands.bytes() ==
        "*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n12\r\n"
        "*5\r\n$7\r\nEVALSHA\r\n$3\r\nabc\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\nx\r\n");
}

// The kinds decide what a machine tries again; the words are those of Redis 6.2 to 8 and Valkey 8.
TEST_CASE("F046_F052_F053_error answers have the kind that says what to do") {
  struct Row {
    const char* text;
    ErrorKind kind;
    const char* code;
  };
  for (const Row& row : std::vector<Row>{
           {"NOAUTH Authentication required.", ErrorKind::denied, "NOAUTH"},
           {"WRONGPASS invalid username-password pair or user is disabled.", ErrorKind::denied, "WRONGPASS"},
           {"ERR AUTH <password> called without any password configured for the default user.", ErrorKind::denied,
            "WRONGPASS"},
           {"NOPERM this user has no permissions to run the 'evalsha' command", ErrorKind::denied, "NOPERM"},
           {"ERR The user executing the script can't run this command or subcommand script: 12, on @user_script:3.",
            ErrorKind::denied, "NOPERM"},
           {"DENIED Redis is running in protected mode", ErrorKind::denied, "DENIED"},
           {"LOADING Redis is loading the dataset in memory", ErrorKind::unavailable, "LOADING"},
           {"READONLY You can't write against a read only replica.", ErrorKind::unavailable, "READONLY"},
           {"ERR Error running script (call to f_12): @user_script:5: @user_script: 5: -READONLY You can't write",
            ErrorKind::unavailable, "READONLY"},
           {"MASTERDOWN Link with MASTER is down", ErrorKind::unavailable, "MASTERDOWN"},
           {"OOM command not allowed when used memory > 'maxmemory'.", ErrorKind::overloaded, "OOM"},
           {"ERR Error running script (call to f_1): @user_script:5: @user_script: 5: -OOM command not allowed",
            ErrorKind::overloaded, "OOM"},
           {"MISCONF Errors writing to the AOF file: No space left on device", ErrorKind::overloaded, "MISCONF"},
           {"BUSY Redis is busy running a script.", ErrorKind::overloaded, "BUSY"},
           {"ERR max number of clients reached", ErrorKind::overloaded, "MAXCLIENTS"},
           {"WRONGTYPE Operation against a key holding the wrong kind of value", ErrorKind::conflict, "WRONGTYPE"},
           {"MOVED 3999 127.0.0.1:6381", ErrorKind::unsupported, "MOVED"},
           {"ERR unknown command 'FOO'", ErrorKind::invalid, "ERR"}}) {
    CAPTURE(row.text);
    const Error error = redis::error_of({.kind = Reply::Kind::error, .text = row.text}, "redis.test");
    CHECK(error.kind() == row.kind);
    CHECK(error.code() == row.code);
  }
  const Error named = redis::error_of(
      {.kind = Reply::Kind::error, .text = "NOPERM no permissions to run the 'client|tracking' command"}, "x");
  CHECK(named.detail().find("client|tracking") != std::string::npos);
}

// Blanks behind the JSON: Python's json skips them, and their order as text is the order of the numbers.
TEST_CASE("a fence keeps its token and its order") {
  CHECK(redis::fence_of(0).empty());
  std::string before;
  for (const std::uint64_t token : {std::uint64_t{1}, std::uint64_t{3}, std::uint64_t{4},
                                    std::uint64_t{1'795'326'346'598'707}, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    const std::string fence = redis::fence_of(token);
    CHECK(fence.size() == 32);
    CHECK(fence.find_first_not_of(" \t\r\n") == std::string::npos);
    CHECK(redis::token_of_fence("{\"status\": \"SUCCESS\"}" + fence) == token);
    CHECK(before < fence);
    before = fence;
  }
  CHECK(redis::token_of_fence("{}") == 0);
  CHECK(redis::token_of_fence("{\"result\": \"no blanks at the end, although long enough\"}") == 0);
}
