#include "protocol/saferepr.hpp"

#include "core/utf8.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

namespace errand::protocol {
namespace {

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// The first `count` characters.
std::string_view head(std::string_view text, std::size_t count) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80 && seen++ == count) return text.substr(0, i);
  }
  return text;
}

// celery.utils.text.truncate: cut at the last blank before the limit, then dots.
std::string truncated(std::string_view text, std::size_t limit) {
  if (text.size() < limit || characters(text) < limit) return std::string(text);
  std::string_view kept = head(text, limit);
  if (const std::size_t blank = kept.rfind(' '); blank != std::string_view::npos) kept = kept.substr(0, blank);
  return std::string(kept) + "...";
}

std::string quoted(std::string_view text, std::size_t limit) {
  std::string out = "'";
  for (const char c : truncated(text, limit)) {
    if (c == '\'') out += '\\';
    out += c;
  }
  out += '\'';
  return out;
}

bool valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8::sequence(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string bytes_repr(std::string_view bytes, std::size_t limit) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const bool cut = bytes.size() > limit;
  const std::string_view shown = bytes.substr(0, limit);
  std::string out = "b'";
  if (valid_utf8(shown)) {
    out += shown;
  } else {
    for (const char c : shown) {
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
    }
  }
  if (cut) out += "...";
  out += '\'';
  return out;
}

std::string number_repr(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  return to_json(Value(number));  // the writer follows Python's repr
}

// One open container.
struct Frame {
  const Array* array = nullptr;
  const Object* object = nullptr;
  std::size_t next = 0;
  std::string_view end;
};

// Python's saferepr is a stream of tokens, each counted against the limit; when it is used up, the rest becomes
// ", ..." and the closing brackets of everything still open. The order of its steps is kept here, so that the
// texts are equal to Python's even where it cuts.
class Printer {
 public:
  explicit Printer(std::size_t limit) : left_(limit) {}

  bool put(std::string_view text) {
    if (left_ == 0) {
      out_ += ", ...";
      full_ = true;
      return false;
    }
    out_ += text;
    left_ -= std::min(left_, characters(text));
    return true;
  }
  std::size_t left() const { return left_; }
  bool full() const { return full_; }
  void close(std::string_view end) { out_ += end; }
  std::string finish() && { return std::move(out_); }

 private:
  std::string out_;
  std::size_t left_;
  bool full_ = false;
};

struct Secrets {
  std::span<const std::size_t> positions;
  std::span<const std::string> names;
};

void print_scalar(Printer& printer, const Value& value) {
  const std::size_t limit = printer.left();
  switch (value.kind()) {
    case Value::Kind::null:
      printer.put(truncated("None", limit));
      break;
    case Value::Kind::boolean:
      printer.put(truncated(value.as_bool() ? "True" : "False", limit));
      break;
    case Value::Kind::integer:
      printer.put(truncated(std::to_string(value.as_integer()), limit));
      break;
    case Value::Kind::big_integer:
      printer.put(truncated(value.as_big_integer().digits, limit));
      break;
    case Value::Kind::number:
      printer.put(truncated(number_repr(value.as_number()), limit));
      break;
    case Value::Kind::text:
      printer.put(quoted(value.as_text(), limit));
      break;
    case Value::Kind::bytes:
      printer.put(bytes_repr(value.as_bytes().data, limit));
      break;
    default:
      break;
  }
}

std::string print(const Value* root, const Array* tuple, const Object* dict, const Secrets& secrets,
                  std::size_t limit) {
  Printer printer(limit);
  std::vector<Frame> open;
  // The frame is put on the stack before its bracket is printed: Python closes it even when the bracket itself no
  // longer fitted.
  const auto enter = [&](const Array* array, const Object* object, std::string_view begin, std::string_view end) {
    open.push_back({array, object, 0, end});
    printer.put(begin);
  };
  const auto visit = [&](const Value& value) {
    const Array* array = value.if_array();
    const Object* object = value.if_object();
    if (array == nullptr && object == nullptr) {
      print_scalar(printer, value);
    } else if (open.size() >= kReprDepth) {
      printer.put(truncated(array != nullptr ? "[...]" : "{...}", printer.left()));
    } else if (array != nullptr) {
      enter(array, nullptr, "[", "]");
    } else {
      enter(nullptr, object, "{", "}");
    }
  };
  if (tuple != nullptr) {
    enter(tuple, nullptr, "(", tuple->size() == 1 ? ",)" : ")");
  } else if (dict != nullptr) {
    enter(nullptr, dict, "{", "}");
  } else {
    visit(*root);
  }
  while (!open.empty() && !printer.full()) {
    Frame& frame = open.back();
    const std::size_t size = frame.array != nullptr ? frame.array->size() : frame.object->size();
    if (frame.next == size) {
      // Python has taken the bracket off its stack when it finds that nothing fits any more.
      const std::string_view end = frame.end;
      open.pop_back();
      printer.put(end);
      continue;
    }
    if (frame.next > 0 && !printer.put(", ")) break;
    const std::size_t index = frame.next++;
    const bool outermost = open.size() == 1;
    if (frame.array != nullptr) {
      const bool masked =
          outermost && std::find(secrets.positions.begin(), secrets.positions.end(), index) != secrets.positions.end();
      if (masked) {
        printer.put(kMask);
      } else {
        visit((*frame.array)[index]);
      }
      continue;
    }
    const auto& [key, value] = *(frame.object->begin() + static_cast<std::ptrdiff_t>(index));
    if (!printer.put(quoted(key, printer.left())) || !printer.put(": ")) break;
    const bool masked = outermost && std::find(secrets.names.begin(), secrets.names.end(), key) != secrets.names.end();
    if (masked) {
      printer.put(kMask);
    } else {
      visit(value);
    }
  }
  for (auto frame = open.rbegin(); frame != open.rend(); ++frame) printer.close(frame->end);
  return std::move(printer).finish();
}

}  // namespace

std::string saferepr(const Value& value, std::size_t limit) { return print(&value, nullptr, nullptr, {}, limit); }

std::string args_repr(const Array& args, std::span<const std::size_t> secret, std::size_t limit) {
  return print(nullptr, &args, nullptr, {.positions = secret, .names = {}}, limit);
}

std::string kwargs_repr(const Object& kwargs, std::span<const std::string> secret, std::size_t limit) {
  return print(nullptr, nullptr, &kwargs, {.positions = {}, .names = secret}, limit);
}

}  // namespace errand::protocol
