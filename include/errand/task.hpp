#pragma once
// Tasks: a name and a C++ signature, shared by the code that sends and the code that runs.
//
//   inline constexpr errand::Task<int(std::string, int)> thumbnail{"media.thumbnail", {"path", {"width", 200}}};
//   client.send(thumbnail("cat.png", 400).on("media"));                                       // producer
//   registry.add(thumbnail, [](errand::TaskContext&, std::string path, int width) { ... });   // worker
//
// Parameter names are part of the contract: Python callers may pass keyword arguments. Parameters with a default stand
// at the end and may be left out by callers. What does not fit the signature does not compile; what only fails at run
// time (a number beyond its type, a required argument left out) throws before anything is sent.

#include <errand/codec.hpp>
#include <errand/context.hpp>
#include <errand/signature.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace errand {

/// One parameter of a task, for checks before sending and for the catalogue.
struct ParameterSchema {
  std::string name;
  std::string type;   ///< "integer", "list of text": the words of error messages
  Value json_schema;  ///< JSON Schema 2020-12 of the type
  bool required = true;
  Value default_value;  ///< when not required
  bool secret = false;  ///< masked in every repr, log and page
  /// Throws Error{invalid} naming where inside the value the type does not fit: "width: expected integer, got text".
  /// Null for parameters that came from a catalogue: those are checked against json_schema.
  void (*check)(const Value& value, std::string_view where) = nullptr;
};

/// How a task is sent, as far as its definition says.
struct SendDefaults {
  std::string queue;            ///< "": by routes, then the default queue
  bool queue_required = false;  ///< sending without a queue is refused (a queue per host)
  std::optional<int> priority;
  std::optional<bool> ignore_result;
  std::optional<Milliseconds> expires;
};

/// What a task takes and returns, and how it is sent. `open` accepts any arguments (tasks known by name only).
struct TaskSchema {
  std::vector<ParameterSchema> parameters;
  std::string result_type;
  Value result_json_schema;
  bool open = false;
  SendDefaults sending;
};

/// Throws Error{invalid} when a call does not fit: missing, surplus, misnamed or wrongly typed arguments, naming task,
/// parameter, expected and given type. Nothing is sent by it. `prepended`: leading arguments that the worker will add
/// (1 for a chain step or a callback, which gets the result of the task before it); their types are not known here.
void check_call(std::string_view task, const TaskSchema& schema, const Array& args, const Object& kwargs,
                std::size_t prepended = 0);

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

/// What a definition says about sending; see SendDefaults. Written beside the parameters:
///   Task<void(std::string)> reload{"host.reload", {"site"}, {.queue_required = true}};
struct TaskSending {
  std::string_view queue = {};
  bool queue_required = false;
  std::optional<int> priority = std::nullopt;
  bool ignore_result = false;
};

namespace codec {
/// Whether an argument of type From may be given for a parameter of type To: it converts, and not by losing meaning
/// (floats to integers, anything but bool to bool, pointers to bool). Integers of another width do, checked at run
/// time.
template <class To, class From>
consteval bool accepts() {
  using T = std::remove_cvref_t<To>;
  using F = std::remove_cvref_t<From>;
  if constexpr (std::same_as<T, F>)
    return true;
  else if constexpr (std::same_as<T, bool> || std::same_as<F, bool>)
    return std::same_as<T, Value>;
  else if constexpr (std::integral<T>)
    return std::integral<F>;
  else if constexpr (std::floating_point<T>)
    return std::is_arithmetic_v<F>;
  else if constexpr (is_optional<T>) {
    if constexpr (std::same_as<F, std::nullopt_t>)
      return true;
    else if constexpr (is_optional<F>)
      return accepts<typename T::value_type, typename F::value_type>();
    else
      return accepts<typename T::value_type, From>();
  } else if constexpr (is_secret<T>)
    return accepts<std::remove_cvref_t<decltype(std::declval<T>().reveal())>, From>();
  else
    return std::is_convertible_v<From, T>;
}

template <class Tuple, std::size_t Skip, class... G>
inline constexpr bool fits = []<std::size_t... I>(std::index_sequence<I...>) {
  return (accepts<std::tuple_element_t<Skip + I, Tuple>, std::tuple_element_t<I, std::tuple<G...>>>() && ...);
}(std::index_sequence_for<G...>());

/// Throws Error{invalid} naming task and parameter.
[[noreturn]] void refuse_argument(std::string_view task, std::string_view parameter, const std::string& detail);

/// The argument as the parameter's type. Throws Error{invalid} for a number beyond it.
template <class T, class G>
T convert(std::string_view task, std::string_view parameter, G&& given) {
  using F = std::remove_cvref_t<G>;
  if constexpr (std::integral<T> && std::integral<F> && !std::same_as<T, F>) {
    if (!std::in_range<T>(given)) {
      refuse_argument(task, parameter,
                      "expected " + std::to_string(std::numeric_limits<T>::min()) + " to " +
                          std::to_string(std::numeric_limits<T>::max()) + ", got " + std::to_string(given));
    }
    return static_cast<T>(given);
  } else if constexpr (is_optional<T> && !std::same_as<T, F>) {
    if constexpr (std::same_as<F, std::nullopt_t>)
      return std::nullopt;
    else if constexpr (is_optional<F>) {
      if (!given) return std::nullopt;
      return convert<typename T::value_type>(task, parameter, *std::forward<G>(given));
    } else
      return convert<typename T::value_type>(task, parameter, std::forward<G>(given));
  } else if constexpr (is_secret<T> && !std::same_as<T, F>) {
    return T(
        convert<std::remove_cvref_t<decltype(std::declval<T>().reveal())>>(task, parameter, std::forward<G>(given)));
  } else {
    return T(std::forward<G>(given));
  }
}
}  // namespace codec

