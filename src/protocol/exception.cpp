#include "protocol/exception.hpp"

#include "core/utf8.hpp"
#include "protocol/saferepr.hpp"

#include <errand/error.hpp>
#include <errand/retry.hpp>

#include <array>
#include <cstdint>
#include <cstring>
#include <future>
#include <new>
#include <stdexcept>
#include <system_error>
#include <typeinfo>
#include <utility>

namespace errand::protocol {
namespace {

constexpr std::string_view kCelery = "celery.exceptions";
constexpr std::string_view kBilliard = "billiard.exceptions";
constexpr std::string_view kOwn = "errand.exceptions";

// Exception classes of Python's builtins that a task may name without saying where they are.
constexpr std::array<std::string_view, 48> kBuiltins{"ArithmeticError",
                                                     "AssertionError",
                                                     "AttributeError",
                                                     "BlockingIOError",
                                                     "BrokenPipeError",
                                                     "BufferError",
                                                     "ChildProcessError",
                                                     "ConnectionAbortedError",
                                                     "ConnectionError",
                                                     "ConnectionRefusedError",
                                                     "ConnectionResetError",
                                                     "EOFError",
                                                     "Exception",
                                                     "FileExistsError",
                                                     "FileNotFoundError",
                                                     "FloatingPointError",
                                                     "IOError",
                                                     "ImportError",
                                                     "IndentationError",
                                                     "IndexError",
                                                     "InterruptedError",
                                                     "IsADirectoryError",
                                                     "KeyError",
                                                     "LookupError",
                                                     "MemoryError",
                                                     "ModuleNotFoundError",
                                                     "NameError",
                                                     "NotADirectoryError",
                                                     "NotImplementedError",
                                                     "OSError",
                                                     "OverflowError",
                                                     "PermissionError",
                                                     "ProcessLookupError",
                                                     "RecursionError",
                                                     "ReferenceError",
                                                     "RuntimeError",
                                                     "StopIteration",
                                                     "SyntaxError",
                                                     "SystemError",
                                                     "TabError",
                                                     "TimeoutError",
                                                     "TypeError",
                                                     "UnboundLocalError",
                                                     "UnicodeError",
                                                     "UserWarning",
                                                     "ValueError",
                                                     "Warning",
                                                     "ZeroDivisionError"};

bool is_builtin(std::string_view name) {
  for (const std::string_view builtin : kBuiltins) {
    if (builtin == name) return true;
  }
  return false;
}

// Messages of C++ exceptions may hold any bytes; JSON text may not.
std::string clean(std::string_view text) {
  std::string out;
  const bool cut = text.size() > kMaxExceptionText;
  text = text.substr(0, kMaxExceptionText);
  while (!text.empty()) {
    const std::size_t length = utf8::sequence(text);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  if (cut) out += "...";
  return out;
}

ExceptionInfo builtin(std::string_view type, std::string_view message) {
  return {std::string(type), "builtins", {clean(message)}};
}

std::string_view python_class(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid:
      return "ValueError";
    case ErrorKind::not_found:
      return "LookupError";
    case ErrorKind::denied:
      return "PermissionError";
    case ErrorKind::unavailable:
      return "ConnectionError";
    case ErrorKind::unsupported:
      return "NotImplementedError";
    case ErrorKind::conflict:
    case ErrorKind::overloaded:
    case ErrorKind::in_doubt:
    case ErrorKind::bug:
      break;
  }
  return "RuntimeError";
}

std::string argument_text(const Value& value) {
  if (const std::string* text = value.if_text()) return *text;
  return to_json(value);
}

std::string text_or_empty(const Object& object, std::string_view key) {
  const Value* value = object.find(key);
  const std::string* text = value != nullptr ? value->if_text() : nullptr;
  return text != nullptr ? *text : "";
}

std::string_view signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? name : "";
}

}  // namespace

std::string ExceptionInfo::text() const {
  std::string out = type;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    out += i == 0 ? ": " : ", ";
    out += argument_text(arguments[i]);
  }
  return out;
}

std::string ExceptionInfo::repr() const {
  std::string out = type + "(";
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (i > 0) out += ", ";
    out += saferepr(arguments[i]);
  }
  out += ')';
  return out;
}

std::string ExceptionInfo::to_json() const {
  return errand::to_json(Value::object({{"exc_type", type},
                                        {"exc_message", Value(arguments)},
                                        {"exc_module", module.empty() ? Value() : Value(module)}}));
}

std::string exception_json(std::string_view type, const Value& argument, std::string_view module) {
  const std::string* text = argument.if_text();
  ExceptionInfo info{clean(type), clean(module), {}};
  info.arguments.push_back(text != nullptr ? Value(clean(*text)) : argument);
  return info.to_json();
}

