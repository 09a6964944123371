#include "commands/process.hpp"

#include "core/fd.hpp"

#include <errand/error.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace errand::commands {

namespace {

constexpr int kAskEveryMs = 50;

struct Pipe {
  core::UniqueFd read, write;
};

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    throw Error({.kind = ErrorKind::overloaded,
                 .operation = "command.pipe",
                 .subject = "",
                 .detail = std::strerror(errno),
                 .code = ""});
  }
  return {core::UniqueFd(ends[0]), core::UniqueFd(ends[1])};
}

std::string find_program(const std::string& name, const char* path) {
  if (name.find('/') != std::string::npos) return name;
  std::string_view rest = path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path;
  while (true) {
    const auto colon = rest.find(':');
    const std::string_view folder = rest.substr(0, colon);
    std::string candidate = (folder.empty() ? "." : std::string(folder)) + "/" + name;
    struct stat about{};
    if (access(candidate.c_str(), X_OK) == 0 && stat(candidate.c_str(), &about) == 0 && S_ISREG(about.st_mode))
      return candidate;
    if (colon == std::string_view::npos) return "";
    rest.remove_prefix(colon + 1);
  }
}

const char* path_of(const ProcessSpec& spec) {
  for (const auto& [name, value] : spec.environment) {
    if (name == "PATH") return value.c_str();
  }
  return std::getenv("PATH");
}