/// A Signature that knows the type of its result, so that what Client::send returns does, too. Each of the functions
/// is the one of Signature.
template <class R>
class Call : public Signature {
 public:
  explicit Call(Signature call) : Signature(std::move(call)) {}

  using Signature::then;
  Call on(std::string name) && {
    options.queue = std::move(name);
    return std::move(*this);
  }
  Call on(std::string name) const& { return Call(*this).on(std::move(name)); }
  Call with_id(TaskId id) && { return typed(std::move(*this).Signature::with_id(std::move(id))); }
  Call priority(int value) && { return typed(std::move(*this).Signature::priority(value)); }
  Call countdown(Milliseconds wait) && { return typed(std::move(*this).Signature::countdown(wait)); }
  Call eta(TimePoint when) && { return typed(std::move(*this).Signature::eta(when)); }
  Call expires(Milliseconds after_sending) && { return typed(std::move(*this).Signature::expires(after_sending)); }
  Call expires_at(TimePoint when) && { return typed(std::move(*this).Signature::expires_at(when)); }
  Call time_limit(Milliseconds hard) && { return typed(std::move(*this).Signature::time_limit(hard)); }
  Call soft_time_limit(Milliseconds soft) && { return typed(std::move(*this).Signature::soft_time_limit(soft)); }
  Call ignore_result(bool value = true) && { return typed(std::move(*this).Signature::ignore_result(value)); }
  Call compressed(std::string method) && { return typed(std::move(*this).Signature::compressed(std::move(method))); }
  Call header(std::string name, Value value) && {
    return typed(std::move(*this).Signature::header(std::move(name), std::move(value)));
  }
  Call as_immutable() && { return typed(std::move(*this).Signature::as_immutable()); }
  /// The result of a chain is that of its last step.
  template <class Last>
  Call<Last> then(Call<Last> next) && {
    return Call<Last>(std::move(*this).Signature::then(std::move(next)));
  }
  Call linked(Signature callback) && { return typed(std::move(*this).Signature::linked(std::move(callback))); }
  Call on_error(Signature errback) && { return typed(std::move(*this).Signature::on_error(std::move(errback))); }

