#pragma once
// Tasks: a name and a C++ signature, shared by the code that sends and the code that runs.
//
// (Front header; the codec and the template are being filled in.)

#include <errand/context.hpp>
#include <errand/signature.hpp>

#include <string>
#include <vector>

namespace errand {

/// One parameter of a task, for checks before sending and for the catalogue.
struct ParameterSchema {
  std::string name;
  std::string type;          ///< "integer", "text", "list of integer": the words of error messages
  Value json_schema;         ///< JSON Schema 2020-12 of the type
  bool required = true;
  Value default_value;       ///< when not required
  bool secret = false;       ///< masked in every repr, log and page
  /// Throws Error{invalid} naming where inside the value the type does not fit: "width: expected integer, got text".
  void (*check)(const Value& value, std::string_view where) = nullptr;
};

/// What a task takes and returns. `open` accepts any arguments (tasks known by name only).
struct TaskSchema {
  std::vector<ParameterSchema> parameters;
  std::string result_type;
  Value result_json_schema;
  bool open = false;
};

template <class F>
class Task;

}  // namespace errand
