#pragma once
// Tasks: a name and a C++ signature, shared by the code that sends and the code that runs.
//
//   inline constexpr errand::Task<int(std::string, int)> thumbnail{"media.thumbnail", {"path", {"width", 200}}};
//   client.send(thumbnail("cat.png", 400).on("media"));                                       // producer
//   registry.add(thumbnail, [](errand::TaskContext&, std::string path, int width) { ... });   // worker
//
// Parameter names are part of the contract: Python callers may pass keyword arguments. Parameters with a default stand
// at the end and may be left out by callers.

#include <errand/codec.hpp>
#include <errand/context.hpp>
#include <errand/signature.hpp>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

namespace errand {

/// One parameter of a task, for checks before sending and for the catalogue.
struct ParameterSchema {
  std::string name;
  std::string type;          ///< "integer", "list of text": the words of error messages
  Value json_schema;         ///< JSON Schema 2020-12 of the type
  bool required = true;
  Value default_value;       ///< when not required
  bool secret = false;       ///< masked in every repr, log and page
  /// Throws Error{invalid} naming where inside the value the type does not fit: "width: expected integer, got text".
  /// Null for parameters that came from a catalogue: those are checked against json_schema.
  void (*check)(const Value& value, std::string_view where) = nullptr;
};

/// What a task takes and returns. `open` accepts any arguments (tasks known by name only).
struct TaskSchema {
  std::vector<ParameterSchema> parameters;
  std::string result_type;
  Value result_json_schema;
  bool open = false;
};

/// Throws Error{invalid} when a call does not fit: missing, surplus, misnamed or wrongly typed arguments, naming task,
/// parameter, expected and given type. Nothing is sent by it.
void check_call(std::string_view task, const TaskSchema& schema, const Array& args, const Object& kwargs);

/// Brings positional and keyword arguments into the order of the parameters, defaults filled in, as Python binds
/// them. Throws TaskError{"TypeError"} in Python's words.
Array bind_arguments(std::string_view task, const TaskSchema& schema, const Array& args, const Object& kwargs);

/// A default that a constexpr parameter can hold.
using DefaultValue = std::variant<std::monostate, std::nullptr_t, bool, std::int64_t, double, std::string_view>;

/// A parameter's name, with a default if it has one: "path" or {"width", 200}.
struct Parameter {
  constexpr Parameter(const char* n) : name(n) {}
  constexpr Parameter(std::string_view n) : name(n) {}
  constexpr Parameter(std::string_view n, std::nullptr_t) : name(n), fallback(nullptr) {}
  constexpr Parameter(std::string_view n, bool d) : name(n), fallback(d) {}
  constexpr Parameter(std::string_view n, int d) : name(n), fallback(static_cast<std::int64_t>(d)) {}
  constexpr Parameter(std::string_view n, std::int64_t d) : name(n), fallback(d) {}
  constexpr Parameter(std::string_view n, double d) : name(n), fallback(d) {}
  constexpr Parameter(std::string_view n, const char* d) : name(n), fallback(std::string_view(d)) {}

  std::string_view name;
  DefaultValue fallback;  ///< monostate: required
};

/// The default as a Value; null for none.
Value default_to_value(const DefaultValue& fallback);

namespace codec {
/// Whether the given arguments convert to the leading types of a tuple without losing meaning: no narrowing from
/// floats to integers, no pointers to bool.
template <class To, class From>
concept Converts = std::same_as<std::remove_cvref_t<To>, std::remove_cvref_t<From>> || requires(From&& from) {
  std::remove_cvref_t<To>{std::forward<From>(from)};
} || (std::integral<std::remove_cvref_t<From>> && std::integral<std::remove_cvref_t<To>> &&
      !std::same_as<std::remove_cvref_t<To>, bool> && !std::same_as<std::remove_cvref_t<From>, bool>) ||
     (std::is_arithmetic_v<std::remove_cvref_t<From>> && std::floating_point<std::remove_cvref_t<To>> &&
      !std::same_as<std::remove_cvref_t<From>, bool>);

template <class Tuple, class... G>
inline constexpr bool fits = []<std::size_t... I>(std::index_sequence<I...>) {
  return (Converts<std::tuple_element_t<I, Tuple>, std::tuple_element_t<I, std::tuple<G...>>> && ...);
}(std::index_sequence_for<G...>());
}  // namespace codec

template <class F>
class Task;

/// A value. Immutable, safe to share between threads, usually constexpr.
template <class R, class... A>
class Task<R(A...)> {
  static_assert((Encodable<std::remove_cvref_t<A>> && ...),
                "every parameter of a task needs a JSON form: see codec.hpp, ERRAND_STRUCT and ERRAND_ENUM");
  static_assert(std::is_void_v<R> || Encodable<std::conditional_t<std::is_void_v<R>, bool, R>>,
                "the result of a task needs a JSON form: see codec.hpp, ERRAND_STRUCT and ERRAND_ENUM");