 private:
  static Call typed(Signature call) { return Call(std::move(call)); }
};

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

  /// `parameters` has one entry for each of A. A default before a required parameter, or a name given twice, throws
  /// (at compile time when the task is constexpr).
  constexpr Task(std::string_view name, const Parameter (&parameters)[sizeof...(A) == 0 ? 1 : sizeof...(A)],
                 TaskSending sending = {})
    requires(sizeof...(A) > 0)
      : name_(name), parameters_(std::to_array(parameters)), sending_(sending) {
    bool optional = false;
    for (std::size_t i = 0; i < kParameters; ++i) {
      const bool has_default = parameters_[i].fallback.index() != 0;
      if (optional && !has_default) throw std::logic_error("a parameter without default follows one with a default");
      optional = has_default;
      for (std::size_t j = 0; j < i; ++j) {
        if (parameters_[j].name == parameters_[i].name) throw std::logic_error("two parameters have the same name");
      }
    }
  }
  struct None {};
  constexpr Task(std::string_view name, None = {}, TaskSending sending = {})
    requires(sizeof...(A) == 0)
      : name_(name), parameters_{}, sending_(sending) {}

  /// Builds the call without sending it: all arguments, or all but some that have defaults. Throws Error{invalid} if
  /// a number is beyond its parameter's type or a required argument is left out.
  template <class... G>
    requires(sizeof...(G) <= sizeof...(A) && codec::fits<std::tuple<A...>, 0, G...>)
  Call<R> operator()(G&&... given) const {
    Call<R> call = make<0>(std::forward<G>(given)...);
    if constexpr (sizeof...(G) < sizeof...(A)) check_call(name_, schema(), call.args, call.kwargs);
    return call;
  }

  /// As a chain step or callback: the first argument is the result of the task before it, these are the others.
  template <class... G>
    requires(sizeof...(G) + 1 <= sizeof...(A) && codec::fits<std::tuple<A...>, 1, G...>)
  Call<R> partial(G&&... given) const {
    Call<R> call = make<1>(std::forward<G>(given)...);
    if constexpr (sizeof...(G) + 1 < sizeof...(A)) check_call(name_, schema(), call.args, call.kwargs, 1);
    return call;
  }

  /// By names, as Python's keyword arguments: checked here and now, throws Error{invalid}.
  Call<R> named(Object kwargs) const {
    Call<R> call = make<0>();
    call.kwargs = std::move(kwargs);
    check_call(name_, schema(), call.args, call.kwargs);
    constexpr std::array<bool, sizeof...(A)> kSecret{codec::holds_secret<A>...};
    for (std::size_t i = 0; i < kParameters; ++i) {
      if (kSecret[i] && call.kwargs.contains(parameters_[i].name)) call.secret_kwargs.emplace_back(parameters_[i].name);
    }
    return call;
  }

  constexpr std::string_view name() const noexcept { return name_; }
  constexpr const std::array<Parameter, sizeof...(A)>& parameters() const noexcept { return parameters_; }

  constexpr const TaskSending& sending() const noexcept { return sending_; }

  TaskSchema schema() const {
    TaskSchema schema;
    schema.sending.queue = std::string(sending_.queue);
    schema.sending.queue_required = sending_.queue_required;
    schema.sending.priority = sending_.priority;
    if (sending_.ignore_result) schema.sending.ignore_result = true;
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
  template <std::size_t Skip, class... G>
  Call<R> make(G&&... given) const {
    Call<R> call{Signature(std::string(name_))};
    call.options.queue = std::string(sending_.queue);
    call.options.priority = sending_.priority;
    call.queue_required = sending_.queue_required;
    if (sending_.ignore_result) call.options.ignore_result = true;
    call.args.reserve(sizeof...(G));
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (append<Skip + I>(call, std::forward<G>(given)), ...);
    }(std::index_sequence_for<G...>());
    return call;
  }
  template <std::size_t I, class G>
  void append(Signature& call, G&& given) const {
    using T = std::remove_cvref_t<std::tuple_element_t<I, std::tuple<A...>>>;
    if constexpr (codec::holds_secret<T>) call.secret_args.push_back(call.args.size());
    call.args.push_back(Codec<T>::encode(codec::convert<T>(name_, parameters_[I].name, std::forward<G>(given))));
  }

  template <class T>
  static ParameterSchema describe(const Parameter& parameter) {
    ParameterSchema described;
    described.name = std::string(parameter.name);
    described.type = Codec<T>::words();
    described.json_schema = Codec<T>::schema();
    described.required = parameter.fallback.index() == 0;
    if (!described.required) described.default_value = default_to_value(parameter.fallback);
    described.secret = codec::holds_secret<T>;
    if (described.secret) described.json_schema.as_object().set("writeOnly", true);
    described.check = [](const Value& value, std::string_view where) {
      static_cast<void>(Codec<T>::decode(value, where));
    };
    return described;
  }

  std::string_view name_;
  std::array<Parameter, sizeof...(A)> parameters_;
  TaskSending sending_;
};

}  // namespace errand
