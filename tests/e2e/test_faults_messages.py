"""Group K of the fault catalogue on the real worker: what lies in a queue is wrong, and nobody else notices."""
import base64
import collections
import json
import os
import pathlib
import sqlite3
import subprocess
import time
import uuid

import pytest

import bad_messages
from bad_messages import GOOD_BODY, envelope
from interop_support import program, wait_for


class Queue:
    """The queue "native" as whoever may write to the broker sees it: bytes in, dead letters out."""

    def __init__(self, native):
        self.native = native
        self.url = native.broker_url
        self.is_redis = self.url.startswith("redis")
        if self.is_redis:
            import redis

            self.client = redis.Redis.from_url(self.url)
        else:
            self.path = self.url.removeprefix("sqlite:///")

    def put(self, *parts):
        """Messages in parts; returns the bytes that the dead letters must give back."""
        if self.is_redis:
            return self.put_raw([bad_messages.to_list_entry(one) for one in parts])
        return self.put_raw([bad_messages.to_row(one) for one in parts])

    def put_raw(self, entries):
        if self.is_redis:
            pipe = self.client.pipeline(transaction=False)
            for entry in entries:
                pipe.lpush("native", entry)
            pipe.execute()
            return entries
        with sqlite3.connect(self.path, timeout=30) as database:
            database.execute("INSERT OR IGNORE INTO queue (name) VALUES ('native')")
            queue = database.execute("SELECT id FROM queue WHERE name = 'native'").fetchone()[0]
            for meta, body in entries:
                row = database.execute("INSERT INTO message (queue, urgency, meta, body, sent_at) VALUES (?, 9, CAST(? AS TEXT), ?, 0)",
                                       (queue, meta, body)).lastrowid
                database.execute("INSERT INTO ready VALUES (?, 9, ?, 0)", (queue, row))
        return [meta + b"\n" + body for meta, body in entries]

    def waiting(self):
        if self.is_redis:
            return self.client.llen("native") + self.client.hlen("errand:leases")
        with sqlite3.connect(self.path, timeout=30) as database:
            return sum(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("ready", "lease", "parked"))

    def dead(self):
        done = subprocess.run([program("dead_letters"), self.url, "native"], capture_output=True, timeout=60, check=True,
                              cwd=self.native.folder)
        letters = [json.loads(line) for line in done.stdout.splitlines()]
        for letter in letters:
            letter["raw"] = base64.b64decode(letter["raw"])
        return letters

    def drained(self, seconds=60):
        wait_for(lambda: self.waiting() == 0, "everything in the queue has been dealt with", seconds)


@pytest.fixture
def queue(native):
    native.run("status", "-b", native.broker_url)  # makes the file
    return Queue(native)


def processes_of(pid):
    """The worker and everything below it."""
    found = [pid]
    for one in found:
        for thread in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in thread.read_text().split()]
    return found


def complete(worker, children=2):
    """Its processes, once all are there: a worker is ready before it has forked. One of them forks the others."""
    return wait_for(lambda: len(found := processes_of(worker.pid)) == 2 + children and found, "every child has been forked")


def peak_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def events(worker):
    return [json.loads(line) for line in worker.log.read_text().splitlines()]


def assert_unharmed(native, worker, before):
    """I23: the same processes as before, none of them lost, and the next good task is answered."""
    assert worker.poll() is None, worker.log.read_text()[-4000:]
    assert processes_of(worker.pid) == before
    assert not [e for e in events(worker) if e["event"] in ("task.lost", "process.ended")]
    assert native.send("cpp.add", [1, 2])["result"] == 3


def expect_dead(native, queue, parts_of_reason, seconds=30):
    """Every one of {parts: reason} ends in the dead letters with that reason and its own bytes (I26)."""
    worker = native.worker()
    before = complete(worker)
    wanted = {}
    for parts, reason in parts_of_reason:
        (raw,) = queue.put(parts)
        wanted[raw] = reason
    queue.drained(seconds)
    letters = {letter["raw"]: letter for letter in queue.dead()}
    assert set(letters) == set(wanted)
    for raw, reason in wanted.items():
        got = letters[raw]
        assert f"{got['reason']}: {got['detail']}".startswith(reason), (raw[:300], got["reason"], got["detail"])
        assert got["deliveries"] == 1
        assert 0 <= got["first_seen"] <= got["last_seen"]
    assert_unharmed(native, worker, before)
    return letters