 public:
  static constexpr std::size_t kParameters = sizeof...(A);

  /// `parameters` has one entry for each of A. A default before a required parameter throws (at compile time when
  /// the task is constexpr).
  constexpr Task(std::string_view name, const Parameter (&parameters)[sizeof...(A) == 0 ? 1 : sizeof...(A)])
    requires(sizeof...(A) > 0)
      : name_(name), parameters_(std::to_array(parameters)) {
    bool optional = false;
    for (const Parameter& parameter : parameters_) {
      const bool has_default = parameter.fallback.index() != 0;
      if (optional && !has_default) throw std::logic_error("a parameter without default follows one with a default");
      optional = has_default;
    }
  }
  struct None {};
  constexpr Task(std::string_view name, None = {})
    requires(sizeof...(A) == 0)
      : name_(name), parameters_{} {}

  /// Builds the call without sending it: all arguments, or all but some that have defaults. Throws Error{invalid} if
  /// an argument has no JSON form or a required one is left out.
  template <class... G>
    requires(sizeof...(G) <= sizeof...(A) && codec::fits<std::tuple<A...>, G...>)
  Signature operator()(G&&... given) const {
    Signature call{std::string(name_)};
    call.args.reserve(sizeof...(G));
    append<0>(call, std::forward<G>(given)...);
    if constexpr (sizeof...(G) < sizeof...(A)) check_call(name_, schema(), call.args, call.kwargs);
    return call;
  }

  constexpr std::string_view name() const noexcept { return name_; }
  constexpr const std::array<Parameter, sizeof...(A)>& parameters() const noexcept { return parameters_; }

  TaskSchema schema() const {
    TaskSchema schema;
    schema.parameters.reserve(sizeof...(A));
    std::size_t i = 0;
    (schema.parameters.push_back(describe<std::remove_cvref_t<A>>(parameters_[i++])), ...);
    if constexpr (std::is_void_v<R>) {
      schema.result_type = "null";
      schema.result_json_schema = Value::object({{"type", "null"}});
    } else {
      schema.result_type = Codec<R>::words();
      schema.result_json_schema = Codec<R>::schema();
    }
    return schema;
  }

 private:
  template <std::size_t I, class... G>
  static void append(Signature& call, G&&... given) {
    if constexpr (sizeof...(G) > 0) append_first<I>(call, std::forward<G>(given)...);
  }
  template <std::size_t I, class First, class... Rest>
  static void append_first(Signature& call, First&& first, Rest&&... rest) {
    using T = std::remove_cvref_t<std::tuple_element_t<I, std::tuple<A...>>>;
    if constexpr (std::integral<T> && std::integral<std::remove_cvref_t<First>> &&
                  !std::same_as<T, std::remove_cvref_t<First>>) {
      if (!std::in_range<T>(first)) codec::wrong_value("argument " + std::to_string(I + 1), "expected a value that fits its type, got " + std::to_string(first));
      call.args.push_back(Codec<T>::encode(static_cast<T>(first)));
    } else {
      call.args.push_back(Codec<T>::encode(T(std::forward<First>(first))));
    }
    if constexpr (codec::is_secret<T>) call.secret_args.push_back(I);
    append<I + 1>(call, std::forward<Rest>(rest)...);
  }

  template <class T>
  static ParameterSchema describe(const Parameter& parameter) {
    ParameterSchema described;
    described.name = std::string(parameter.name);
    described.type = Codec<T>::words();
    described.json_schema = Codec<T>::schema();
    described.required = parameter.fallback.index() == 0;
    if (!described.required) described.default_value = default_to_value(parameter.fallback);
    described.secret = codec::is_secret<T>;
    described.check = [](const Value& value, std::string_view where) { static_cast<void>(Codec<T>::decode(value, where)); };
    return described;
  }

  std::string_view name_;
  std::array<Parameter, sizeof...(A)> parameters_;
};

}  // namespace errand
