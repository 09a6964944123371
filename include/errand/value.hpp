#pragma once
// Value: anything that can stand in a task's arguments or result: null, bool, integers of any size,
// floats, text, bytes, arrays and objects in insertion order.
//
//   Value v = Value::object({{"path", "cat.png"}, {"width", 200}});
//   std::string text = to_json(v);             // {"path": "cat.png", "width": 200}, as Python's json.dumps
//   Value back = parse_json(text);
//
// The JSON dialect is Python's `json` module: bare NaN, Infinity and -Infinity; integers of any length;
// lone surrogates (held as their three-byte generalised UTF-8 form); duplicate keys: the last one wins at
// the first one's place, as in a Python dict; ", " and ": " separators and \uXXXX escapes when written.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace errand {

class Value;

/// Raw bytes, which JSON has no form for; on the wire they are kombu's typed value
/// {"__type__": "bytes" | "base64", "__value__": text} (kombu/utils/json.py, kombu >= 5.3).
struct Bytes {
  std::string data;
  friend bool operator==(const Bytes&, const Bytes&) = default;
};

/// An integer outside 64 bits, as canonical decimal text: optional '-', no leading zeros.
struct BigInteger {
  std::string digits;
  friend bool operator==(const BigInteger&, const BigInteger&) = default;
};

using Array = std::vector<Value>;

/// A map with unique text keys that keeps insertion order. Lookup is linear for small maps and indexed
/// beyond kIndexFrom members, so a hostile message with a million keys costs no more than its size.
class Object {
 public:
  using Member = std::pair<std::string, Value>;
  static constexpr std::size_t kIndexFrom = 16;

  Object();
  Object(std::initializer_list<Member> members);
  /// Takes all members at once; of equal keys the last value stands at the first one's place.
  explicit Object(std::vector<Member> members);
  Object(const Object&);
  Object(Object&&) noexcept;
  Object& operator=(const Object&);
  Object& operator=(Object&&) noexcept;
  ~Object();

  std::size_t size() const noexcept;
  bool empty() const noexcept;
  const Value* find(std::string_view key) const noexcept;  ///< nullptr: no such key
  Value* find(std::string_view key) noexcept;
  bool contains(std::string_view key) const noexcept { return find(key) != nullptr; }
  /// The value under the key; throws Error{invalid} naming the key when it is missing.
  const Value& at(std::string_view key) const;
  /// The value under the key, added as null at the end when it is missing.
  Value& operator[](std::string_view key);
  /// Replaces in place or appends.
  void set(std::string key, Value value);
  /// True when something was removed. The order of the rest stays.
  bool erase(std::string_view key);

  std::vector<Member>::const_iterator begin() const noexcept;
  std::vector<Member>::const_iterator end() const noexcept;

  /// Equal members, whatever their order, as Python compares dicts.
  friend bool operator==(const Object&, const Object&);

 private:
  struct Index;
  Value& append(std::string key);
  void make_index();

  std::vector<Member> members_;
  std::unique_ptr<Index> index_;  // made when the object grows beyond kIndexFrom; never goes again
};

/// A value type: copy it, move it, compare it, print it. Not synchronised.
class Value {
 public:
  enum class Kind { null, boolean, integer, big_integer, number, text, bytes, array, object };

  Value() = default;  ///< null
  Value(std::nullptr_t) {}
  Value(bool value) : data_(value) {}
  Value(int value) : data_(static_cast<std::int64_t>(value)) {}
  Value(long value) : data_(static_cast<std::int64_t>(value)) {}
  Value(long long value) : data_(static_cast<std::int64_t>(value)) {}
  Value(unsigned value) : data_(static_cast<std::int64_t>(value)) {}
  Value(unsigned long value);       ///< beyond int64: a BigInteger
  Value(unsigned long long value);  ///< beyond int64: a BigInteger
  Value(double value) : data_(value) {}
  Value(const char* text) : data_(std::string(text)) {}
  Value(std::string text) : data_(std::move(text)) {}
  Value(std::string_view text) : data_(std::string(text)) {}
  Value(Bytes bytes) : data_(std::move(bytes)) {}
  Value(BigInteger integer) : data_(std::move(integer)) {}
  Value(Array array) : data_(std::move(array)) {}
  Value(Object object) : data_(std::move(object)) {}
  template <class T>
  Value(T*) = delete;  // a pointer is not a bool

