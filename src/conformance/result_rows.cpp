// Records of tasks: stored whole, never going backwards, told to those who wait.
#include "conformance/backend_context.hpp"
#include "conformance/tables.hpp"

#include "core/uuid.hpp"

namespace errand::conformance {

namespace {

void unknown(BackendContext& c) {
  require(!c.backend().get(core::uuid4()).has_value(), "an id that nobody stored has no record");
  require(!c.backend().wait(core::uuid4(), Deadline::now()).has_value(), "and waiting for it gives nothing");
}

void whole(BackendContext& c) {
  TaskResult sent = c.record(c.fresh_id(), state::failure,
                             R"({"exc_type": "ValueError", "exc_message": ["b\u00f6se"], "exc_module": "builtins"})");
  sent.traceback =
      "Traceback (most recent call last):\n  File \"x.py\", line 1, in <module>\nValueError: b\xc3\xb6se \"quoted\"\n";
  sent.children_json = R"([[["child", null], null]])";
  sent.group_id = "group";
  sent.parent_id = "parent";
  sent.retries = 3;
  sent.extended = TaskResult::Extended{"errand.check", "[1, 2]", R"({"a": "b"})", "worker@host", "media"};
  c.put(sent);
  const TaskResult got = c.stored(sent.id);
  require_equal(sent.id, got.id, "id");
  require_equal(sent.state, got.state, "state");
  require(parse_json(sent.result_json) == parse_json(got.result_json), "the result comes back");
  require_equal(sent.traceback, got.traceback, "traceback");
  require(parse_json(sent.children_json) == parse_json(got.children_json), "the children come back");
  require_equal(sent.group_id, got.group_id, "group");
  require_equal(sent.parent_id, got.parent_id, "parent");
  require(got.done_at.has_value() && *got.done_at == *sent.done_at,
          "the time it was done comes back to the microsecond");
  require(got.extended.has_value(), "the extended fields come back");
  require_equal(sent.extended->name, got.extended->name, "name");
  require_equal(sent.extended->worker, got.extended->worker, "worker");
  require_equal(sent.extended->queue, got.extended->queue, "queue");
  require(parse_json(sent.extended->args_json) == parse_json(got.extended->args_json), "args come back");
  require(parse_json(sent.extended->kwargs_json) == parse_json(got.extended->kwargs_json), "kwargs come back");
}

void plain(BackendContext& c) {
  const TaskResult sent = c.record(c.fresh_id(), state::success, R"({"n": 1, "text": "gr\u00fc\u00df"})");
  c.put(sent);
  const TaskResult got = c.stored(sent.id);
  require_equal("", got.traceback, "no traceback stays none");
  require_equal("", got.group_id, "no group stays none");
  require_equal("", got.parent_id, "no parent stays none");
  require(parse_json(sent.result_json) == parse_json(got.result_json), "the result comes back");
}

void large(BackendContext& c) {
  const TaskResult sent = c.record(c.fresh_id(), state::success, '"' + std::string(2u << 20, 'x') + '"');
  c.put(sent);
  require(c.stored(sent.id).result_json == sent.result_json, "a result of megabytes comes back");
}

void batch(BackendContext& c) {
  std::vector<TaskResult> results;
  for (int i = 0; i < 200; ++i) results.push_back(c.record(c.fresh_id(), state::success, std::to_string(i)));
  c.backend().put(results);
  for (int i = 0; i < 200; i += 33) {
    require_equal(std::to_string(i), c.stored(results[static_cast<std::size_t>(i)].id).result_json,
                  "each record of a batch is its own");
  }
  c.backend().put({});
}

void progress(BackendContext& c) {
  const TaskId id = c.fresh_id();
  c.put(c.record(id, state::started, R"({"pid": 1, "hostname": "h"})", 1));
  require_equal(state::started, c.stored(id).state, "STARTED is stored");
  c.put(c.record(id, "PROGRESS", R"({"done": 1})", 1));
  require_equal("PROGRESS", c.stored(id).state, "a state of the task's own is stored");
  require(!c.stored(id).done_at.has_value(), "a state that is not ready has no time of completion");
  c.put(c.record(id, state::success, "7", 1));
  require_equal(state::success, c.stored(id).state, "SUCCESS replaces it");
}

void success_stays(BackendContext& c) {
  const TaskId id = c.fresh_id();
  c.put(c.record(id, state::success, "1", 1));
  for (const std::string_view later : {state::failure, state::started, state::retry, state::revoked, state::success}) {
    c.put(c.record(id, later, "2", 9));
    const TaskResult got = c.stored(id);
    require_equal(state::success, got.state, "a stored SUCCESS is never replaced");
    require_equal("1", got.result_json, "its result stays");
  }
}

void newer_replaces(BackendContext& c) {
  const TaskId id = c.fresh_id();
  c.put(c.record(id, state::retry, "null", 1));
  c.put(c.record(id, state::failure, "\"second\"", 2));
  require_equal(state::failure, c.stored(id).state, "a later delivery replaces an earlier one's record");
  c.put(c.record(id, state::success, "\"third\"", 3));
  require_equal(state::success, c.stored(id).state, "also a failure, after an operator's requeue");
}

void older_refused(BackendContext& c) {
  const TaskId id = c.fresh_id();
  c.put(c.record(id, state::started, "null", 7));
  c.put(c.record(id, state::failure, "\"late\"", 6));
  require_equal(state::started, c.stored(id).state,
                "a delivery that lost its lease does not replace the record of the one after it");
  c.put(c.record(id, state::success, "\"in time\"", 7));
  require_equal(state::success, c.stored(id).state, "the one that holds it does");
}

void forget(BackendContext& c) {
  const TaskId id = c.fresh_id();
  c.put(c.record(id, state::success, "1", 5));
  c.backend().forget(id);
  require(!c.backend().get(id).has_value(), "what was forgotten has no record");
  c.backend().forget(id);
}

void wait_finds(BackendContext& c) {
  const TaskId id = c.fresh_id();
  c.put(c.record(id, state::success, "1"));
  const auto got = c.backend().wait(id, Deadline::now());
  require(got.has_value() && got->result_json == "1", "waiting for what is there gives it at once");
}

void wait_deadline(BackendContext& c) {
  const TaskId id = c.fresh_id();
  c.put(c.record(id, state::started));
  const SteadyPoint began = std::chrono::steady_clock::now();
  require(!c.backend().wait(id, Deadline::after(Milliseconds{150})).has_value(),
          "a task that only started is not ready");
  const auto took = std::chrono::steady_clock::now() - began;
  require(took >= Milliseconds{145} && took < Milliseconds{2'000}, "wait() returns at the deadline");
}

void wait_pushed(BackendContext& c) {
  const TaskId id = c.fresh_id();
  auto writer = c.another();
  writer->get(id);
  SteadyPoint written, seen;
  std::optional<TaskResult> got;
  at_once({[&] {
             got = c.backend().wait(id, c.soon());
             seen = std::chrono::steady_clock::now();
           },
           [&] {
             for (const std::string_view state : {state::received, state::started}) {
               const TaskResult result = c.record(id, state);
               writer->put(std::span(&result, 1));
             }
             const TaskResult result = c.record(id, state::success, "\"done\"");
             written = std::chrono::steady_clock::now();
             writer->put(std::span(&result, 1));
           }});
  require(got.has_value(), "a result stored over another connection ends the wait");
  require_equal(state::success, got->state, "only a state that is ready ends the wait");
  const auto took = std::chrono::duration_cast<Microseconds>(seen - written);
  if (c.traits().pushes)
    require(took < Milliseconds{1'000}, "the wait is told of the result and does not look for it now and then");
  c.note("seen " + std::to_string(took.count()) + " us after put() began");
}

void expire(BackendContext& c) {
  // Records of the year 1970, so that nothing of the store's owner is touched.
  const TaskId old_id = c.fresh_id();
  const TaskId fresh = c.fresh_id();
  TaskResult old = c.record(old_id, state::success, "1");
  old.done_at = TimePoint{std::chrono::hours{24}};
  c.put(old);
  c.put(c.record(fresh, state::success, "2"));
  const std::size_t gone = c.backend().expire(TimePoint{std::chrono::hours{48}});
  require(c.backend().get(fresh).has_value(), "what is younger stays");
  if (gone == 0) throw Skipped{"the store expires records itself"};
  require(!c.backend().get(old_id).has_value(), "what is older is gone");
}

constexpr BackendCheck kRows[] = {
    {"result.unknown", "an id that nobody stored has no record", nullptr, unknown},
    {"result.whole", "every field of a record comes back", nullptr, whole},
    {"result.plain", "fields that were not set stay unset", nullptr, plain},
    {"result.large", "a result of megabytes comes back", nullptr, large},
    {"result.batch", "a batch stores each record", nullptr, batch},
    {"result.states", "states of progress are stored and replaced", nullptr, progress},
    {"result.success-stays", "a stored SUCCESS is never replaced", nullptr, success_stays},
    {"result.newer", "a later delivery replaces the record of an earlier one", nullptr, newer_replaces},
    {"result.fenced", "a delivery that lost its lease never replaces the record of a later one", nullptr,
     older_refused},
    {"result.forget", "what is forgotten is gone", nullptr, forget},
    {"wait.there", "waiting for a result that is there gives it at once", nullptr, wait_finds},
    {"wait.deadline", "waiting ends at the deadline", nullptr, wait_deadline},
    {"wait.pushed", "a result stored over another connection ends a wait", nullptr, wait_pushed},
    {"result.expire", "expire deletes records that are older", nullptr, expire},
};

}  // namespace

std::span<const BackendCheck> result_rows() { return kRows; }

}  // namespace errand::conformance
