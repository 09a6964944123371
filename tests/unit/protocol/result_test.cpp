#include "protocol/decode_failure.hpp"
#include "protocol/exception.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/result_json.hpp"

#include <errand/error.hpp>
#include <errand/retry.hpp>

#include <doctest/doctest.h>

#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

using namespace errand;
using namespace errand::protocol;

namespace {

const TimePoint kDone = *read_time("2026-11-22T05:45:46.598707+00:00");

template <class E>
ExceptionInfo described(const E& error) {
  return describe_exception(std::make_exception_ptr(error));
}

}  // namespace

TEST_CASE("a result is written with the fields and the order of Celery's own") {
  TaskResult result{.id = "436e", .state = "SUCCESS", .result_json = "5", .done_at = kDone};
  CHECK(encode_result(result) == R"({"status": "SUCCESS", "result": 5, "traceback": null, "children": [], )"
                                 R"("date_done": "2026-11-22T05:45:46.598707+00:00", "task_id": "436e"})");
  result.group_id = "g";
  result.parent_id = "p";
  result.retries = 2;
  result.extended =
      TaskResult::Extended{.name = "t", .args_json = "[1]", .kwargs_json = "{}", .worker = "w@h", .queue = "q"};
  CHECK(
      encode_result(result) ==
      R"({"status": "SUCCESS", "result": 5, "traceback": null, "children": [], )"
      R"("date_done": "2026-11-22T05:45:46.598707+00:00", "group_id": "g", "parent_id": "p", "name": "t", "args": [1], )"
      R"("kwargs": {}, "worker": "w@h", "retries": 2, "queue": "q", "task_id": "436e"})");
}

TEST_CASE("a result reads back as it was written, its value unparsed") {
  TaskResult result{.id = "i",
                    .state = "PROGRESS",
                    .result_json = "{\"current\":  1}",
                    .traceback = "line\n",
                    .children_json = "null"};
  result.extended = TaskResult::Extended{.name = "t", .args_json = "[NaN]"};
  const TaskResult back = read_result(encode_result(result));
  CHECK(back.id == "i");
  CHECK(back.state == "PROGRESS");
  CHECK(back.result_json == result.result_json);
  CHECK(back.traceback == "line\n");
  CHECK(back.children_json == "null");
  CHECK_FALSE(back.done_at);
  REQUIRE(back.extended);
  CHECK(back.extended->args_json == "[NaN]");
  CHECK(back.extended->kwargs_json == "null");
}

TEST_CASE("a date without offset is UTC, as Celery before 5.5 wrote it") {
  const auto back = read_result(R"({"status": "SUCCESS", "date_done": "2026-11-22T05:45:46.598707", "unknown": [1]})");
  CHECK(back.done_at == kDone);
}

