#include <errand/value.hpp>

#include <errand/error.hpp>

#include "value/number_text.hpp"

#include <cmath>
#include <limits>

namespace errand {

Value::Value(unsigned long value) : Value(static_cast<unsigned long long>(value)) {}
Value::Value(unsigned long long value) {
  if (value <= static_cast<unsigned long long>(std::numeric_limits<std::int64_t>::max())) {
    data_ = static_cast<std::int64_t>(value);
  } else {
    data_ = BigInteger{std::to_string(value)};
  }
}

namespace {
[[noreturn]] void wrong_kind(std::string_view expected, Value::Kind got) {
  throw Error({.kind = ErrorKind::invalid,
               .operation = "value",
               .detail = "expected " + std::string(expected) + ", got " + std::string(kind_name(got))});
}
template <class T, class Variant>
auto& expect(Variant& data, std::string_view expected, Value::Kind got) {
  auto* found = std::get_if<T>(&data);
  if (found == nullptr) wrong_kind(expected, got);
  return *found;
}
}  // namespace

bool Value::as_bool() const { return expect<bool>(data_, "bool", kind()); }
std::int64_t Value::as_integer() const { return expect<std::int64_t>(data_, "integer", kind()); }
double Value::as_number() const {
  if (const auto* integer = std::get_if<std::int64_t>(&data_)) return static_cast<double>(*integer);
  if (const auto* big = std::get_if<BigInteger>(&data_)) {
    const double number = value::read_double(big->digits);
    if (!std::isinf(number)) return number;
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "value",
                 .detail = "expected a number that a double can hold (below 1.8e308), got an integer of " +
                           std::to_string(big->digits.size()) + " digits"});
  }
  return expect<double>(data_, "float", kind());
}
const std::string& Value::as_text() const { return expect<std::string>(data_, "text", kind()); }
const Bytes& Value::as_bytes() const { return expect<Bytes>(data_, "bytes", kind()); }
const BigInteger& Value::as_big_integer() const { return expect<BigInteger>(data_, "integer beyond 64 bits", kind()); }
const Array& Value::as_array() const { return expect<Array>(data_, "array", kind()); }
const Object& Value::as_object() const { return expect<Object>(data_, "object", kind()); }
Array& Value::as_array() { return expect<Array>(data_, "array", kind()); }
Object& Value::as_object() { return expect<Object>(data_, "object", kind()); }

const Value* Value::find(std::string_view key) const noexcept {
  const Object* object = if_object();
  return object == nullptr ? nullptr : object->find(key);
}

bool operator==(const Value& a, const Value& b) {
  if (const double* x = a.if_number()) {
    const double* y = b.if_number();
    return y != nullptr && (*x == *y || (std::isnan(*x) && std::isnan(*y)));
  }
  return a.data_ == b.data_;
}

std::string_view kind_name(Value::Kind kind) noexcept {
  switch (kind) {
    case Value::Kind::null:
      return "null";
    case Value::Kind::boolean:
      return "bool";
    case Value::Kind::integer:
      return "integer";
    case Value::Kind::big_integer:
      return "integer beyond 64 bits";
    case Value::Kind::number:
      return "float";
    case Value::Kind::text:
      return "text";
    case Value::Kind::bytes:
      return "bytes";
    case Value::Kind::array:
      return "array";
    case Value::Kind::object:
      return "object";
  }
  return "unknown";
}

}  // namespace errand