def test_F108_to_F119_ten_thousand_bad_messages_are_all_kept_byte_for_byte_and_the_next_good_task_is_answered(native, queue):
    count = 10_000
    make = bad_messages.list_entries if queue.is_redis else bad_messages.rows
    sent = queue.put_raw(make(count, seed=108))
    worker = native.worker("-l", "info")
    before = complete(worker)
    queue.drained(120)
    begin = time.monotonic()
    assert native.send("cpp.add", [1, 2])["result"] == 3
    answered = time.monotonic() - begin
    letters = queue.dead()
    assert collections.Counter(letter["raw"] for letter in letters) == collections.Counter(sent)
    assert all(letter["reason"] and letter["detail"] for letter in letters)
    reasons = collections.Counter(letter["reason"] for letter in letters)
    assert set(reasons) == {"UNDECODABLE", "BAD_HEADER", "BAD_BODY", "NOT_A_TASK", "CONTENT_DISALLOWED", "TOO_LARGE", "UNKNOWN_TASK"}
    assert answered < 10, "the next good task waits for nothing"
    assert_unharmed(native, worker, before)


def test_F110_F111_a_body_that_is_no_text_is_dead_with_its_bytes_and_the_sender_is_told(native, queue):
    cases = [(envelope(b"\xff\xfe\x00"), "BAD_BODY: body"), (envelope(b'[["\xff"], {}, {}]'), "UNDECODABLE: "),
             (envelope(b'[["\xed\xa0\x80"], {}, {}]'), "UNDECODABLE: "), (envelope(b""), "BAD_BODY: body")]
    letters = expect_dead(native, queue, cases)
    for letter in letters.values():
        told = native.result(letter["task_id"])
        assert (told["state"], told["error"]["type"]) == ("FAILURE", "DecodeError")
        assert letter["detail"] in told["error"]["message"]
        shown = native.run("dead", "show", "native", letter["id"], "-b", native.broker_url)
        assert "\\x" not in letter["detail"] or "\xff" not in shown.stdout