TEST_CASE("what is no result is refused, never guessed") {
  for (const char* text : {"", "null", "[]", "{}", R"({"status": 5})", R"({"status": "X", "date_done": "never"})",
                           R"({"status": "X", "retries": -1})", R"({"status": "X"} y)", R"({"status": "X")"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(read_result(text), DecodeFailure);
  }
}

TEST_CASE("groups and chord parts are Celery's tuples") {
  const std::vector<TaskId> members{"a", "b"};
  CHECK(encode_group("g", members) == R"({"result": [["g", null], [[["a", null], null], [["b", null], null]]]})");
  CHECK(read_group(encode_group("g", members)) == members);
  CHECK(
      read_group(
          R"({"result": [["g", null], [[["a", [["p", null], null]], null], [["h", null], [[["c", null], null]]]]]})") ==
      std::vector<TaskId>{"a", "c"});
  CHECK_THROWS_AS(read_group("{}"), DecodeFailure);
  CHECK_THROWS_AS(read_group(R"({"result": [5]})"), DecodeFailure);
  const ChordPart part{.id = "a", .state = "SUCCESS", .result_json = "2", .index = 0};
  CHECK(encode_chord_part(part) == R"([1, "a", "SUCCESS", 2])");
  CHECK(read_chord_part(encode_chord_part(part)).result_json == "2");
}

TEST_CASE("C++ exceptions become classes that every Python knows") {
  CHECK(described(std::invalid_argument("x")).to_json() ==
        R"({"exc_type": "ValueError", "exc_message": ["x"], "exc_module": "builtins"})");
  CHECK(described(std::out_of_range("x")).type == "IndexError");
  CHECK(described(std::runtime_error("x")).type == "RuntimeError");
  CHECK(described(std::logic_error("x")).type == "RuntimeError");
  CHECK(described(std::overflow_error("x")).type == "OverflowError");
  CHECK(described(std::bad_alloc()).type == "MemoryError");
  CHECK(described(std::system_error(std::make_error_code(std::errc::no_such_file_or_directory))).type ==
        "FileNotFoundError");
  CHECK(described(std::system_error(std::make_error_code(std::errc::io_error))).type == "OSError");
  CHECK(described(Error({.kind = ErrorKind::unavailable, .operation = "op"})).type == "ConnectionError");
  CHECK(described(SoftTimeLimitExceeded()).to_json() ==
        R"({"exc_type": "SoftTimeLimitExceeded", "exc_message": [], "exc_module": "billiard.exceptions"})");
  CHECK(described(42).module == "errand.exceptions");
  CHECK(describe_exception(nullptr).type == "UnknownError");
}

TEST_CASE("a TaskError is written as it says, in builtins where Python has such a class") {
  CHECK(described(TaskError("KeyError", "k")).module == "builtins");
  CHECK(described(TaskError("SizeError", "k")).module == "errand.exceptions");
  CHECK(described(TaskError("SizeError", "k", "shop.errors")).module == "shop.errors");
}

TEST_CASE("messages that are no UTF-8 or too long are made storable") {
  CHECK(described(std::runtime_error("a\xff"
                                     "b"))
            .to_json() == R"({"exc_type": "RuntimeError", "exc_message": ["a\ufffdb"], "exc_module": "builtins"})");
  CHECK(described(std::runtime_error(std::string(1u << 20, 'x'))).to_json().size() < (70u << 10));
}

TEST_CASE("what a worker writes for tasks that could not end themselves has Celery's words") {
  CHECK(not_registered("a.b").to_json() ==
        R"({"exc_type": "NotRegistered", "exc_message": ["a.b"], "exc_module": "celery.exceptions"})");
  CHECK(time_limit_exceeded(1).to_json() ==
        R"({"exc_type": "TimeLimitExceeded", "exc_message": [1], "exc_module": "billiard.exceptions"})");
  CHECK(time_limit_exceeded(1.5).text() == "TimeLimitExceeded: 1.5");
  CHECK(worker_lost(9, 0).text() == "WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL).");
  CHECK(worker_lost(0, 3).text() == "WorkerLostError: Worker exited prematurely: exitcode 3.");
  CHECK(expired().text() == "TaskRevokedError: expired");
  const ExceptionInfo cause{"ValueError", "builtins", {"deliberate error", 42}};
  CHECK(chord_error("m", cause).text() == "ChordError: Dependency m raised ValueError('deliberate error', 42)");
  CHECK(exception_json("ValueError", "x", "builtins") ==
        R"({"exc_type": "ValueError", "exc_message": ["x"], "exc_module": "builtins"})");
}

// S22: names in results are text to show, whatever they say.
TEST_CASE("exceptions of peers are read as text, in either form of exc_message") {
  const ExceptionInfo info =
      read_exception(R"({"exc_type": "os.system", "exc_message": ["rm", 42], "exc_module": "os"})");
  CHECK(info.text() == "os.system: rm, 42");
  CHECK(info.module == "os");
  CHECK(read_exception(R"({"exc_type": "E", "exc_message": "old", "exc_module": null})").text() == "E: old");
  CHECK(read_exception("5").text() == "Exception: 5");
  CHECK(read_exception("{broken").text() == "Exception: {broken");
}
