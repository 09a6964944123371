#include "core/text.hpp"
#include "core/utf8.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

using namespace errand;
using namespace std::chrono_literals;

TEST_CASE("durations are read as people write them") {
  struct Row {
    std::string_view text;
    Milliseconds is;
  };
  for (const Row& row : {Row{"250ms", 250ms}, Row{"10s", 10s}, Row{"10sec", 10s}, Row{"5min", 5min}, Row{"5m", 5min},
                         Row{"2h", 2h}, Row{"1d", 24h}, Row{"1w", 168h}, Row{"1h30m", 90min}, Row{"1h30min15s", 5415s},
                         Row{"1.5h", 90min}, Row{"0.25s", 250ms}, Row{"90", 90s}, Row{"1.5", 1500ms}, Row{"0", 0s},
                         Row{"0s", 0s}, Row{"-5s", -5s}, Row{"-1h30m", -90min}}) {
    CAPTURE(row.text);
    CHECK(core::parse_duration(row.text) == row.is);
  }
}

TEST_CASE("what is no duration is refused") {
  for (const char* text :
       {"",    "-",   "s",   "10x",  "10 s", " 10s", "10s ",           "1h30",  "1h-30m", "--5s", "+5s",
        "ten", "inf", "nan", "infs", "1e9s", "0x10", "9999999999999d", "1e400", "10S",    "5mins"}) {
    CAPTURE(text);
    CHECK_FALSE(core::parse_duration(text));
  }
}

TEST_CASE("a duration is written in the largest unit that is exact, and reads back") {
  struct Row {
    Milliseconds duration;
    std::string_view text;
  };
  for (const Row& row : {Row{0s, "0s"}, Row{90s, "90s"}, Row{600s, "10min"}, Row{2h, "2h"}, Row{48h, "2d"},
                         Row{1500ms, "1500ms"}, Row{-5s, "-5s"}, Row{86'401s, "86401s"}}) {
    CHECK(core::format_duration(row.duration) == row.text);
    CHECK(core::parse_duration(row.text) == row.duration);
  }
}

TEST_CASE("sizes count in powers of 1024 and never overflow") {
  CHECK(core::parse_size("512") == 512u);
  CHECK(core::parse_size("512B") == 512u);
  CHECK(core::parse_size("64KiB") == 65'536u);
  CHECK(core::parse_size("64K") == 65'536u);
  CHECK(core::parse_size("16MiB") == 16u << 20);
  CHECK(core::parse_size("4GiB") == std::uint64_t{4} << 30);
  CHECK(core::parse_size("0") == 0u);
  for (const char* text :
       {"", "B", "MiB", "-1", "+1", "1.5MiB", "1 MiB", "1MB", "1TiB", "1MiBB", "99999999999999999999", "0x10"}) {
    CAPTURE(text);
    CHECK_FALSE(core::parse_size(text));
  }
}

TEST_CASE("a number is digits only, up to its limit") {
  CHECK(core::parse_number("65535", 65'535) == 65'535u);
  CHECK_FALSE(core::parse_number("65536", 65'535));
  for (const char* text : {"", "-1", "+1", " 1", "1 ", "1.0", "1e3", "18446744073709551616"}) {
    CAPTURE(text);
    CHECK_FALSE(core::parse_number(text, ~std::uint64_t{0}));
  }
}

TEST_CASE("a misspelt word finds the one that was meant, and a strange one finds none") {
  const std::vector<std::string_view> known{"prefetch_multiplier", "pool", "queues", "concurrency", "broker_url"};
  CHECK(core::nearest_word("conccurency", known) == "concurrency");
  CHECK(core::nearest_word("qeues", known) == "queues");
  CHECK(core::nearest_word("poll", known) == "pool");
  CHECK(core::nearest_word("opol", known) == "pool");
  CHECK(core::nearest_word("brokerurl", known) == "broker_url");
  CHECK(core::nearest_word("colour", known).empty());
  CHECK(core::nearest_word("x", {}).empty());
  CHECK(core::nearest_word(std::string(10'000, 'q'), known).empty());
}

// Names, arguments and errors come from strangers and end in logs and on terminals.
TEST_CASE("text for a log stays on its line, obeys no terminal and is UTF-8") {
  struct Row {
    std::string_view in, out;
  };
  const Row rows[] = {
      {"plain ~ text", "plain ~ text"},
      {"žluťoučký ☃ 𝄞", "žluťoučký ☃ 𝄞"},
      {"a\nb\rc\td", "a\\nb\\rc\\td"},
      {"\x1b[2J\x07", "\\x1b[2J\\x07"},
      {std::string_view("nul\0nul", 7), "nul\\x00nul"},
      {"\x7f", "\\x7f"},
      {"\xc2\x9b"
       "31m",
       "\\x9b31m"},  // C1: CSI in one character
      {"\x9b"
       "31m",
       "\\x9b31m"},  // the same as a bare byte
      {"\xc2\xa0", "\xc2\xa0"},
      {"\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029"},
      {"user\xe2\x80\xaegnp.exe", "user\\u202egnp.exe"},
      {"\xe2\x81\xa6x\xe2\x81\xa9", "\\u2066x\\u2069"},
      {"\xff\xfe", "\\xff\\xfe"},
      {"\xc3", "\\xc3"},
      {"\xe2\x82", "\\xe2\\x82"},
      {"\xc0\x80", "\\xc0\\x80"},
      {"\xed\xa0\x80", "\\ud800"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.out);
    CHECK(core::escape_controls(row.in) == row.out);
    CHECK(utf8::is_valid(core::escape_controls(row.in)));
  }
}

TEST_CASE("a text is cut at a character's border and never exceeds the limit") {
  CHECK(core::shorten("abcdef", 6) == "abcdef");
  CHECK(core::shorten("abcdefg", 6) == "abc...");
  const std::string text = "aé€𝄞zzzz";  // characters of 1, 2, 3 and 4 bytes
  for (std::size_t limit = 0; limit <= text.size(); ++limit) {
    const std::string cut = core::shorten(text, limit);
    CAPTURE(limit);
    CHECK(cut.size() <= limit);
    CHECK(utf8::is_valid(cut));
  }
}

TEST_CASE("UTF-8 is that of RFC 3629; only decode passes lone surrogates") {
  for (const std::string_view valid :
       {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
        "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "plain text é and more"}) {
    CHECK(utf8::is_valid(valid));
  }
  for (const std::string_view wrong :
       {"\x80", "\xbf", "\xc0\xaf", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xe2\x82",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "plain text \xe9"}) {
    CHECK_FALSE(utf8::is_valid(wrong));
  }
  for (std::uint32_t code = 0; code <= 0x10ffff; ++code) {
    std::string text;
    utf8::append(text, code);
    const utf8::Decoded back = utf8::decode(text);
    if (back.code != code || back.length != text.size()) FAIL(code);
    if (utf8::is_valid(text) != (code < 0xd800 || code >= 0xe000)) FAIL(code);
  }
}
