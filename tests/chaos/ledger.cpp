#include "chaos/ledger.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <system_error>

namespace errand::chaos {

std::int64_t wall_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void Ledger::line(std::string& out, std::string_view id, std::uint32_t attempt, Step step) const {
  out += id;
  out += ' ' + std::to_string(attempt) + ' ';
  out += static_cast<char>(step);
  out += ' ' + std::to_string(wall_us()) + ' ' + std::to_string(getpid()) + ' ' + who_ + '\n';
}

void Ledger::append(const std::string& text) {
  if (file_ < 0 || pid_ != getpid()) {
    file_ = open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    pid_ = getpid();
    if (file_ < 0) throw std::system_error(errno, std::generic_category(), path_);
  }
  // A ledger that cannot be written proves nothing: whoever writes must fail, not go on.
  if (::write(file_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw std::system_error(errno, std::generic_category(), path_);
  }
}

void Ledger::write(std::string_view id, std::uint32_t attempt, Step step) {
  std::string text;
  line(text, id, attempt, step);
  append(text);
}

void Ledger::write(const std::vector<std::string>& ids, Step step) {
  std::string text;
  for (const std::string& id : ids) line(text, id, 0, step);
  append(text);
}

namespace {

std::string_view word(std::string_view& rest) {
  const std::size_t end = std::min(rest.find(' '), rest.size());
  const std::string_view out = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return out;
}

template <class T>
T number(std::string_view text) {
  T value{};
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc{})
    throw std::runtime_error("the ledger holds no number where one is due: " + std::string(text));
  return value;
}

}  // namespace

void read_ledger(const std::string& path, const std::function<void(const Line&)>& use) {
  std::ifstream file(path);
  std::string text;
  while (std::getline(file, text)) {
    if (file.eof()) break;  // its end is not there: the writer was killed
    std::string_view rest = text;
    Line line;
    line.id = word(rest);
    line.attempt = number<std::uint32_t>(word(rest));
    line.step = static_cast<Step>(word(rest).at(0));
    line.at_us = number<std::int64_t>(word(rest));
    line.pid = number<int>(word(rest));
    line.who = word(rest);
    use(line);
  }
}

}  // namespace errand::chaos