def test_F112_deep_nesting_and_a_million_keys_are_refused_at_a_named_limit(native, queue):
    wide = b"[[{" + b",".join(b'"%d":0' % i for i in range(1_000_000)) + b"}], {}, {}]"
    letters = expect_dead(native, queue, [
        (envelope(b"[[" + b"[" * 200_000 + b"]" * 200_000 + b"], {}, {}]"), "UNDECODABLE: "),
        (envelope(b"[[" + b'{"a":' * 200_000 + b"1" + b"}" * 200_000 + b"], {}, {}]"), "UNDECODABLE: "),
        (envelope(b'[[], {}, {"chain": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]"), "UNDECODABLE: "),
        (envelope(wide), "UNDECODABLE: "),
    ])
    assert all("limit" in letter["detail"] or "at most" in letter["detail"] for letter in letters.values())


def test_F113_F114_numbers_and_texts_at_the_edge_of_json_come_back_as_python_would_write_them(native, queue):
    native.worker()
    values = [2**53 + 1, 2**63 - 1, -2**63, 2**64, 10**4000, -0.0, 1e308, 5e-324, float("inf"), float("-inf"), "\x00",
              "\ud800", "\udfff\ud800", "\ufeff", {"a": 1, "b": [2**70, "\ud83d\ude00"]}]
    sent = []
    for value in values:
        parts = envelope(json.dumps([[value], {}, {}]).encode())
        sent.append((parts["headers"]["id"], value))
        queue.put(parts)
    for task_id, value in sent:
        got = wait_for(lambda: (r := native.result(task_id))["state"] != "PENDING" and r, f"an answer for {value!r}")
        assert got["state"] == "SUCCESS", (value, got)
        same = json.loads(json.dumps(value))  # a pair of surrogates is one character, as Python reads it
        assert got["result"] == same and type(got["result"]) is type(same)
    # Of two members with one name the last counts, as in Python; -0.0 keeps its sign; NaN is one.
    for body, check in [(b'[[{"a": 1, "a": 2}], {}, {}]', lambda r: r == {"a": 2}),
                        (b"[[-0.0], {}, {}]", lambda r: str(r) == "-0.0"), (b"[[NaN], {}, {}]", lambda r: r != r),
                        (b"[[1e400], {}, {}]", lambda r: r == float("inf"))]:
        parts = envelope(body)
        queue.put(parts)
        got = wait_for(lambda: (r := native.result(parts["headers"]["id"]))["state"] == "SUCCESS" and r, body)
        assert check(got["result"]), got
    assert queue.dead() == []


def test_F115_a_small_message_never_becomes_a_large_one(native, queue):
    worker = native.worker(concurrency=1)
    assert native.send("cpp.add", [1, 1])["result"] == 2
    before = complete(worker, children=1)
    peaks = {pid: peak_kib(pid) for pid in before}
    dead = 0

    def refused(plain, most_kib, methods):
        nonlocal dead
        sent = set()
        for method in methods:
            packed = bad_messages.CODECS[method](plain)
            if packed is not None:
                sent |= set(queue.put(envelope(packed, compression=method)))
        assert sent
        queue.drained()
        letters = queue.dead()[dead:]
        dead += len(letters)
        assert {letter["raw"] for letter in letters} == sent
        assert {letter["reason"] for letter in letters} == {"TOO_LARGE"}
        if "ERRAND_SANITIZE" in os.environ:
            return  # it keeps what was freed for a while, and so the peaks are its own
        for pid, peak in peaks.items():
            assert peak_kib(pid) - peak < most_kib, (pid, peak, peak_kib(pid))

    refused(b'[["' + b"a" * (16 << 20) + b'"], {}, {}]', 16 << 10, bad_messages.CODECS)
    # Below the ratio that is refused, and still beyond what any message may become. Four megabytes each on their way, and
    # copied a few times between the processes.
    refused(b'[["' + b"".join(b"%08d" % (i * 7919 % 100_000_000) for i in range(1_100_000)) + b'"], {}, {}]', 72 << 10,
            ["application/x-gzip", "application/zstd"])
    assert_unharmed(native, worker, before)


def test_F116_only_json_is_ever_read(native, queue):
    marker = native.folder / "ran"
    pickle = b"cposix\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    yaml = b"!!python/object/apply:os.system ['touch " + str(marker).encode() + b"']"
    expect_dead(native, queue, [
        (envelope(pickle, "application/x-python-serialize"), "CONTENT_DISALLOWED: "),
        (envelope(pickle, "application/pickle"), "CONTENT_DISALLOWED: "),
        (envelope(pickle, "application/json"), "BAD_BODY: "),
        (envelope(yaml, "application/x-yaml"), "CONTENT_DISALLOWED: "),
        (envelope(yaml, "application/json"), "BAD_BODY: "),
        (envelope(GOOD_BODY, "application/x-msgpack"), "CONTENT_DISALLOWED: "),
        (envelope(GOOD_BODY, "application/no-such-thing"), "CONTENT_DISALLOWED: "),
        (envelope(GOOD_BODY, "application/x-python-serialize"), "CONTENT_DISALLOWED: "),
        (envelope(GOOD_BODY, "application/data"), "CONTENT_DISALLOWED: "),
    ])
    assert not marker.exists()


def test_F117_a_task_nobody_knows_is_dead_and_the_sender_is_told_its_name(native, queue):
    letters = expect_dead(native, queue, [(envelope(task="no.such.task"), "UNKNOWN_TASK: no task named 'no.such.task'"),
                                          (envelope(task="../../etc/passwd\n"), "UNKNOWN_TASK: "),
                                          (envelope(task="x" * 100_000), "UNKNOWN_TASK: ")])
    for letter in letters.values():
        told = native.result(letter["task_id"])
        assert (told["state"], told["error"]["type"]) == ("FAILURE", "NotRegistered")


def test_F118_arguments_that_do_not_fit_are_a_failure_with_their_path_and_no_dead_letter(native, queue):
    worker = native.worker()
    before = complete(worker)
    cases = {b"[[1], {}, {}]": "y", b"[[1, 2, 3], {}, {}]": "argument", b'[[1, "x"], {}, {}]': "y", b'[[], {"x": 1, "z": 2}, {}]': "z",
             b"[[1, 99999999999999999999], {}, {}]": "y", b"[[1, 1.5], {}, {}]": "y", b"[[null, 1], {}, {}]": "x",
             b'[[1], {"x": 1}, {}]': "x"}
    for body, named in cases.items():
        parts = envelope(body, task="cpp.add")
        queue.put(parts)
        got = wait_for(lambda: (r := native.result(parts["headers"]["id"]))["state"] not in ("PENDING", "STARTED") and r, body)
        assert (got["state"], got["error"]["type"]) == ("FAILURE", "TypeError"), (body, got)
        assert named in got["error"]["message"], (body, got)
    queue.drained()
    assert queue.dead() == []
    assert_unharmed(native, worker, before)


def test_F119_a_header_of_the_wrong_type_is_named_in_the_dead_letter(native, queue):
    cases = []
    for name, values in bad_messages.WRONG_HEADERS.items():
        for value in values:
            if name == "compression":
                continue
            cases.append((envelope(**{name: value}), f"BAD_HEADER: {name}: expected "))
    assert len(cases) > 70
    expect_dead(native, queue, cases)


def test_F120_protocol_1_runs_and_unknown_headers_reach_the_task_and_its_successors(native, queue):
    native.worker()
    task_id = str(uuid.uuid4())
    old = {"task": "cpp.add", "id": task_id, "args": [40], "kwargs": {"y": 2}, "retries": 0, "eta": None, "expires": None,
           "utc": True, "callbacks": None, "errbacks": None, "timelimit": [None, None], "taskset": None, "chord": None}
    queue.put({"body": json.dumps(old).encode(), "content-type": "application/json", "content-encoding": "utf-8",
               "headers": {}, "properties": {}})
    got = wait_for(lambda: (r := native.result(task_id))["state"] == "SUCCESS" and r, "the protocol 1 task has run")
    assert got["result"] == 42
    parts = envelope(b"[[], {}, {}]", task="cpp.request", tenant="acme", x_unknown={"deep": [1, None]}, zzz=2**70)
    queue.put(parts)
    got = wait_for(lambda: (r := native.result(parts["headers"]["id"]))["state"] == "SUCCESS" and r, "the task has run")
    assert got["result"]["headers"]["tenant"] == "acme"
    assert got["result"]["headers"]["x_unknown"] == {"deep": [1, None]}
    assert got["result"]["headers"]["zzz"] == 2**70
    # A retry is a new message: what Errand does not know travels with it.
    parts = envelope(b"[[1], {}, {}]", task="cpp.flaky", tenant="acme")
    queue.put(parts)
    wait_for(lambda: native.result(parts["headers"]["id"])["state"] == "SUCCESS", "the task ran again")
    assert queue.dead() == []


def signature(task="no.such", args=(), **options):
    return {"task": task, "args": list(args), "kwargs": {}, "options": {"queue": "elsewhere", **options}, "subtask_type": None,
            "immutable": True}


def test_F122_hostile_callbacks_end_at_a_named_limit_before_the_task_runs(native, queue):
    deep = signature()
    for _ in range(150):
        deep = signature(link=[deep])
    nested = json.dumps(signature())
    for _ in range(1_200):
        nested = '{"task": "a", "args": [], "options": {"link": [' + nested + "]}}"
    bodies = {
        "links": json.dumps([["x"], {}, {"callbacks": [signature()] * 10_001}]),
        "chain": json.dumps([["x"], {}, {"chain": [signature()] * 100_000}]),
        "depth": '[["x"], {}, {"callbacks": [' + nested + "]}]",
        "errbacks": json.dumps([["x"], {}, {"errbacks": [signature()] * 5_000, "callbacks": [signature()] * 5_001}]),
    }
    cases = [(envelope(body.encode()), "") for body in bodies.values()]
    letters = expect_dead(native, queue, cases, 60)
    for letter in letters.values():
        assert letter["reason"] in ("TOO_LARGE", "UNDECODABLE"), letter["detail"]
        assert "more than" in letter["detail"] or "limit" in letter["detail"] or "at most" in letter["detail"]
    # Nothing of it was sent on.
    infos = json.loads(native.run("queues", "-b", native.broker_url, "--json").stdout)
    assert "elsewhere" not in json.dumps(infos)


def test_F122_a_reply_goes_to_the_result_backend_and_never_to_a_queue_a_message_names(native, queue):
    native.worker()
    parts = envelope(properties={"reply_to": "victim", "correlation_id": "x"})
    queue.put(parts)
    wait_for(lambda: native.result(parts["headers"]["id"])["state"] == "SUCCESS", "the task has run")
    assert "victim" not in native.run("queues", "-b", native.broker_url, "--json").stdout


def test_I26_requeued_dead_letters_are_the_same_bytes_again(native, queue):
    native.worker()
    sent = queue.put(*list(bad_messages.by_hand())[:60])
    queue.drained()
    first = queue.dead()
    assert sorted(letter["raw"] for letter in first) == sorted(sent)
    done = native.run("dead", "requeue", "native", *[letter["id"] for letter in first], "-b", native.broker_url)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: len(queue.dead()) == len(sent) and queue.waiting() == 0, "all are dead again")
    second = queue.dead()
    assert sorted(letter["raw"] for letter in second) == sorted(sent)
    assert {letter["id"] for letter in second}.isdisjoint(letter["id"] for letter in first)


def test_F126_a_flood_of_wrong_and_hostile_commands_and_events_hurts_nobody(native, queue):
    if not queue.is_redis:
        pytest.skip("nobody broadcasts raw bytes into a file; its rows are tested above")
    worker = native.worker()
    before = complete(worker)
    database = native.broker_url.rsplit("/", 1)[1]
    control, news = f"/{database}.celery.pidbox", f"/{database}.celeryev/worker.heartbeat"
    wait_for(lambda: queue.client.publish(control, b"\xff") > 0, "somebody listens")

    def command(**body):
        return json.dumps({"body": base64.b64encode(json.dumps(body).encode()).decode(), "content-type": "application/json",
                           "content-encoding": "utf-8", "headers": {"clock": 1, "expires": None},
                           "properties": {"body_encoding": "base64", "delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": ""}}})

    rubbish = [b"", b"\x00", b"{", b"[" * 2_000, b"null", command(), command(method=5), command(method="ping", destination=5),
               command(method="revoke", arguments={"task_id": ["x" * 100] * 20}), command(method="no_such"), command(method="__class__"),
               command(method="time_limit", arguments={"task_name": "cpp.add", "hard": 1e308, "soft": -1e308}),
               command(method="rate_limit", arguments={"task_name": "cpp.add", "rate_limit": "1e400/s"}),
               command(method="ping", reply_to={"exchange": "", "routing_key": "native"}, ticket="t"),
               command(method="ping", matcher="pcre", pattern="(a+)+$")]
    pipe = queue.client.pipeline(transaction=False)
    for _ in range(300):
        for one in rubbish:
            pipe.publish(control, one)
            pipe.publish(news, one)
    pipe.execute()
    assert_unharmed(native, worker, before)
    assert queue.dead() == [], "no answer was written into the queue"
    wait_for(lambda: [e for e in events(worker) if e["event"] == "control.flood"], "it says that there were too many")
    assert len([e for e in events(worker) if e["event"].startswith("control.")]) < 60
    # And it listens again: what it took is bounded by rate, not for ever.
    wait_for(lambda: worker.poll() is not None or not queue.client.publish(control, command(method="shutdown")) and worker.poll() is not None,
             "a command is heard again", 30)
    assert worker.returncode == 0
