#pragma once
// What the supervisor and its children say to each other: length-prefixed binary frames on a stream socket. Both ends
// are one program, so there is no version; a frame that cannot be read is a bug and ends the child.

#include <errand/pool.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace errand::pools::ipc {

enum class Type : std::uint8_t { run = 1, cancel, reclaim, stop, started, finished, progress, log, reclaimed };

/// Largest frame: a message at the broker's own limit, and what goes with it.
inline constexpr std::size_t kMaxFrame = 80u << 20;

/// Appends whole frames to one buffer, to be written in one call.
void append_run(std::string& out, const Execution& execution);
void append_cancel(std::string& out, std::uint64_t run, Cancel how, std::string_view reason);
void append_reclaim(std::string& out);
void append_stop(std::string& out);
void append_started(std::string& out, std::uint64_t run);
void append_finished(std::string& out, const Outcome& outcome);
void append_progress(std::string& out, const Progress& progress);
void append_log(std::string& out, std::uint64_t run, std::string_view line);
void append_reclaimed(std::string& out, const std::vector<std::uint64_t>& runs);

struct Frame {
  Type type{};
  std::string_view payload;  ///< inside the buffer it was taken from
};
/// Takes the next whole frame off `buffer` from `at` on and moves `at` behind it; nullopt: not all of it is there.
std::optional<Frame> next_frame(std::string_view buffer, std::size_t& at);

Execution read_run(std::string_view payload);
struct CancelFrame {
  std::uint64_t run = 0;
  Cancel how{};
  std::string reason;
};
CancelFrame read_cancel(std::string_view payload);
std::uint64_t read_started(std::string_view payload);
Outcome read_finished(std::string_view payload);
Progress read_progress(std::string_view payload);
std::pair<std::uint64_t, std::string> read_log(std::string_view payload);
std::vector<std::uint64_t> read_reclaimed(std::string_view payload);

}  // namespace errand::pools::ipc
