#pragma once
// The chaos tests' own book of what happened: one line for every step of every task and of every send, appended by
// whoever did it. The judge reads these and the stores, never a counter of the product.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace errand::chaos {

/// What a line says.
enum class Step : char {
  begin = 'b',      ///< a task's body begins
  done = 'e',       ///< it ended well
  thrown = 'x',     ///< it ended by throwing
  attempted = 's',  ///< a sender is about to send it
  acknowledged = 'a',
  in_doubt = 'i',  ///< it may or may not have been sent
  refused = 'r',   ///< surely not sent
};

struct Line {
  std::string_view id;
  std::uint32_t attempt = 0;  ///< retries of the attempt
  Step step = Step::begin;
  std::int64_t at_us = 0;  ///< machine's wall clock
  int pid = 0;
  std::string_view who;  ///< worker or sender
};

/// Appends to one file from many processes: one write(2) a line, with O_APPEND. Opens it in each process anew.
class Ledger {
 public:
  Ledger(std::string path, std::string who) : path_(std::move(path)), who_(std::move(who)) {}
  void write(std::string_view id, std::uint32_t attempt, Step step);
  /// Lines of several tasks, together.
  void write(const std::vector<std::string>& ids, Step step);

 private:
  void line(std::string& out, std::string_view id, std::uint32_t attempt, Step step) const;
  void append(const std::string& text);
  std::string path_, who_;
  int file_ = -1;
  int pid_ = 0;
};

std::int64_t wall_us();
/// Calls `use` for every whole line. A file that is not there has none.
void read_ledger(const std::string& path, const std::function<void(const Line&)>& use);

}  // namespace errand::chaos