ExceptionInfo describe_exception(const std::exception_ptr& exception) {
  if (!exception) return {"UnknownError", std::string(kOwn), {"no exception was given"}};
  try {
    std::rethrow_exception(exception);
  } catch (const TaskError& error) {
    std::string module = error.module;
    if (module.empty()) module = is_builtin(error.type) ? "builtins" : std::string(kOwn);
    return {clean(error.type), clean(module), {clean(error.what())}};
  } catch (const SoftTimeLimitExceeded&) {
    return soft_time_limit_exceeded();
  } catch (const Error& error) {
    return builtin(python_class(error.kind()), error.what());
  } catch (const std::future_error& error) {
    return builtin("RuntimeError", error.what());
  } catch (const std::out_of_range& error) {
    return builtin("IndexError", error.what());
  } catch (const std::logic_error& error) {
    const bool argument = dynamic_cast<const std::invalid_argument*>(&error) != nullptr ||
                          dynamic_cast<const std::domain_error*>(&error) != nullptr ||
                          dynamic_cast<const std::length_error*>(&error) != nullptr;
    return builtin(argument ? "ValueError" : "RuntimeError", error.what());
  } catch (const std::overflow_error& error) {
    return builtin("OverflowError", error.what());
  } catch (const std::underflow_error& error) {
    return builtin("ArithmeticError", error.what());
  } catch (const std::range_error& error) {
    return builtin("ValueError", error.what());
  } catch (const std::system_error& error) {
    const bool missing = error.code() == std::errc::no_such_file_or_directory;
    const bool timeout = error.code() == std::errc::timed_out;
    return builtin(missing ? "FileNotFoundError" : timeout ? "TimeoutError" : "OSError", error.what());
  } catch (const std::bad_alloc& error) {
    return builtin("MemoryError", error.what());
  } catch (const std::bad_cast& error) {
    return builtin("TypeError", error.what());
  } catch (const std::exception& error) {
    return builtin("RuntimeError", error.what());
  } catch (...) {
    return {"UnknownError", std::string(kOwn), {"the task threw something that is no std::exception"}};
  }
}

ExceptionInfo read_exception(std::string_view json) {
  ExceptionInfo out;
  out.type = "Exception";
  out.module.clear();
  try {
    const Value value = parse_json(json);
    const Object* object = value.if_object();
    if (object == nullptr || text_or_empty(*object, "exc_type").empty()) {
      out.arguments.emplace_back(clean(json));
      return out;
    }
    out.type = text_or_empty(*object, "exc_type");
    out.module = text_or_empty(*object, "exc_module");
    const Value* message = object->find("exc_message");
    if (message == nullptr || message->is_null()) return out;
    if (const Array* list = message->if_array()) {
      out.arguments = *list;
    } else {
      out.arguments.push_back(*message);
    }
  } catch (const Error&) {
    out.arguments.assign(1, Value(clean(json)));
  }
  return out;
}

ExceptionInfo not_registered(std::string_view task) { return {"NotRegistered", std::string(kCelery), {clean(task)}}; }

ExceptionInfo time_limit_exceeded(double seconds) {
  // As Python prints a number: 1 or 1.5.
  const auto whole = static_cast<std::int64_t>(seconds);
  const Value limit = static_cast<double>(whole) == seconds ? Value(whole) : Value(seconds);
  return {"TimeLimitExceeded", std::string(kBilliard), {limit}};
}

ExceptionInfo soft_time_limit_exceeded() { return {"SoftTimeLimitExceeded", std::string(kBilliard), {}}; }

ExceptionInfo worker_lost(int signal, int exit_status) {
  std::string how;
  if (signal != 0) {
    how = "signal " + std::to_string(signal);
    if (!signal_name(signal).empty()) how += " (SIG" + std::string(signal_name(signal)) + ")";
  } else {
    how = "exitcode " + std::to_string(exit_status);
  }
  return {"WorkerLostError", std::string(kBilliard), {"Worker exited prematurely: " + how + "."}};
}

ExceptionInfo resource_limit_exceeded(std::string_view limit) {
  return {"ResourceLimitExceeded", std::string(kOwn), {"passed " + clean(limit)}};
}

ExceptionInfo revoked() { return {"TaskRevokedError", std::string(kCelery), {"revoked"}}; }
ExceptionInfo expired() { return {"TaskRevokedError", std::string(kCelery), {"expired"}}; }
ExceptionInfo terminated() { return {"TaskRevokedError", std::string(kCelery), {"terminated"}}; }

ExceptionInfo max_retries_exceeded(std::string_view task, std::string_view id, std::string_view argsrepr,
                                   std::string_view kwargsrepr) {
  return {
      "MaxRetriesExceededError",
      std::string(kCelery),
      {"Can't retry " + clean(task) + "[" + clean(id) + "] args:" + clean(argsrepr) + " kwargs:" + clean(kwargsrepr)}};
}

ExceptionInfo chord_error(std::string_view member_id, const ExceptionInfo& cause) {
  return {"ChordError", std::string(kCelery), {"Dependency " + clean(member_id) + " raised " + cause.repr()}};
}

ExceptionInfo type_error(std::string_view message) { return builtin("TypeError", message); }

}  // namespace errand::protocol
