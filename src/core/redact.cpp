// What must not appear in a log, an error or on a screen: values whose name says that they are secret, and what stands
// between :// and @ in a URL. One pass over the text; every line of every log goes through it.
#include "core/ascii.hpp"
#include "core/log.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace errand::log {

namespace {

constexpr std::string_view kMask = "********";
constexpr std::array<std::string_view, 14> kSecretWords{
    "password", "passwd", "passphrase", "pwd",         "token",  "secret",     "authorization",
    "api_key",  "apikey", "api-key",    "private_key", "cookie", "credential", "access_key"};
// Their values are several words: "Authorization: Bearer abc", "Cookie: a=1; b=2".
constexpr std::array<std::string_view, 2> kWholeLineWords{"authorization", "cookie"};

template <std::size_t N>
bool contains_one_of(std::string_view key, const std::array<std::string_view, N>& words) {
  std::array<char, 128> word{};
  // The end of a long key is what names it.
  if (key.size() > word.size()) key.remove_prefix(key.size() - word.size());
  std::transform(key.begin(), key.end(), word.begin(), core::ascii_lower);
  const std::string_view lowered(word.data(), key.size());
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view one) { return lowered.find(one) != std::string_view::npos; });
}

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.'; }
bool blank(char c) { return c == ' ' || c == '\t'; }
bool quote(char c) { return c == '"' || c == '\''; }

/// The word that ends before `end`, over blanks and one quote (also an escaped one): the key of key=value, "key":
/// value.
std::string_view key_before(std::string_view text, std::size_t end) {
  while (end > 0 && blank(text[end - 1])) --end;
  if (end > 0 && quote(text[end - 1])) --end;
  if (end > 0 && text[end - 1] == '\\') --end;
  std::size_t begin = end;
  while (begin > 0 && in_word(text[begin - 1])) --begin;
  return text.substr(begin, end - begin);
}

/// Where the value that begins at `begin` ends.
std::size_t value_end(std::string_view text, std::size_t begin, std::string_view key) {
  const char closing = begin > 0 && quote(text[begin - 1]) ? text[begin - 1] : '\0';
  if (closing != '\0') {
    // An escaped quote opens and closes where JSON stands inside JSON; otherwise it is part of the value.
    const bool nested = begin > 1 && text[begin - 2] == '\\';
    for (std::size_t i = begin; i < text.size(); ++i) {
      if (text[i] == '\\' && !nested) {
        ++i;
      } else if (text[i] == closing) {
        return nested && i > begin && text[i - 1] == '\\' ? i - 1 : i;
      }
    }
    return text.size();
  }
  const std::string_view stops = contains_one_of(key, kWholeLineWords) ? "\"'\r\n" : "\"', \t\r\n&;})]";
  return std::min(text.find_first_of(stops, begin), text.size());
}

/// The part of the URL at `begin` (just after ://) that must go, as [from, to); empty: none.
std::pair<std::size_t, std::size_t> user_information(std::string_view text, std::size_t begin) {
  const std::size_t word_end = std::min(text.find_first_of(" \t\r\n\"'<>", begin), text.size());
  std::size_t end = std::min(text.find_first_of("/?#", begin), word_end);
  std::size_t sign = text.substr(0, end).rfind('@');
  if (sign == std::string_view::npos || sign < begin) {
    // No user here, unless a password holds a slash that should have been quoted: user:pa/ss@host. What follows the
    // colon of a host is a port.
    const std::size_t colon = text.find(':', begin);
    if (colon == std::string_view::npos || colon >= end) return {};
    const std::string_view port = text.substr(colon + 1, end - colon - 1);
    if (std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; }) && !port.empty()) return {};
    end = word_end;
    sign = text.substr(0, end).rfind('@');
    if (sign == std::string_view::npos || sign < begin) return {};
  }
  const std::size_t colon = text.find(':', begin);
  // A user without a password is a name in most URLs and a token in some; it goes.
  return colon < sign ? std::pair{colon + 1, sign} : std::pair{begin, sign};
}

}  // namespace

bool names_secret(std::string_view key) noexcept { return contains_one_of(key, kSecretWords); }

std::string redact(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::size_t copied = 0;
  const auto mask = [&](std::size_t from, std::size_t to) {
    out += text.substr(copied, from - copied);
    out += kMask;
    copied = to;
  };
  for (std::size_t at = text.find_first_of("=:"); at != std::string_view::npos; at = text.find_first_of("=:", at + 1)) {
    if (at < copied) continue;
    if (text.substr(at, 3) == "://") {
      const auto [from, to] = user_information(text, at + 3);
      if (to > from) mask(from, to);
      continue;
    }
    const std::string_view key = key_before(text, at);
    if (key.empty() || !names_secret(key)) continue;
    std::size_t begin = at + 1;
    while (begin < text.size() && blank(text[begin])) ++begin;
    if (begin + 1 < text.size() && text[begin] == '\\' && quote(text[begin + 1])) ++begin;
    if (begin < text.size() && quote(text[begin])) ++begin;
    const std::size_t end = value_end(text, begin, key);
    if (end > begin) mask(begin, end);
  }
  out += text.substr(copied);
  return out;
}

}  // namespace errand::log
