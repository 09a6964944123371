"""Group J of the fault catalogue: clocks that jump, run at another speed or stand still, under the real worker."""
import json
import os
import signal
import time

import pytest

from bad_messages import envelope
from interop_support import Native, faked_time, wait_for
from test_faults_messages import Queue


class Clock:
    """The wall clock of the processes that get its environment: real time plus an offset, or at another speed."""

    def __init__(self, folder):
        self.file = folder / "clock"
        self.set("+0s")
        self.environment = faked_time(FAKETIME_TIMESTAMP_FILE=str(self.file), FAKETIME_NO_CACHE="1", NO_FAKE_STAT="1")

    def set(self, text):
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text + "\n")
        fresh.replace(self.file)


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path)


def events(worker, *names):
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    return [line for line in lines if line["event"] in names]


def starts(workers, task_id):
    return [e for worker in workers for e in events(worker, "task.started") if e["task_id"] == task_id]


def start_slow(native, worker, seconds, *options):
    sent = native.send("cpp.slow", [seconds], None, *options, wait=False)
    wait_for(lambda: starts([worker], sent["id"]), "the task has begun", 40)
    return sent["id"]


def ended(native, task_id, seconds=60):
    return wait_for(lambda: (r := native.result(task_id))["state"] in ("SUCCESS", "FAILURE", "REVOKED") and r, "it ends", seconds)


@pytest.mark.parametrize("step", ["+3600s", "-3600s"])
def test_F102_a_step_of_the_wall_clock_ends_no_lease_no_limit_and_no_wait_early(native, clock, step):
    """The worker's host jumps while it works; a second worker, whose clock stays right, waits to take over."""
    first = native.worker("--lease", "3s", extra_env=clock.environment)
    running = start_slow(native, first, 5, "--time-limit", "60s", "--soft-time-limit", "50s")
    second = native.worker("--lease", "3s")
    clock.set(step)
    later = native.send("cpp.add", [20, 22], None, "--countdown", "2s", wait=False)["id"]
    sent_at = time.time()
    assert ended(native, running)["state"] == "SUCCESS"
    assert len(starts([first, second], running)) == 1, "nobody took over what was alive"
    got = ended(native, later)
    assert got["result"] == 42
    assert len(starts([first, second], later)) == 1
    if native.broker_url.startswith("redis"):
        assert time.time() - sent_at >= 2, "by the server's clock, whichever worker it was"
    assert native.send("cpp.slow", [0.1])["result"] == "done"
    for worker in (first, second):
        assert worker.poll() is None


@pytest.mark.parametrize("step", ["+3600s", "-3600s"])
def test_F102_an_ETA_fires_once_and_not_before_its_time_by_the_brokers_clock(native, clock, step):
    """On Redis only this worker's clock is wrong; on a file everybody is on the host whose clock jumps."""
    worker = native.worker(extra_env=clock.environment)
    everybody = {} if native.broker_url.startswith("redis") else clock.environment
    saved = {name: os.environ.get(name) for name in everybody}
    try:
        clock.set(step)
        os.environ.update(everybody)
        begin = time.monotonic()
        sent = native.send("cpp.add", [1, 2], None, "--countdown", "2s", wait=False)["id"]
        assert ended(native, sent)["result"] == 3
    finally:
        for name, value in saved.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    assert time.monotonic() - begin >= 1.9
    assert len(starts([worker], sent)) == 1
    # Not taken, looked at and put back again and again while the clocks disagree.
    assert len([e for e in events(worker, "task.received") if e["task_id"] == sent]) <= 2
    if native.broker_url.startswith("redis"):
        assert events(worker, "redis.clock_skew"), "and the worker says that the clocks are apart"


def test_F104_a_clock_that_runs_at_another_speed_makes_no_duplicate(native, clock):
    clock.set("+0 x0.5" if native.broker_url.startswith("redis") else "+0 x2")
    first = native.worker("--lease", "3s", extra_env=clock.environment)
    second = native.worker("--lease", "3s")
    sent = [native.send("cpp.slow", [4], wait=False)["id"], native.send("cpp.slow", [4], wait=False)["id"],
            native.send("cpp.add", [1, 2], None, "--countdown", "2s", wait=False)["id"],
            *(native.send("cpp.add", [1, i], wait=False)["id"] for i in range(4))]
    for task_id in sent:
        assert ended(native, task_id)["state"] == "SUCCESS"
        assert len(starts([first, second], task_id)) == 1


