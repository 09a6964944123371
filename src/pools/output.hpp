#pragma once
// What the tasks of one child write to standard output and error, cut into lines. The pipe is always drained, so that
// no task waits for its reader; of each task a limited number of bytes is kept, and the rest is counted (F036).

#include <algorithm>
#include <string>
#include <string_view>

namespace errand::pools {

class TaskOutput {
 public:
  static constexpr std::size_t kKept = 64u << 10;  ///< bytes of one task: output and log together
  static constexpr std::size_t kMostLine = 8u << 10;

  /// A new task: counting starts again.
  void begin_task() noexcept { kept_ = dropped_ = 0; }
  /// Is there room for that line? Counts it either way.
  bool keep(std::size_t bytes) noexcept {
    if (kept_ + bytes > kKept) {
      dropped_ += bytes;
      kept_ = kKept;  // nothing smaller slips in later: the log shows a beginning, not a selection
      return false;
    }
    kept_ += bytes;
    return true;
  }
  /// Calls `line` for each line that is whole and kept.
  template <class F>
  void take(std::string_view bytes, F&& line) {
    while (!bytes.empty()) {
      const std::size_t end = std::min(bytes.find('\n'), bytes.size());
      const std::size_t room = std::min(end, kMostLine - part_.size());
      part_.append(bytes.substr(0, room));
      dropped_ += end - room;
      if (end == bytes.size()) return;
      finish_line(line);
      bytes.remove_prefix(end + 1);
    }
  }
  /// The same for a last line without an end.
  template <class F>
  void finish_line(F&& line) {
    if (!part_.empty() && keep(part_.size() + 1)) line(std::string_view(part_));
    part_.clear();
  }
  std::size_t dropped() const noexcept { return dropped_; }

 private:
  std::string part_;
  std::size_t kept_ = 0, dropped_ = 0;
};

}  // namespace errand::pools