  static Value array(std::initializer_list<Value> items = {}) { return Value(Array(items)); }
  static Value object(std::initializer_list<Object::Member> members = {}) { return Value(Object(members)); }

  Kind kind() const noexcept { return static_cast<Kind>(data_.index()); }
  bool is_null() const noexcept { return kind() == Kind::null; }
  bool is_bool() const noexcept { return kind() == Kind::boolean; }
  bool is_integer() const noexcept { return kind() == Kind::integer; }
  bool is_number() const noexcept { return kind() == Kind::number; }
  bool is_text() const noexcept { return kind() == Kind::text; }
  bool is_bytes() const noexcept { return kind() == Kind::bytes; }
  bool is_array() const noexcept { return kind() == Kind::array; }
  bool is_object() const noexcept { return kind() == Kind::object; }

  // Access: each throws Error{invalid} "expected text, got integer" when the kind differs.
  bool as_bool() const;
  std::int64_t as_integer() const;
  double as_number() const;  ///< integers are converted to the nearest; beyond any double: Error{invalid}
  const std::string& as_text() const;
  const Bytes& as_bytes() const;
  const BigInteger& as_big_integer() const;
  const Array& as_array() const;
  const Object& as_object() const;
  Array& as_array();
  Object& as_object();

  // Looking without throwing: nullptr when the kind differs.
  const bool* if_bool() const noexcept { return std::get_if<bool>(&data_); }
  const std::int64_t* if_integer() const noexcept { return std::get_if<std::int64_t>(&data_); }
  const double* if_number() const noexcept { return std::get_if<double>(&data_); }
  const std::string* if_text() const noexcept { return std::get_if<std::string>(&data_); }
  const Array* if_array() const noexcept { return std::get_if<Array>(&data_); }
  const Object* if_object() const noexcept { return std::get_if<Object>(&data_); }
  Array* if_array() noexcept { return std::get_if<Array>(&data_); }
  Object* if_object() noexcept { return std::get_if<Object>(&data_); }

  /// Member of an object; nullptr when this is no object or has no such key.
  const Value* find(std::string_view key) const noexcept;

  /// Deep equality. 1 and 1.0 differ (they are different JSON); NaN equals NaN here, so that a value
  /// always equals its copy.
  friend bool operator==(const Value&, const Value&);

 private:
  std::variant<std::monostate, bool, std::int64_t, BigInteger, double, std::string, Bytes, Array, Object> data_;
};

/// "null", "bool", "integer", "float", "text", "bytes", "array", "object": the words used in messages.
std::string_view kind_name(Value::Kind kind) noexcept;

/// Limits of the reader. At a limit it throws Error{invalid} that names the limit, never aborts and
/// never recurses.
struct JsonLimits {
  /// Containers within each other. Above kMostDepth it counts as kMostDepth: a value must also be copied, compared
  /// and destroyed, which recurses.
  std::size_t depth = 128;
  static constexpr std::size_t kMostDepth = 1000;
  std::size_t nodes = 100'000;
  std::size_t bytes = 16u << 20;
  std::size_t integer_digits = 4300;  ///< Python's own default (sys.set_int_max_str_digits)
};

/// Reads exactly one JSON text. Throws Error{invalid} with the byte offset and what was expected.
Value parse_json(std::string_view text, const JsonLimits& limits = {});

/// How to write.
struct JsonStyle {
  bool spaces = true;       ///< ", " and ": " as Python writes by default; false: no blanks
  bool ascii = true;        ///< escape everything beyond ASCII as \uXXXX
  bool typed_bytes = true;  ///< bytes as kombu's typed value; false: throws Error{invalid} naming typed_json
  int indent = 0;           ///< blanks per level, for people; 0: one line
};

/// Writes JSON as Python's json.dumps would. Floats are the shortest text that reads back equal, with
/// Python's rules for exponents. Throws Error{invalid} on text that is not (generalised) UTF-8, and on an
/// object with exactly the keys __type__ and __value__ unless it came from parse_json of a peer's typed
/// value that Errand itself carries on.
std::string to_json(const Value& value, const JsonStyle& style = {});
/// Appends to `out`.
void write_json(std::string& out, const Value& value, const JsonStyle& style = {});

/// Replaces kombu's typed bytes {"__type__": "bytes"|"base64", ...} by Bytes, everywhere inside. The other
/// known types (datetime, date, time, decimal, uuid) stay objects: the typed function that wants one
/// decodes it. Throws Error{invalid} on an unknown __type__ name.
void decode_typed(Value& value);

}  // namespace errand
