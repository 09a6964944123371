#pragma once
// Runs one program: bytes on its standard input, bounded bytes from its standard output, lines from its standard
// error as they come. No shell. The program leads a process group of its own, so that what it starts can be stopped,
// too.

#include <errand/time.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace errand::commands {

struct ProcessSpec {
  std::vector<std::string> command;                              ///< found in PATH when it has no slash
  std::vector<std::pair<std::string, std::string>> environment;  ///< added to this process's own
  std::string cwd;                                               ///< "": this process's own
  std::string input;
  std::size_t max_output = 16u << 20;
};

/// What to do to the program now. Asked about twenty times a second.
enum class Order { go_on, terminate, kill };

struct ProcessEnd {
  int exit_status = 0;            ///< of a program that exited
  int signal = 0;                 ///< not 0: it was ended by this signal
  std::int64_t peak_rss_kib = 0;  ///< of the program, or the largest of those it has waited for
  bool terminated = false;        ///< it was asked to stop with SIGTERM, or killed
  bool output_too_large = false;  ///< it wrote more than max_output and was killed
  std::string output;
  std::string last_lines;  ///< the last lines of standard error, at most kMostErrorText bytes
};

inline constexpr std::size_t kMostErrorText = 4'096;
inline constexpr std::size_t kMostLine = 8'192;  ///< a longer line of standard error is handed out in parts

/// Throws Error{not_found | denied | overloaded} when the program cannot be started. `line` gets each line of standard
/// error. The program dies with the thread that calls this.
ProcessEnd run_process(const ProcessSpec& spec, const std::function<void(std::string_view line)>& line,
                       const std::function<Order()>& order);

/// Why the program could not be run from here; "" when it looks fine. For checks before a worker starts.
std::string cannot_run(const std::vector<std::string>& command, const std::string& cwd);

}  // namespace errand::commands