def test_F105_what_a_suspended_machine_held_runs_elsewhere_and_its_late_outcome_changes_nothing(native):
    """Everything of the worker stands still for longer than its lease, as on a laptop whose lid was closed."""
    from test_faults_messages import processes_of

    first = native.worker("--lease", "2s", concurrency=1)
    running = start_slow(native, first, 1.5)
    asleep = processes_of(first.pid)
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    try:
        second = native.worker("--lease", "2s", concurrency=1)
        got = ended(native, running)
        assert got["state"] == "SUCCESS"
        assert len(starts([second], running)) == 1
    finally:
        for pid in asleep:
            os.kill(pid, signal.SIGCONT)
    answer = native.send("cpp.add", [1, 2])
    assert answer["result"] == 3
    wait_for(lambda: events(first, "task.lease_lost"), "the first has woken and noticed that its task is somebody else's", 60)
    assert native.result(running)["worker"] == got["worker"], "the late outcome did not replace the one that counts"
    for worker in (first, second):
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0


def test_F106_every_odd_ETA_runs_at_once_waits_or_is_dead_with_its_field_named(native):
    native.run("status", "-b", native.broker_url)
    queue = Queue(native)
    worker = native.worker()
    at_once = ["2001-01-01T00:00:00+00:00", "0001-01-01T00:00:00", "2001-01-01T00:00:00", "2001-01-01T00:00:00.123456Z",
               "1969-12-31T23:59:59-23:59", "2001-01-01T00:00:00+13:45", "2001-01-01 00:00:00,5+0530", "1883-11-18T12:03:58"]
    waits = ["9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59.999999", "2200-01-01T00:00:00-11:30"]
    dead = ["tomorrow", "", "10000-01-01T00:00:00", "0000-01-01T00:00:00", "2026-02-30T00:00:00", "2026-01-01T25:00:00",
            "2026-01-01T00:00:00+25:00", "9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01", "1e400", "-2026-01-01T00:00:00", 5,
            1e300, True, [], {}]
    first = {}
    for eta in at_once:
        parts = envelope(eta=eta)
        queue.put(parts)
        first[eta] = parts["headers"]["id"]
    parked, wrong = [envelope(eta=eta) for eta in waits], [envelope(eta=eta) for eta in dead]
    queue.put(*parked)
    raw = queue.put(*wrong)
    for eta, task_id in first.items():
        assert ended(native, task_id)["state"] == "SUCCESS", eta
    wait_for(lambda: len(queue.dead()) == len(dead), "what is no time is dead")
    letters = queue.dead()
    assert sorted(letter["raw"] for letter in letters) == sorted(raw)
    for letter in letters:
        assert letter["reason"] == "BAD_HEADER" and letter["detail"].startswith("eta: expected ISO 8601 time")
    info = wait_for(lambda: (rows := [row for row in json.loads(native.run("queues", "-b", native.broker_url, "--json").stdout)
                                      if row["name"] == "native"]) and rows[0]["parked"] == len(waits) and rows[0], "the others wait")
    assert info["ready"] == 0
    assert all(not starts([worker], parts["headers"]["id"]) for parts in parked)


def test_F107_without_any_time_zone_data_everything_in_UTC_goes_on(native):
    nowhere = {"TZDIR": str(native.folder / "no-zoneinfo"), "TZ": "Europe/Nowhere"}
    queue = Queue(native)
    native.worker(extra_env=nowhere)
    assert native.send("cpp.add", [1, 2], None, "--countdown", "1s")["result"] == 3
    parts = envelope(eta="2001-01-01T00:00:00+05:45", expires="2200-01-01T00:00:00-03:30")
    queue.put(parts)
    assert ended(native, parts["headers"]["id"])["state"] == "SUCCESS"
