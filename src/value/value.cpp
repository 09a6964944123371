#include <errand/value.hpp>

#include <errand/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <unordered_map>

namespace errand {

// ---- Object -------------------------------------------------------------------------------------

// Positions by key, made once a map is large; std::string keys because members_ may move its own.
struct Object::Index {
  std::unordered_map<std::string, std::size_t> positions;
};

Object::Object() = default;
Object::Object(std::initializer_list<Member> members) {
  members_.reserve(members.size());
  for (const Member& member : members) set(member.first, member.second);
}
Object::Object(const Object& other) : members_(other.members_), index_(other.index_ ? new Index(*other.index_) : nullptr) {}
Object::Object(Object&& other) noexcept : members_(std::move(other.members_)), index_(std::exchange(other.index_, nullptr)) {
  other.members_.clear();
}
Object& Object::operator=(const Object& other) {
  if (this != &other) *this = Object(other);
  return *this;
}
Object& Object::operator=(Object&& other) noexcept {
  std::swap(members_, other.members_);
  std::swap(index_, other.index_);
  return *this;
}
Object::~Object() { delete index_; }

std::size_t Object::size() const noexcept { return members_.size(); }
bool Object::empty() const noexcept { return members_.empty(); }
std::vector<Object::Member>::const_iterator Object::begin() const noexcept { return members_.begin(); }
std::vector<Object::Member>::const_iterator Object::end() const noexcept { return members_.end(); }

const Value* Object::find(std::string_view key) const noexcept {
  if (index_ != nullptr) {
    const auto found = index_->positions.find(std::string(key));
    return found == index_->positions.end() ? nullptr : &members_[found->second].second;
  }
  for (const Member& member : members_) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

Value* Object::find(std::string_view key) noexcept { return const_cast<Value*>(std::as_const(*this).find(key)); }

const Value& Object::at(std::string_view key) const {
  if (const Value* found = find(key)) return *found;
  throw Error({.kind = ErrorKind::invalid, .operation = "value", .subject = std::string(key), .detail = "expected this key in the object, it is missing"});
}

void Object::set(std::string key, Value value) {
  if (Value* found = find(key)) {
    *found = std::move(value);
    return;
  }
  if (index_ != nullptr) index_->positions.emplace(key, members_.size());
  members_.emplace_back(std::move(key), std::move(value));
  if (index_ == nullptr && members_.size() > kIndexFrom) {
    index_ = new Index;
    index_->positions.reserve(members_.size() * 2);
    for (std::size_t i = 0; i < members_.size(); ++i) index_->positions.emplace(members_[i].first, i);
  }
}

Value& Object::operator[](std::string_view key) {
  if (Value* found = find(key)) return *found;
  set(std::string(key), Value());
  return members_.back().second;
}

bool Object::erase(std::string_view key) {
  const auto found = std::find_if(members_.begin(), members_.end(), [&](const Member& member) { return member.first == key; });
  if (found == members_.end()) return false;
  if (index_ != nullptr) {
    const auto position = static_cast<std::size_t>(found - members_.begin());
    index_->positions.erase(found->first);
    for (auto& [name, at] : index_->positions) {
      if (at > position) at -= 1;
    }
  }
  members_.erase(found);
  return true;
}

bool operator==(const Object& a, const Object& b) {
  if (a.size() != b.size()) return false;
  return std::all_of(a.begin(), a.end(), [&](const Object::Member& member) {
    const Value* other = b.find(member.first);
    return other != nullptr && *other == member.second;
  });
}

// ---- Value --------------------------------------------------------------------------------------

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
  throw Error({.kind = ErrorKind::invalid, .operation = "value",
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
  if (const auto* big = std::get_if<BigInteger>(&data_)) return std::strtod(big->digits.c_str(), nullptr);
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
    case Value::Kind::null: return "null";
    case Value::Kind::boolean: return "bool";
    case Value::Kind::integer: return "integer";
    case Value::Kind::big_integer: return "integer beyond 64 bits";
    case Value::Kind::number: return "float";
    case Value::Kind::text: return "text";
    case Value::Kind::bytes: return "bytes";
    case Value::Kind::array: return "array";
    case Value::Kind::object: return "object";
  }
  return "unknown";
}

}  // namespace errand
