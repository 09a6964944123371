// Workflows as a stock worker ran them (tests/golden/flows.json), run again by the functions our worker uses.
//
// For every task that ended there, the messages that its worker then sent must be the messages we would send: the
// same tasks with the same arguments, ids that the client fixed, places in groups, and the same embeds.

#include "golden.hpp"

#include "protocol/body.hpp"
#include "protocol/envelope.hpp"
#include "protocol/exception.hpp"
#include "protocol/follow_ups.hpp"
#include "protocol/result_json.hpp"
#include "protocol/saferepr.hpp"
#include "protocol/task_message.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

using namespace errand;
using namespace errand::protocol;
using errand::golden::load;

namespace {

struct Sent {
  Message message;
  Route route;
  int priority = 0;
  TaskMessage task;
};

// Options whose values are a matter of the one who froze the signature, or that Python leaves as null.
void normalise(Value& value) {
  if (Array* array = value.if_array()) {
    for (Value& item : *array) normalise(item);
    return;
  }
  Object* object = value.if_object();
  if (object == nullptr) return;
  if (const Value* type = object->find("subtask_type"); type != nullptr && type->is_text()) {
    // Celery 5.2 forgets the id of a container on the way and the header's when it applies a chord; we keep both.
    if (Object* options = (*object)["options"].if_object()) {
      options->erase("task_id");
      options->erase("chord");
    }
  }
  Object out;
  for (const auto& [key, member] : *object) {
    if (key == "reply_to" || key == "root_id" || key == "parent_id" || member.is_null()) continue;
    if (member.if_array() != nullptr && member.if_array()->empty() &&
        (key == "chain" || key == "link" || key == "link_error"))
      continue;
    Value copy = member;
    normalise(copy);
    out.set(key, std::move(copy));
  }
  *object = std::move(out);
}

// A message without what differs by right: fresh ids, senders, times. `known` holds the ids that were fixed before.
std::string canonical(const Sent& sent, const std::string& known) {
  const Body body(sent.message);
  Value embed = body.embed_json() == "null" ? Value(Object{}) : parse_json(body.embed_json());
  normalise(embed);
  Object shown;
  for (const char* key :
       {"task", "id", "shadow", "group_index", "retries", "timelimit", "root_id", "parent_id", "ignore_result", "h"}) {
    if (const Value* value = sent.message.headers.find(key)) shown.set(key, *value);
  }
  shown.set("in_group", !sent.task.group.empty());
  // Celery prints arguments that nothing was put before as the list they came in; we print a tuple always.
  shown.set("argsrepr", sent.task.argsrepr.starts_with("[") ? args_repr(body.args()) : sent.task.argsrepr);
  shown.set("has_eta", sent.task.eta.has_value());
  shown.set("has_expires", sent.task.expires.has_value());
  shown.set("args", Value(body.args()));
  shown.set("kwargs", Value(body.kwargs()));
  shown.set("embed", std::move(embed));
  shown.set("queue", sent.route.routing_key);
  shown.set("priority", sent.priority);
  const std::string text = to_json(Value(std::move(shown)));
  static const std::regex kId("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}");
  std::string out;
  auto at = text.cbegin();
  for (std::sregex_iterator match(text.begin(), text.end(), kId), end; match != end; ++match) {
    out.append(at, (*match)[0].first);
    out += known.find(match->str()) == std::string::npos ? "<fresh>" : match->str();
    at = (*match)[0].second;
  }
  out.append(at, text.cend());
  return out;
}

std::string canonical(const std::vector<Sent>& sent, const std::string& known) {
  std::vector<std::string> lines;
  for (const Sent& one : sent) lines.push_back(canonical(one, known));
  std::sort(lines.begin(), lines.end());
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

Sent read(const std::string& envelope) {
  StoredMessage stored = read_envelope(envelope);
  TaskMessage task = decode_task(stored.message);
  return {std::move(stored.message), stored.route, stored.priority, std::move(task)};
}

struct Chord {
  std::size_t size = 0;
  std::map<std::int64_t, ChordPart> parts;
};

// A worker without a broker: told what ended, it says what it would send.
struct Flow {
  std::map<std::string, Sent> messages;             // the newest of each id
  std::map<std::string, std::vector<Sent>> theirs;  // by parent
  std::map<std::string, std::vector<Sent>> ours;
  std::map<std::string, Chord> chords;
  std::vector<std::size_t> our_chords;
  std::set<std::string> failed;  // ids under which we would have stored FAILURE for others
  FollowUpOptions options{.now = TimePoint{std::chrono::seconds{1'900'000'000}}, .origin = "gen1@host"};

  void take(const FollowUps& follow_ups) {
    for (const ChordSize& size : follow_ups.chords) our_chords.push_back(size.size);
    for (const Envelope& envelope : follow_ups.envelopes) {
      Message message = envelope.message;
      TaskMessage task = decode_task(message);
      const std::string parent = task.parent_id;
      ours[parent].push_back({std::move(message), envelope.route, envelope.priority, std::move(task)});
    }
  }

  bool end(const TaskResult& result) {
    if (result.state == state::retry) return false;
    const auto found = messages.find(result.id);
    if (found == messages.end()) {
      CHECK(failed.contains(result.id));
      return false;
    }
    const Sent& ended = found->second;
    const Embed embed = Body(ended.message).embed();
    if (result.state == state::success) {
      const FollowUps sent = after_success(ended.task, embed, result.result_json, options);
      take(sent);
      CHECK(shape(Value(sent.children)) == shape(parse_json(result.children_json)));
    } else {
      take(after_failure(ended.task, embed, options));
      for (const WaitingStep& step : waiting_steps(embed)) failed.insert(step.id);
    }
    finish_chord(ended, embed, {.id = result.id, .state = result.state, .result_json = result.result_json});
    return true;
  }

  // Result tuples without the ids that were made on the way.
  static std::string shape(const Value& children) {
    static const std::regex kId("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}");
    return std::regex_replace(to_json(children), kId, "id");
  }

  void finish_chord(const Sent& member, const Embed& embed, const ChordPart& part) {
    if (member.task.group.empty() || embed.chord.is_null()) return;
    Chord& chord = chords[member.task.group];
    chord.parts[member.task.group_index.value_or(0)] = part;
    if (chord.size == 0 || chord.parts.size() != chord.size) return;
    std::vector<std::string> results;
    for (const auto& [index, one] : chord.parts) {
      if (one.state != state::success) {
        ChordFailure failure = chord_failed(member.task, embed.chord, one.id, read_exception(one.result_json), options);
        failed.insert(failure.ids.begin(), failure.ids.end());
        // Celery takes the body for the root here; we keep the workflow's.
        for (Envelope& errback : failure.errbacks.envelopes)
          errback.message.headers.set("root_id", failure.ids.front());
        take(failure.errbacks);
        return;
      }
      results.push_back(one.result_json);
    }
    take(chord_body(member.task, embed.chord, results, options));
  }
};

}  // namespace

TEST_CASE("our worker sends what a stock worker sent after the same task") {
  const Value vectors = load("flows.json");
  for (const auto& [name, sequence] : vectors.as_object()) {
    CAPTURE(name);
    Flow flow;
    std::vector<std::size_t> their_chords;
    for (const Value& entry : sequence.as_array()) {
      if (const Value* envelope = entry.find("envelope")) {
        const Sent sent = read(envelope->as_text());
        // A retry is its own parent and no follow-up.
        if (!sent.task.parent_id.empty() && sent.task.parent_id != sent.task.id)
          flow.theirs[sent.task.parent_id].push_back(sent);
      }
      if (const Value* group = entry.find("chord_size")) {
        their_chords.push_back(static_cast<std::size_t>(entry.find("value")->as_integer()));
        flow.chords[group->as_text()].size = their_chords.back();
      }
    }
    std::size_t checked = 0;
    for (const Value& entry : sequence.as_array()) {
      if (const Value* envelope = entry.find("envelope")) {
        Sent sent = read(envelope->as_text());
        const std::string id = sent.task.id;
        flow.messages[id] = std::move(sent);
      } else if (entry.find("result") != nullptr) {
        checked += flow.end(read_result(entry.find("value")->as_text())) ? 1 : 0;
      }
    }
    CHECK(checked > 0);
    std::set<std::string> parents;
    for (const auto& [parent, sent] : flow.theirs) parents.insert(parent);
    for (const auto& [parent, sent] : flow.ours) parents.insert(parent);
    for (const std::string& parent : parents) {
      const auto message = flow.messages.find(parent);
      const std::string known = message == flow.messages.end()
                                    ? parent
                                    : message->second.message.body + to_json(Value(message->second.message.headers));
      CHECK(canonical(flow.ours[parent], known) == canonical(flow.theirs[parent], known));
    }
    // Chords that the client started were announced by it; of the others the worker has to.
    if (!name.starts_with("chord")) CHECK(flow.our_chords == their_chords);
  }
}
