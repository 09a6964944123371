#pragma once
// Exceptions in results: {"exc_type", "exc_message", "exc_module"} (celery-wire section 5.1).
//
// To Python's reader the type is a class it may build if it has it loaded; so C++ failures are written with names
// from `builtins`, or from `errand.exceptions`, which nobody can load. What we read is text and nothing else: no
// field names anything to be looked up (security S22).

#include <errand/value.hpp>

#include <exception>
#include <string>
#include <string_view>

namespace errand::protocol {

/// A failure as its reader shall see it. A value.
struct ExceptionInfo {
  std::string type;                 ///< class name
  std::string module = "builtins";  ///< "": null
  Array arguments;                  ///< Python's exc.args; most often one text

  /// "ValueError: no such size".
  std::string text() const;
  /// "ValueError('no such size')", as events and ChordError show it.
  std::string repr() const;
  std::string to_json() const;
};

/// The exception object of one argument: exception_json("ValueError", "no such size", "builtins").
std::string exception_json(std::string_view type, const Value& argument, std::string_view module);

/// The longest message that is stored of a C++ exception; a longer one is cut.
inline constexpr std::size_t kMaxExceptionText = 64u << 10;

/// What a C++ exception becomes: TaskError as it says, std::invalid_argument ValueError, std::out_of_range
/// IndexError, std::bad_alloc MemoryError, std::system_error OSError, errand::Error by kind, other std::exception
/// RuntimeError; anything else UnknownError of errand.exceptions.
ExceptionInfo describe_exception(const std::exception_ptr& exception);

/// Reads any exception object of a peer. exc_message may be an array or, from old writers, a text; what is no text
/// is shown as JSON. Never throws: what it cannot read becomes type "Exception" with the raw JSON as message.
ExceptionInfo read_exception(std::string_view json);

// What workers write on behalf of a task that could not end by itself, in Celery's words.
ExceptionInfo not_registered(std::string_view task);
ExceptionInfo time_limit_exceeded(double seconds);
ExceptionInfo soft_time_limit_exceeded();
ExceptionInfo worker_lost(int signal, int exit_status);
/// `limit` names it: "memory_limit = 64MiB (used 71MiB)".
ExceptionInfo resource_limit_exceeded(std::string_view limit);
ExceptionInfo revoked();
ExceptionInfo expired();
ExceptionInfo terminated();
ExceptionInfo max_retries_exceeded(std::string_view task, std::string_view id, std::string_view argsrepr,
                                   std::string_view kwargsrepr);
ExceptionInfo chord_error(std::string_view member_id, const ExceptionInfo& cause);
ExceptionInfo type_error(std::string_view message);

}  // namespace errand::protocol