std::vector<std::string> environment_of(const ProcessSpec& spec) {
  std::vector<std::string> out;
  for (char** one = environ; one != nullptr && *one != nullptr; ++one) {
    const std::string_view entry = *one;
    const std::string_view name = entry.substr(0, entry.find('='));
    const bool replaced = std::any_of(spec.environment.begin(), spec.environment.end(),
                                      [&](const auto& given) { return given.first == name; });
    if (!replaced) out.emplace_back(entry);
  }
  for (const auto& [name, value] : spec.environment) out.push_back(name + "=" + value);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

/// Between fork and exec: only what is safe there, since other threads may have held any lock. Never returns.
[[noreturn]] void become(const char* program, char* const* arguments, char* const* environment, const char* cwd, int in,
                         int out, int err, int report, pid_t parent) {
  const auto fail = [&] {
    const int error = errno;
    static_cast<void>(!write(report, &error, sizeof error));
    _exit(127);
  };
  setpgid(0, 0);
  // A worker's child that is killed at the hard limit takes the program along.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP) ::signal(signal, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) fail();
  // Descriptors of the worker that somebody forgot to mark: not for a program.
  close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
  if (cwd[0] != '\0' && chdir(cwd) != 0) fail();
  execve(program, arguments, environment);
  fail();
  _exit(127);
}

/// Cuts standard error into lines and keeps the last of them.
class ErrorLines {
 public:
  explicit ErrorLines(const std::function<void(std::string_view)>& line) : line_(line) {}
  void take(std::string_view bytes) {
    for (const char c : bytes) {
      if (c == '\n')
        flush();
      else
        part_ += c;
      if (part_.size() >= kMostLine) flush();
    }
  }
  void flush() {
    if (part_.empty()) return;
    if (part_.back() == '\r') part_.pop_back();
    line_(part_);
    last_ += (last_.empty() ? "" : "\n") + part_;
    if (last_.size() > kMostErrorText) {
      // From a line's beginning where there is one.
      last_.erase(0, last_.size() - kMostErrorText);
      const auto next = last_.find('\n');
      if (next != std::string::npos && next + 1 < last_.size()) last_.erase(0, next + 1);
    }
    part_.clear();
  }
  std::string last() && { return std::move(last_); }

 private:
  const std::function<void(std::string_view)>& line_;
  std::string part_, last_;
};

/// Kills the group when something throws while the program runs.
struct Group {
  pid_t pid;
  bool ended = false;
  ~Group() {
    if (ended) return;
    kill(-pid, SIGKILL);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
};

[[noreturn]] void cannot_start(const ProcessSpec& spec, int error) {
  const ErrorKind kind = error == ENOENT || error == ENOTDIR ? ErrorKind::not_found
                         : error == EACCES                   ? ErrorKind::denied
                                                             : ErrorKind::overloaded;
  throw Error({.kind = kind,
               .operation = "command",
               .subject = spec.command.front(),
               .detail = std::string("cannot be started: ") + std::strerror(error),
               .code = ""});
}

}  // namespace

std::string cannot_run(const std::vector<std::string>& command, const std::string& cwd) {
  std::string program = command.front();
  if (!cwd.empty() && access(cwd.c_str(), X_OK) != 0)
    return "the folder " + cwd + " cannot be entered: " + std::strerror(errno);
  if (program.find('/') == std::string::npos) {
    return find_program(program, std::getenv("PATH")).empty() ? program + " is not in PATH" : "";
  }
  if (program.front() != '/' && !cwd.empty()) program = cwd + "/" + program;
  struct stat about{};
  if (stat(program.c_str(), &about) != 0) return program + " cannot be run: " + std::strerror(errno);
  if (!S_ISREG(about.st_mode)) return program + " cannot be run: it is no file";
  if (access(program.c_str(), X_OK) != 0)
    return program + " cannot be run: " + std::strerror(errno) + "; chmod +x " + program;
  return "";
}

ProcessEnd run_process(const ProcessSpec& spec, const std::function<void(std::string_view)>& line,
                       const std::function<Order()>& order) {
  const std::string program = find_program(spec.command.front(), path_of(spec));
  if (program.empty()) cannot_start(spec, ENOENT);
  Pipe in = make_pipe(), out = make_pipe(), err = make_pipe(), report = make_pipe();
  // Everything that allocates happens before the fork.
  std::vector<std::string> words = spec.command, variables = environment_of(spec);
  const std::vector<char*> arguments = pointers(words), environment = pointers(variables);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) cannot_start(spec, errno);
  if (pid == 0) {
    become(program.c_str(), arguments.data(), environment.data(), spec.cwd.c_str(), in.read.get(), out.write.get(),
           err.write.get(), report.write.get(), parent);
  }
  Group group{pid};
  setpgid(pid, pid);  // also here: whoever is first; signals to the group must not come too early
  in.read.reset();
  out.write.reset();
  err.write.reset();
  report.write.reset();
  int error = 0;
  ssize_t said = 0;
  do said = read(report.read.get(), &error, sizeof error);
  while (said < 0 && errno == EINTR);
  if (said == static_cast<ssize_t>(sizeof error)) cannot_start(spec, error);

  for (const int fd : {in.write.get(), out.read.get(), err.read.get()}) fcntl(fd, F_SETFL, O_NONBLOCK);
  ProcessEnd end;
  ErrorLines lines(line);
  std::string_view rest = spec.input;
  if (rest.empty()) in.write.reset();
  std::array<char, 65'536> part;
  bool exited = false;
  int status = 0;
  rusage usage{};
  const auto take = [&](core::UniqueFd& fd, auto&& use) {
    const ssize_t n = read(fd.get(), part.data(), part.size());
    if (n > 0)
      use(std::string_view(part.data(), static_cast<std::size_t>(n)));
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
      fd.reset();
    return n > 0;
  };
  const auto take_output = [&](std::string_view bytes) {
    if (end.output.size() + bytes.size() <= spec.max_output) {
      end.output += bytes;
    } else if (!end.output_too_large) {
      end.output_too_large = true;
      kill(-pid, SIGKILL);
    }
  };
  const auto take_errors = [&](std::string_view bytes) { lines.take(bytes); };
  while (!exited) {
    // Signals to a broken pipe are ignored by asking for errors instead: SIGPIPE may be deadly in a user's program.
    std::array<pollfd, 3> waits{
        {{in.write.get(), POLLOUT, 0}, {out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}}};
    poll(waits.data(), waits.size(), kAskEveryMs);
    if (in.write && waits[0].revents != 0) {
      sigset_t pipe_signal, before;
      sigemptyset(&pipe_signal);
      sigaddset(&pipe_signal, SIGPIPE);
      pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
      const ssize_t n = write(in.write.get(), rest.data(), rest.size());
      const int write_error = errno;
      const timespec at_once{};
      if (n < 0 && write_error == EPIPE && sigismember(&before, SIGPIPE) == 0)
        sigtimedwait(&pipe_signal, nullptr, &at_once);
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      if (n > 0) rest.remove_prefix(static_cast<std::size_t>(n));
      // A program that does not read its input is no mistake.
      if (rest.empty() || (n < 0 && write_error != EAGAIN && write_error != EINTR)) in.write.reset();
    }
    if (out.read && waits[1].revents != 0) take(out.read, take_output);
    if (err.read && waits[2].revents != 0) take(err.read, take_errors);
    const Order now = order();
    if (now == Order::kill) {
      end.terminated = true;
      kill(-pid, SIGKILL);
    } else if (now == Order::terminate && !end.terminated) {
      end.terminated = true;
      kill(-pid, SIGTERM);
    }
    exited = wait4(pid, &status, WNOHANG, &usage) == pid;
  }
  group.ended = true;
  // What it wrote last. Grandchildren that hold the pipes open are not waited for.
  while (out.read && take(out.read, take_output)) {
  }
  while (err.read && take(err.read, take_errors)) {
  }
  lines.flush();
  kill(-pid, SIGKILL);
  end.last_lines = std::move(lines).last();
  end.peak_rss_kib = usage.ru_maxrss;
  if (WIFSIGNALED(status))
    end.signal = WTERMSIG(status);
  else
    end.exit_status = WEXITSTATUS(status);
  return end;
}

}  // namespace errand::commands
