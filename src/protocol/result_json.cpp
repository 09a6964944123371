#include "protocol/result_json.hpp"

#include "protocol/decode_failure.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/json_slice.hpp"

#include <limits>
#include <utility>

namespace errand::protocol {
namespace {

void write_text(std::string& out, std::string_view text) { write_json(out, Value(text)); }

void write_text_or_null(std::string& out, std::string_view text) {
  if (text.empty()) {
    out += "null";
  } else {
    write_text(out, text);
  }
}

// Raw JSON of a peer or of a caller; an empty one would break the record.
std::string_view raw_or_null(std::string_view json) { return json.empty() ? std::string_view("null") : json; }

[[noreturn]] void broken(std::string_view field, std::string_view expected, std::string_view got) {
  throw DecodeFailure(reason::undecodable, "result." + std::string(field),
                      "expected " + std::string(expected) + ", got '" + printable(got, 30) + "'");
}

Value parse_field(std::string_view field, std::string_view json) {
  try {
    return parse_json(json);
  } catch (const Error& error) {
    throw DecodeFailure(reason::undecodable, "result." + std::string(field), error.detail());
  }
}

std::string read_text(std::string_view field, std::string_view json) {
  if (json == "null") return "";
  const Value value = parse_field(field, json);
  const std::string* text = value.if_text();
  if (text == nullptr) broken(field, "text or null", json);
  return *text;
}

// Collects the ids of a result tuple: [[id, parent], null] or [[gid, parent], [tuple, ...]].
void collect_members(const Value& tuple, std::vector<TaskId>& out) {
  const Array* pair = tuple.if_array();
  if (pair == nullptr || pair->size() != 2) broken("group", "[[id, parent], members]", to_json(tuple));
  if (const Array* members = (*pair)[1].if_array()) {
    for (const Value& member : *members) collect_members(member, out);
    return;
  }
  const Array* head = (*pair)[0].if_array();
  const Value* id = head != nullptr && !head->empty() ? &head->front() : &(*pair)[0];
  const std::string* text = id->if_text();
  if (text == nullptr) broken("group", "a task id", to_json(*id));
  out.push_back(*text);
}

void read_extended(TaskResult& result, std::string_view key, std::string_view value) {
  // Assigned, not emplaced: Clang takes the nested struct for not default constructible inside its own class.
  const auto extended = [&]() -> TaskResult::Extended& {
    if (!result.extended) result.extended = TaskResult::Extended{};
    return *result.extended;
  };
  if (key == "name")
    extended().name = read_text(key, value);
  else if (key == "args")
    extended().args_json = value;
  else if (key == "kwargs")
    extended().kwargs_json = value;
  else if (key == "worker")
    extended().worker = read_text(key, value);
  else if (key == "queue")
    extended().queue = read_text(key, value);
  else if (key == "retries" && value != "null") {
    const Value number = parse_field(key, value);
    const std::int64_t* count = number.if_integer();
    if (count == nullptr || *count < 0 || *count > std::numeric_limits<std::uint32_t>::max()) {
      broken(key, "integer from 0 or null", value);
    }
    result.retries = static_cast<std::uint32_t>(*count);
  }
}

}  // namespace

void write_result(std::string& out, const TaskResult& result) {
  out += R"({"status": )";
  write_text(out, result.state);
  out += R"(, "result": )";
  out += raw_or_null(result.result_json);
  out += R"(, "traceback": )";
  write_text_or_null(out, result.traceback);
  out += R"(, "children": )";
  out += raw_or_null(result.children_json);
  out += R"(, "date_done": )";
  write_text_or_null(out, result.done_at ? write_time(*result.done_at) : "");
  if (!result.group_id.empty()) {
    out += R"(, "group_id": )";
    write_text(out, result.group_id);
  }
  if (!result.parent_id.empty()) {
    out += R"(, "parent_id": )";
    write_text(out, result.parent_id);
  }
  if (result.extended) {
    out += R"(, "name": )";
    write_text_or_null(out, result.extended->name);
    out += R"(, "args": )";
    out += raw_or_null(result.extended->args_json);
    out += R"(, "kwargs": )";
    out += raw_or_null(result.extended->kwargs_json);
    out += R"(, "worker": )";
    write_text_or_null(out, result.extended->worker);
    out += R"(, "retries": )";
    out += std::to_string(result.retries);
    out += R"(, "queue": )";
    write_text_or_null(out, result.extended->queue);
  }
  out += R"(, "task_id": )";
  write_text(out, result.id);
  out += '}';
}

std::string encode_result(const TaskResult& result) {
  std::string out;
  out.reserve(160 + result.result_json.size() + result.traceback.size() + result.children_json.size());
  write_result(out, result);
  return out;
}

TaskResult read_result(std::string_view text) {
  if (text.size() > kMaxResultBytes) {
    throw DecodeFailure(
        reason::too_large, "result",
        "expected at most " + std::to_string(kMaxResultBytes) + " bytes, got " + std::to_string(text.size()));
  }
  TaskResult out;
  out.state.clear();
  JsonCursor cursor(text, "result");
  cursor.expect('{');
  if (!cursor.take('}')) {
    do {
      const std::string_view key = cursor.raw_string();
      cursor.expect(':');
      const std::string_view value = cursor.value();
      if (key == "status")
        out.state = read_text(key, value);
      else if (key == "result")
        out.result_json = value;
      else if (key == "traceback")
        out.traceback = read_text(key, value);
      else if (key == "children")
        out.children_json = value;
      else if (key == "group_id")
        out.group_id = read_text(key, value);
      else if (key == "parent_id")
        out.parent_id = read_text(key, value);
      else if (key == "task_id")
        out.id = read_text(key, value);
      else if (key == "date_done") {
        const std::string time = read_text(key, value);
        if (time.empty()) continue;
        out.done_at = read_time(time);
        if (!out.done_at) broken(key, "ISO 8601 time or null", value);
      } else {
        read_extended(out, key, value);
      }
    } while (cursor.take(','));
    cursor.expect('}');
  }
  cursor.end();
  if (out.state.empty()) broken("status", "a state", "nothing");
  return out;
}

std::string result_tuple(TaskIdView id) {
  std::string out = "[[";
  write_text(out, id);
  out += ", null], null]";
  return out;
}

std::string encode_group(GroupIdView group, std::span<const TaskId> members) {
  std::string out = R"({"result": [[)";
  write_text(out, group);
  out += ", null], [";
  bool first = true;
  for (const TaskId& id : members) {
    if (!std::exchange(first, false)) out += ", ";
    out += result_tuple(id);
  }
  out += "]]}";
  return out;
}

std::vector<TaskId> read_group(std::string_view text) {
  const Value value = parse_field("group", text);
  const Value* tuple = value.find("result");
  if (tuple == nullptr) broken("group", "an object with `result`", text);
  std::vector<TaskId> out;
  collect_members(*tuple, out);
  return out;
}

std::string encode_chord_part(const ChordPart& part) {
  std::string out = "[1, ";
  write_text(out, part.id);
  out += ", ";
  write_text(out, part.state);
  out += ", ";
  out += raw_or_null(part.result_json);
  out += ']';
  return out;
}

ChordPart read_chord_part(std::string_view text) {
  JsonCursor cursor(text, "chord part");
  ChordPart out;
  cursor.expect('[');
  cursor.value();
  cursor.expect(',');
  out.id = read_text("chord.id", cursor.value());
  cursor.expect(',');
  out.state = read_text("chord.state", cursor.value());
  cursor.expect(',');
  out.result_json = cursor.value();
  cursor.expect(']');
  cursor.end();
  return out;
}

}  // namespace errand::protocol
