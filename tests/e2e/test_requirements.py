"""What applications need of a task queue, by the number of the need: seen from outside, on SQLite and on Redis."""
import collections
import json
import pathlib
import pickle
import socket
import sqlite3
import subprocess
import sys

import pytest
import redis

from interop_support import Native, faked_time, free_port, missing, program, wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from http_service import Service  # noqa: E402


def lines_of(worker, *events):
    """The worker's log so far; the last line may be half written."""
    text = worker.log.read_text()
    lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return [line for line in lines if not events or line.get("event") in events]


def run_json(native, *arguments, code=0):
    done = native.run(*arguments, "-b", native.broker_url, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def queue_of(native, name):
    return next((one for one in run_json(native, "queues") if one["name"] == name), collections.Counter())


def ended(native, task_id, seconds=60):
    return wait_for(lambda: (r := native.result(task_id))["state"] in ("SUCCESS", "FAILURE") and r, "the task has ended",
                    seconds)


@pytest.fixture
def service():
    one = Service()
    yield one
    one.stop()


def test_AT_19_a_fatal_error_is_not_retried_and_a_retryable_one_until_its_limit(native):
    worker = native.worker()
    fatal = native.send("cpp.provider", ["fatal"])
    assert fatal["state"] == "FAILURE" and "wrong credentials" in fatal["error"]["message"]
    away = native.send("cpp.provider", ["away"])
    assert away["state"] == "FAILURE" and "the provider is away" in away["error"]["message"]
    retried = [line for line in lines_of(worker, "task.retried")]
    assert [line["task_id"] for line in retried] == [away["id"]] * 2
    assert [line["retry_number"] for line in retried] == [0, 1]
    assert all("the provider is away" in line["message"] for line in retried)


def test_AT_22_an_ignored_result_is_not_stored_and_its_failure_is_still_told(native):
    worker = native.worker()
    quiet = native.send("cpp.ignored", [1], wait=False)
    broken = native.send("cpp.fail", ["no"], None, "--ignore-result", wait=False)
    wait_for(lambda: {line["task_id"] for line in lines_of(worker, "task.succeeded", "task.failed")}
             >= {quiet["id"], broken["id"]}, "both have run")
    assert native.send("cpp.add", [1, 2])["result"] == 3  # whatever there was to store is stored by now
    assert native.result(quiet["id"])["state"] == "PENDING"
    assert native.result(broken["id"])["state"] == "PENDING"
    failed = lines_of(worker, "task.failed")
    assert [line["task_id"] for line in failed] == [broken["id"]] and "ValueError" in failed[0]["message"]


def test_AT_24_the_failure_hook_runs_once_when_thrown_timed_out_or_killed(native):
    told = native.folder / "hooks"
    worker = native.worker(extra_env={"INTEROP_HOOKS": str(told)})
    # By place, by name, mixed: the hook gets the same typed arguments.
    sent = {
        native.send("cpp.hooked", ["throw", 1], wait=False)["id"]: ("ValueError", "throw", 1),
        native.send("cpp.hooked", [], {"how": "time", "portfolio_id": 2}, wait=False)["id"]: ("TimeLimitExceeded", "time", 2),
        native.send("cpp.hooked", ["kill"], {"portfolio_id": 3}, wait=False)["id"]: ("WorkerLostError", "kill", 3),
    }
    for task_id, (error, _, _) in sent.items():
        answer = ended(native, task_id)
        assert (answer["state"], answer["error"]["type"]) == ("FAILURE", error), "what the hook throws changes nothing"
    assert sorted(told.read_text().splitlines()) == sorted(
        f"{task_id} {error} {how} {portfolio}" for task_id, (error, how, portfolio) in sent.items())
    assert "the hook itself fails" in worker.log.read_text()


def test_AT_37_every_line_of_a_worker_that_does_everything_is_json(native):
    worker = native.worker()
    native.send("cpp.add", [1, 2])
    failed = native.send("cpp.fail", ["the reason"])
    native.send("cpp.flaky", [1])
    native.send("cpp.crash", [], timeout=60)
    native.send("cpp.nowhere", [], None, "--queue", "native", wait=False)
    wait_for(lambda: lines_of(worker, "task.dead_lettered"), "the unknown task is told")
    for line in lines_of(worker):
        assert line["source"] == "queue" and line["timestamp"] and line["severity"] and line["event"] and line["message"]
        if line["event"].startswith("task."):
            assert line["task_id"] and line["task_name"] and line["queue"] == "native"
    told = next(line for line in lines_of(worker, "task.failed") if line["task_id"] == failed["id"])
    assert "ValueError: the reason" in told["message"]


def published(native):
    return json.loads(native.run("tasks", "--json").stdout)


def test_CP_3_a_stub_that_disagrees_with_the_workers_is_shown_beside_their_signature(native):
    theirs = published(native)
    mine = json.loads(json.dumps(theirs))
    mine["tasks"] = {name: mine["tasks"][name] for name in ("cpp.add", "cpp.echo", "cpp.bytes")}
    y = mine["tasks"]["cpp.add"]["parameters"]["properties"]["y"]
    y.clear()
    y["type"] = "string"
    (native.folder / "mine.json").write_text(json.dumps(mine))
    (native.folder / "theirs.json").write_text(json.dumps(theirs))

    def errand(*arguments):  # the plain program, which has no tasks of its own
        return subprocess.run([program("errand"), *arguments, "-b", native.broker_url], capture_output=True, text=True,
                              cwd=native.folder, timeout=30)

    by_file = errand("check", "catalogue", "--catalogue", "mine.json", "theirs.json")
    assert by_file.returncode == 1, by_file.stderr
    shown = by_file.stdout.splitlines()
    assert shown[0] == "cpp.add differs"
    assert shown[1].startswith("  here   cpp.add(x: integer, y: text) -> integer  version ")
    assert shown[2].startswith("  there  cpp.add(x: integer, y: integer) -> integer  version ")
    assert shown[-1] == "2 agree, 1 differ, 0 not there"

    nobody = errand("check", "catalogue", "--catalogue", "mine.json", "--timeout", "100ms")
    assert nobody.returncode == 1 and "no native worker answered" in nobody.stderr
    native.worker("-n", "w1@there")
    running = errand("check", "catalogue", "--catalogue", "mine.json", "--json", "--timeout", "2s")
    assert running.returncode == 1
    verdicts = {one["task"]: one for one in json.loads(running.stdout)["tasks"]}
    assert {name: one["verdict"] for name, one in verdicts.items()} == {
        "cpp.add": "differs", "cpp.bytes": "agrees", "cpp.echo": "agrees"}
    assert verdicts["cpp.add"]["there"] == "w1@there"
    assert verdicts["cpp.add"]["our_version"] != verdicts["cpp.add"]["their_version"]

    agreed = native.run("check", "catalogue", "theirs.json")
    assert agreed.returncode == 0, agreed.stdout
    # What the other side does not have is told, and is a disagreement when asked for.
    del theirs["tasks"]["cpp.slow"]
    (native.folder / "theirs.json").write_text(json.dumps(theirs))
    assert native.run("check", "catalogue", "theirs.json").returncode == 0
    strict = native.run("check", "catalogue", "theirs.json", "--strict")
    assert strict.returncode == 1 and "cpp.slow is not there (theirs.json)" in strict.stdout


def test_CP_4_names_are_strict_when_asked_and_open_otherwise(native):
    native.worker()
    strict = native.run("send", "cpp.unheard", "[]", "--strict", "-b", native.broker_url, "--queue", "native")
    assert strict.returncode == 2 and "cpp.unheard" in strict.stderr
    assert queue_of(native, "native")["dead"] == 0
    sent = native.send("cpp.unheard", [], None, "--queue", "native", wait=False)
    letters = wait_for(lambda: run_json(native, "dead", "list", "native"), "it is kept, not dropped")
    assert (letters[0]["task_id"], letters[0]["reason"]) == (sent["id"], "UNKNOWN_TASK")


def test_CP_5_a_task_of_another_file_runs_and_is_listed_without_a_line_elsewhere(native):
    native.worker()
    entry = published(native)["tasks"]["cpp.linked"]
    assert (entry["queue"], entry["retry"]) == ("native", "fixed(5s) x2")
    assert entry["order"] == ["word"]
    assert native.send("cpp.linked", ["in"])["result"] == "linked in"


def test_CP_21_a_child_has_its_id_while_the_result_store_is_away(redis_server, tmp_path):
    # Tasks on SQLite, results on a Redis that is not there yet.
    port = free_port()
    native = Native(f"sqlite:///{tmp_path}/errand.db", tmp_path)
    results = ("--result-backend", f"redis://127.0.0.1:{port}/0")
    server = None
    try:
        native.worker(*results)
        sent = native.send("cpp.fan_out", ["cpp.add", "elsewhere", [1, 2], 1], None, *results, wait=False)
        wait_for(lambda: queue_of(native, "elsewhere")["ready"] == 1, "the child is sent although nothing can be stored")
        server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir",
                                   str(tmp_path)], stdout=subprocess.DEVNULL)
        client = redis.Redis(port=port)

        def stored(task_id):
            try:
                return client.get(f"celery-task-meta-{task_id}")
            except redis.ConnectionError:
                return None

        record = json.loads(wait_for(lambda: stored(sent["id"]), "the result is stored once the store is back", 60))
        child, = record["result"]
        assert queue_of(native, "elsewhere")["ready"] == 1, "it was sent once"
        native.worker(*results, queue="elsewhere")
        assert json.loads(wait_for(lambda: stored(child), "the child runs under that id"))["parent_id"] == sent["id"]
    finally:
        native.stop()
        if server is not None:
            server.terminate()
            server.wait(10)


