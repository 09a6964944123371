#include "core/failpoint.hpp"

#ifdef ERRAND_FAILPOINTS

#include "core/text.hpp"

#include <errand/error.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace errand::core {

namespace {

constexpr std::size_t kNone = kFailpoints.size();
constexpr std::uint64_t kMostHits = 1'000'000'000;
constexpr int kExitStatus = 70;  // EX_SOFTWARE

enum class What { kill, exit, pause, error };
constexpr std::array kActions{std::string_view{"kill"}, std::string_view{"exit"}, std::string_view{"pause"},
                              std::string_view{"error"}};
constexpr std::array kKinds{ErrorKind::invalid,  ErrorKind::not_found,   ErrorKind::conflict,
                            ErrorKind::denied,   ErrorKind::unavailable, ErrorKind::overloaded,
                            ErrorKind::in_doubt, ErrorKind::unsupported, ErrorKind::bug};

struct Action {
  What what = What::kill;
  Milliseconds pause{0};
  ErrorKind kind = ErrorKind::unavailable;
  std::uint64_t hit = 1;
  std::string text;
};

struct Armed {
  std::array<std::optional<Action>, kFailpoints.size()> actions;
  // Shared with every process that is forked later, so that a point that kills a child does not kill the next as well.
  std::atomic<std::uint64_t>* passed = nullptr;
  std::string log;
};
// Written before threads and forks, read afterwards.
Armed armed;
std::atomic<bool> any_armed{false};
thread_local std::size_t inside = kNone;

[[noreturn]] void wrong(std::string_view entry, std::string detail) {
  throw Error({.kind = ErrorKind::invalid,
               .operation = "ERRAND_FAILPOINT",
               .subject = shorten(escape_controls(entry), 80),
               .detail = std::move(detail)});
}

template <class Words>
std::string listed(const Words& words) {
  std::string out;
  for (const std::string_view word : words) out += (out.empty() ? "" : ", ") + std::string(word);
  return out;
}

std::string underscored(ErrorKind kind) {
  std::string name(to_string(kind));
  for (char& c : name) {
    if (c == ' ') c = '_';
  }
  return name;
}

// "; did you mean x?" when a word of the list is near.
template <class Words>
std::string nearest(std::string_view word, const Words& words) {
  const std::vector<std::string_view> known(words.begin(), words.end());
  const std::string_view near = nearest_word(word, known);
  return near.empty() ? std::string() : "; did you mean " + std::string(near) + "?";
}

ErrorKind kind_of(std::string_view entry, std::string_view word) {
  std::vector<std::string> names;
  for (const ErrorKind kind : kKinds) {
    names.push_back(underscored(kind));
    if (names.back() == word) return kind;
  }
  wrong(entry, "expected error=<kind> with one of " + listed(names) + ", got '" + std::string(word) + "'" +
                   nearest(word, names));
}

Action parse_action(std::string_view entry, std::string_view text) {
  Action action;
  const std::size_t equals = text.find('=');
  const std::string_view word = text.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? std::string_view{} : text.substr(equals + 1);
  action.text = std::string(text);
  if (text == "kill") {
    action.what = What::kill;
  } else if (text == "exit") {
    action.what = What::exit;
  } else if (word == "pause") {
    const auto pause = parse_duration(value);
    if (!pause || *pause <= Milliseconds{0}) {
      wrong(entry, "expected pause=<duration> such as pause=2s, got '" + std::string(text) + "'");
    }
    action.what = What::pause;
    action.pause = *pause;
  } else if (word == "error") {
    action.what = What::error;
    action.kind = kind_of(entry, value);
  } else {
    wrong(entry, "expected one of the actions kill, exit, pause=<duration>, error=<kind>, got '" + std::string(text) +
                     "'" + nearest(word, kActions));
  }
  return action;
}

void arm_one(std::string_view entry) {
  const std::size_t colon = entry.find(':');
  const std::string_view name = entry.substr(0, colon);
  std::size_t number = 0;
  while (number < kFailpoints.size() && kFailpoints[number] != name) ++number;
  if (number == kFailpoints.size()) {
    wrong(entry, "no fail point is named '" + std::string(name) + "'" + nearest(name, kFailpoints) +
                     " Valid names: " + listed(kFailpoints));
  }
  if (colon == std::string_view::npos) {
    wrong(entry, "expected name:action[:hit], got no action; actions: kill, exit, pause=<duration>, error=<kind>");
  }
  std::string_view rest = entry.substr(colon + 1);
  std::uint64_t hit = 1;
  if (const std::size_t second = rest.find(':'); second != std::string_view::npos) {
    const auto number_of_hit = parse_number(rest.substr(second + 1), kMostHits);
    if (!number_of_hit || *number_of_hit == 0) {
      wrong(entry, "expected a hit from 1 on, got '" + std::string(rest.substr(second + 1)) + "'");
    }
    hit = *number_of_hit;
    rest = rest.substr(0, second);
  }
  if (armed.actions[number]) wrong(entry, "'" + std::string(name) + "' is named twice");
  armed.actions[number] = parse_action(entry, rest);
  armed.actions[number]->hit = hit;
}

void share_counters() {
  if (armed.passed != nullptr) return;
  constexpr std::size_t kBytes = kFailpoints.size() * sizeof(std::atomic<std::uint64_t>);
  void* page = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw std::bad_alloc();
  auto* counters = static_cast<std::atomic<std::uint64_t>*>(page);
  for (std::size_t i = 0; i < kFailpoints.size(); ++i) new (counters + i) std::atomic<std::uint64_t>(0);
  armed.passed = counters;
}

void note(std::size_t number, const Action& action) noexcept {
  if (armed.log.empty()) return;
  const int file = open(armed.log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return;
  const std::string_view name = kFailpoints[number];
  dprintf(file, "%.*s %s %d\n", static_cast<int>(name.size()), name.data(), action.text.c_str(),
          static_cast<int>(getpid()));
  close(file);
}

}  // namespace

void arm_failpoints(std::string_view text) {
  armed.actions = {};
  any_armed = false;
  share_counters();
  for (std::size_t i = 0; i < kFailpoints.size(); ++i) armed.passed[i] = 0;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    arm_one(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    any_armed = true;
  }
}

void arm_failpoints_from_environment() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (const char* log = std::getenv("ERRAND_FAILPOINT_LOG")) armed.log = log;
    if (const char* text = std::getenv("ERRAND_FAILPOINT")) arm_failpoints(text);
  });
}

void pass_failpoint(std::size_t number) {
  if (!any_armed.load(std::memory_order_relaxed) || !armed.actions[number]) return;
  const Action& action = *armed.actions[number];
  if (armed.passed[number].fetch_add(1) + 1 != action.hit) return;
  note(number, action);
  switch (action.what) {
    case What::kill:
      kill(getpid(), SIGKILL);
      for (;;) pause();  // the signal may reach another thread first
    case What::exit:
      _exit(kExitStatus);
    case What::pause:
      std::this_thread::sleep_for(action.pause);
      return;
    case What::error:
      throw Error({.kind = action.kind,
                   .operation = "failpoint",
                   .subject = std::string(kFailpoints[number]),
                   .detail = "this error was asked for by ERRAND_FAILPOINT",
                   .code = "EFAILPOINT"});
  }
}

FailpointScope::FailpointScope(std::size_t number) noexcept : before_(inside) { inside = number; }
FailpointScope::~FailpointScope() { inside = before_; }

void pass_failpoint_inside() {
  if (inside != kNone) pass_failpoint(inside);
}

}  // namespace errand::core

#endif
