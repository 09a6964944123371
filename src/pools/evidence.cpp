#include "pools/evidence.hpp"

#include "core/log.hpp"
#include "core/text.hpp"
#include "pools/symbols.hpp"

#include <sys/wait.h>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace errand::pools {

namespace {

constexpr std::size_t kMostShown = 24;   // frames, after repeated ones are counted
constexpr std::size_t kMostShort = 480;  // bytes of the short form
constexpr std::size_t kShortFrames = 3;
constexpr std::string_view kOwnHandlers = "errand::pools::crash::";

std::string signal_text(int signal) {
  const char* name = sigabbrev_np(signal);
  return name == nullptr ? "signal " + std::to_string(signal) : std::string("SIG") + name;
}

std::string_view cause_text(int signal, int code) {
  if (signal == SIGSEGV) {
    if (code == SEGV_MAPERR) return "no memory at the address";
    if (code == SEGV_ACCERR) return "memory at the address may not be used so";
  }
  if (signal == SIGBUS) {
    if (code == BUS_ADRALN) return "address not aligned";
    if (code == BUS_ADRERR) return "file shorter than its mapping, or no memory left for it";
  }
  if (signal == SIGFPE) {
    if (code == FPE_INTDIV) return "integer divided by zero";
    if (code == FPE_INTOVF) return "integer too large";
  }
  if (signal == SIGILL && (code == ILL_ILLOPC || code == ILL_ILLOPN)) return "illegal instruction";
  return "";
}

// Text out of the shared page, which anything may have written to.
template <std::size_t N>
std::string page_text(const std::array<char, N>& text) {
  return log::redact(core::escape_controls(std::string_view(text.data(), strnlen(text.data(), N))));
}

std::string memory_text(std::int64_t kib) {
  return kib >= 1'024 ? std::to_string(kib / 1'024) + " MiB" : std::to_string(kib) + " KiB";
}

// From the place of the crash outwards, without the handler's own frames and without what the worker itself adds.
std::vector<std::string> frames_of(const CrashNote& note) {
  const std::size_t count = std::min<std::size_t>(note.frames, kMostFrames);
  std::vector<std::uint64_t> addresses(note.frame.begin(), note.frame.begin() + static_cast<std::ptrdiff_t>(count));
  const auto begin = std::find(addresses.begin(), addresses.end(), note.at.load());
  if (begin != addresses.end()) addresses.erase(addresses.begin(), begin);
  std::vector<std::string> out;
  std::string before;
  std::size_t times = 0;
  const auto repeated = [&] {
    if (times > 1 && !out.empty()) out.back() += " (" + std::to_string(times) + " times)";
  };
  for (const Symbol& symbol : symbols_of(addresses)) {
    const std::string_view name = symbol.function;
    if (name.starts_with(kOwnHandlers) || name.starts_with("std::_Function_handler<")) continue;
    if (name.starts_with("errand::pools::")) {
      if (out.empty()) continue;
      break;
    }
    if (!symbol.function.empty() && symbol.function == before) {
      times += 1;
      continue;
    }
    repeated();
    if (out.size() >= kMostShown) break;
    out.push_back(core::escape_controls(to_text(symbol)));
    before = symbol.function;
    times = 1;
  }
  repeated();
  return out;
}

std::string how_text(const ProcessEnd& end, const CrashNote& note, int signal) {
  if (note.left.load() && WIFEXITED(end.status)) {
    return "called exit with status " + std::to_string(WEXITSTATUS(end.status));
  }
  if (signal == 0) return "exited with status " + std::to_string(WEXITSTATUS(end.status));
  std::string out = signal_text(signal);
  if (note.stack.load()) return out + ", out of stack";
  if (signal == SIGKILL && end.out_of_memory) return out + ", killed by the kernel because memory ran out";
  if (signal == SIGKILL && end.killed_here) return out + ", killed by the worker";
  const std::string_view cause = note.signal.load() == signal ? cause_text(signal, note.code) : "";
  if (!cause.empty()) out += ", " + std::string(cause);
  return out;
}

}  // namespace

void LastLines::add(std::string_view line) {
  if (line.empty()) return;
  if (lines_.size() >= kMost) lines_.pop_front();
  lines_.push_back(log::redact(core::escape_controls(core::shorten(line, kMostBytes))));
}

void add_evidence(Outcome& outcome, const ProcessEnd& end, const ChildPage& page, const Execution& execution,
                  const LastLines& lines) {
  const CrashNote& note = page.crash;
  int signal = WIFSIGNALED(end.status) ? WTERMSIG(end.status) : 0;
  // A handler that hung was ended by its alarm; what brought it about is in the note.
  if (signal == SIGALRM && note.signal.load() > 0 && note.signal.load() < NSIG) signal = note.signal;
  outcome.exit_signal = signal;
  outcome.exit_status = WIFEXITED(end.status) ? WEXITSTATUS(end.status) : 0;
  outcome.peak_rss_kib = end.peak_rss_kib;

  Limit limit = page.over.limit.load();
  if (signal == SIGXFSZ && execution.limits.file_size) limit = Limit::file_size;
  if (signal == SIGXCPU && execution.limits.cpu_time) limit = Limit::cpu_time;
  if (!limit_name(limit).empty()) outcome.exceeded = limit_text(limit, execution.limits, page.over.used);

  const std::string how = how_text(end, note, signal);
  const std::string said = page_text(note.said), damage = page_text(page.damage);
  const std::vector<std::string> frames = frames_of(note);

  std::string text = "Traceback (most recent call first):\n  Task " + execution.task + ", in C++, process " +
                     std::to_string(end.pid) + ": " + how + "\n";
  if (!outcome.exceeded.empty()) text += "  Limit passed: " + outcome.exceeded + "\n";
  if (!said.empty()) text += "  " + said + "\n";
  if (!damage.empty()) text += "  The task has changed: " + damage + "\n";
  for (std::size_t i = 0; i < frames.size(); ++i) text += "    #" + std::to_string(i) + " " + frames[i] + "\n";
  if (end.peak_rss_kib > 0) text += "  Peak memory " + memory_text(end.peak_rss_kib) + "\n";
  if (!lines.lines().empty()) {
    text += "  Its last lines:\n";
    for (const std::string& line : lines.lines()) text += "    | " + line + "\n";
  }
  outcome.traceback = std::move(text);

  std::string brief = how;
  if (!outcome.exceeded.empty()) brief += "; limit " + outcome.exceeded;
  if (!said.empty()) brief += "; " + core::shorten(said, 160);
  if (!damage.empty()) brief += "; changed: " + damage;
  for (std::size_t i = 0; i < frames.size() && i < kShortFrames; ++i) {
    brief += (i == 0 ? "; in " : " < ") + core::shorten(frames[i], 100);
  }
  if (end.peak_rss_kib > 0) brief += "; peak memory " + memory_text(end.peak_rss_kib);
  if (!lines.lines().empty()) brief += "; last line: " + core::shorten(lines.lines().back(), 120);
  outcome.evidence = core::shorten(brief, kMostShort);
}

std::uint64_t kernel_oom_kills() {
  std::FILE* file = std::fopen("/proc/vmstat", "re");
  if (file == nullptr) return 0;
  char line[128];
  unsigned long long kills = 0;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::sscanf(line, "oom_kill %llu", &kills) == 1) break;
  }
  std::fclose(file);
  return kills;
}

}  // namespace errand::pools