class Exploding:
    """A pickle that would leave a file behind if anybody ran it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_CP_28_a_pickled_result_is_shown_as_unsupported_and_never_run(redis_server, tmp_path, errand):
    client = redis.Redis(port=redis_server, db=14)
    client.flushdb()
    proof = tmp_path / "executed"
    client.set("celery-task-meta-evil", pickle.dumps({"status": "SUCCESS", "result": Exploding(proof), "task_id": "evil"}))
    url = f"redis://127.0.0.1:{redis_server}/14"
    shown = errand("result", "evil", "-b", url)
    assert "unsupported result" in shown.stdout + shown.stderr
    assert shown.returncode == 1
    assert not proof.exists()


def everything_stored(native):
    """Every byte at rest, as text."""
    if native.broker_url.startswith("sqlite"):
        with sqlite3.connect(native.broker_url.removeprefix("sqlite:///")) as db:
            return "\n".join(str(row) for (table,) in db.execute("select name from sqlite_master where type = 'table'")
                             for row in db.execute(f'select * from "{table}"'))
    client = redis.Redis.from_url(native.broker_url)
    readers = {b"string": client.get, b"list": lambda k: client.lrange(k, 0, -1), b"hash": client.hgetall,
               b"set": client.smembers, b"zset": lambda k: client.zrange(k, 0, -1, withscores=True)}
    return "\n".join(f"{key} {readers[client.type(key)](key)}" for key in client.keys())


def test_CP_29_a_secret_that_was_retried_is_at_rest_in_its_message_only(native):
    canary = "canary-2b61e"
    waiting = native.send("cpp.secret_retry", ["ann", canary], wait=False)
    assert everything_stored(native).count(canary) in (0, 1)  # on Redis the body is base64
    worker = native.worker()
    answer = ended(native, waiting["id"])
    assert answer["result"] == f"ann:{len(canary)}"
    wait_for(lambda: queue_of(native, "native")["leased"] == 0, "the message is settled")
    assert canary not in everything_stored(native)
    assert "********" in everything_stored(native), "what is kept of the arguments says that something is masked"
    assert lines_of(worker, "task.retried") and canary not in worker.log.read_text()
    by_name = native.run("send", "cpp.secret_retry", '["ann"]', "--kwargs", json.dumps({"api_key": canary, "wrong": 1}),
                         "-b", native.broker_url)
    assert by_name.returncode == 2 and canary not in by_name.stderr
    assert canary not in native.run("tasks", "--json").stdout


def test_CP_30_a_message_over_the_limit_is_refused_before_it_is_sent(native):
    (native.folder / "errand.toml").write_text('max_message_size = "4KiB"\n')
    done = native.run("send", "cpp.echo", json.dumps(["x" * 5000]), "-b", native.broker_url, "--queue", "native")
    assert done.returncode == 2, done.stdout
    assert "4096" in done.stderr and "max_message_size" in done.stderr
    assert queue_of(native, "native")["ready"] == 0


def test_DZ_3_four_workers_with_disjoint_queues_run_a_hundred_tasks_each_and_nothing_else(native):
    roles = ("build", "database", "proxy", "appserver")
    workers = {role: native.worker("-n", f"{role}@host", "-P", "threads", queue=role) for role in roles}
    sender = native.worker("-n", "sender@host")
    left = native.send("cpp.add", [0, 0], None, "--queue", "celery", wait=False)
    ids = {role: set(native.send("cpp.fan_out", ["cpp.request", role, [], 100])["result"]) for role in roles}
    for role in roles:
        wait_for(lambda: {line["task_id"] for line in lines_of(workers[role], "task.succeeded")} >= ids[role],
                 f"{role} has run its tasks", 60)
    for role in roles:
        ran = lines_of(workers[role], "task.succeeded")
        assert {line["task_id"] for line in ran} == ids[role] and {line["queue"] for line in ran} == {role}
        assert native.result(next(iter(ids[role])))["worker"] == f"{role}@host"
    assert queue_of(native, "celery")["ready"] == 1, "nobody asked for the default queue"
    assert left["id"] not in sender.log.read_text()


def test_DZ_4_a_queue_per_host_is_named_by_its_host_and_must_be_given(native):
    native.worker(queue="appserver_%h")
    refused = native.run("send", "cpp.per_host", "[]", "-b", native.broker_url)
    assert refused.returncode == 2 and "queue" in refused.stderr
    queue = f"appserver_{socket.gethostname()}"
    assert native.send("cpp.per_host", [], None, "--queue", queue)["result"] == queue


FIELDS = {"timestamp", "severity", "source", "event", "message", "process", "pid", "task_id", "task_name", "queue", "retry_number",
          "duration"}


def test_GN_9_success_retry_and_failure_are_told_in_the_same_fields(native):
    worker = native.worker()
    native.send("cpp.flaky", [1])
    native.send("cpp.always_retry")
    told = lines_of(worker, "task.succeeded", "task.retried", "task.failed")
    assert {line["event"] for line in told} == {"task.succeeded", "task.retried", "task.failed"}
    for line in told:
        assert set(line) - {"detail", "version"} == FIELDS, line
        assert f"(queue: {line['queue']})" in line["message"] and line["duration"] >= 0


def test_GN_9_the_clock_set_back_in_mid_task_leaves_the_duration_right(native):
    clock = native.folder / "clock"
    clock.write_text("+0\n")
    worker = native.worker(extra_env=faked_time(FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_NO_CACHE="1"))
    sent = native.send("cpp.slow", [1.5], wait=False)
    wait_for(lambda: any(line["task_id"] == sent["id"] for line in lines_of(worker, "task.started")), "it runs")
    clock.write_text("-2h\n")
    line = wait_for(lambda: next((one for one in lines_of(worker, "task.succeeded") if one["task_id"] == sent["id"]), None),
                    "it ends", 60)
    began = next(one for one in lines_of(worker, "task.started") if one["task_id"] == sent["id"])
    assert line["timestamp"] < began["timestamp"], "the clock went back while it ran"
    assert 1.5 <= line["duration"] < 60


def test_GN_16_a_service_that_hangs_does_not_hold_up_the_others(native, service):
    native.worker("-P", "threads", queue="native,callbacks-retry", concurrency=11)
    hung = native.send("cpp.callback", [service.port, "/hang", 60.0], wait=False)
    wait_for(lambda: service.hanging == 1, "one callback hangs")
    native.send("cpp.fan_out", ["cpp.callback", "native", [service.port, "/ok", 5.0], 99])
    wait_for(lambda: len(service.arrivals["/ok"]) == 99, "the healthy ones are served meanwhile", 50)
    assert service.hanging == 1
    service.release()
    assert ended(native, hung["id"])["result"] == 200


def test_GN_16_only_429_5xx_and_refusals_are_tried_again_five_times_and_spaced(native, service):
    worker = native.worker("-P", "threads", queue="native,callbacks-retry", concurrency=11)
    ids = {path: native.send("cpp.callback", [service.port, path, 5.0], wait=False)["id"]
           for path in ("/400", "/404", "/429", "/500")}
    ids["refused"] = native.send("cpp.callback", [free_port(), "/ok", 5.0], wait=False)["id"]
    for task_id in ids.values():
        assert ended(native, task_id)["state"] == "FAILURE"
    assert {path: len(service.arrivals[path]) for path in ("/400", "/404", "/429", "/500")} == {
        "/400": 1, "/404": 1, "/429": 6, "/500": 6}
    retried = collections.Counter(line["task_id"] for line in lines_of(worker, "task.retried"))
    assert retried == {ids["/429"]: 5, ids["/500"]: 5, ids["refused"]: 5}
    for path in ("/429", "/500"):
        times = service.arrivals[path]
        assert all(later - earlier >= 0.29 for earlier, later in zip(times, times[1:])), times


def test_GN_17_thousands_of_failing_callbacks_retry_in_a_queue_of_their_own(native, service):
    count = 3000
    down = free_port()
    worker = native.worker("-P", "threads", "-l", "info", queue="native,callbacks,callbacks-retry,retry-tasks",
                           concurrency=11)
    native.send("cpp.fan_out", ["cpp.delivery", "callbacks", [down, "/ok", 5.0], count], timeout=120)

    def in_retry():
        one = queue_of(native, "callbacks-retry")
        return one["ready"] + one["parked"] + one["leased"]

    wait_for(lambda: in_retry() > count * 0.9, "nearly all wait in the retry queue", 120)
    fresh = native.send("cpp.callback", [service.port, "/ok", 5.0], None, "--queue", "callbacks", timeout=60)
    assert fresh["result"] == 200
    assert in_retry() > count * 0.9, "the fresh one was served while they failed on"
    back = Service(down)
    try:
        wait_for(lambda: len(back.arrivals["/ok"]) >= count, "all are delivered once the service is back", 180)
        wait_for(lambda: in_retry() == 0, "the retry queue is empty", 60)
    finally:
        back.stop()
    assert len(back.arrivals["/ok"]) == count
    assert queue_of(native, "callbacks")["ready"] == 0
    assert {line["queue"] for line in lines_of(worker, "task.retried")} - {"callbacks-retry"} == {"callbacks"}
    assert not any(line.get("queue") == "retry-tasks" for line in lines_of(worker)), "nothing ever went there"


def test_GN_48_a_call_by_name_is_checked_where_a_catalogue_is_known_and_sent_where_none_is(native, errand):
    (errand.folder / "letters.json").write_text(native.run("tasks", "--json").stdout)
    wrong = ("send", "cpp.add", '["one", 2]', "--queue", "native", "-b", native.broker_url)
    refused = errand(*wrong, "--catalogue", "letters.json")
    assert refused.returncode == 2
    assert "x: expected integer, got text" in refused.stderr
    assert queue_of(native, "native")["ready"] == 0
    assert errand(*wrong).returncode == 0
    assert queue_of(native, "native")["ready"] == 1


def test_check_broker_tries_every_promise_on_a_users_own_server(native):
    shown = run_json(native, "check", "broker", "--only", "queue")
    verdicts = collections.Counter(check["verdict"] for check in shown["checks"])
    assert verdicts["passed"] >= 5 and verdicts["failed"] == 0, shown
    assert all(check["promise"] for check in shown["checks"])
    plain = native.run("check", "broker", "--only", "queue", "-b", native.broker_url)
    assert plain.stdout.splitlines()[-1].startswith(f"{verdicts['passed']} passed, 0 failed")
    away = native.run("check", "broker", "-b", f"redis://127.0.0.1:{free_port()}/0")
    assert away.returncode == 1 and "refused" in away.stderr
