"""How a worker ends: in order, in a hurry, and when something it needs is away. What it held goes back and does not count."""
import os
import select
import signal
import subprocess
import time

import pytest

from interop_support import free_port, wait_for
from ledger import Ledger, family

GRACE = 2.0
MOST = GRACE + 5 + 5  # the promise is grace + 5 s; the rest is what a loaded machine takes to notice


@pytest.fixture
def ledger(store, tmp_path):
    one = Ledger(store, tmp_path)
    yield one
    one.stop()


def stop(worker, *signals, seconds=60):
    """Sends the signals, each once the one before was taken; returns the exit code and how long it took."""
    started = time.monotonic()
    for one in signals:
        worker.send_signal(one)
        select.select([], [], [], 0.05)  # two equal signals that are pending together are one
    code = worker.wait(seconds)
    return code, time.monotonic() - started


# The whole is 100 restarts (ERRAND_RESTARTS=100), by hand; CI runs a slice of it.
def test_F022_I20_rolling_restarts_under_load_lose_nothing_and_double_nothing(ledger):
    restarts = int(os.environ.get("ERRAND_RESTARTS", "6"))
    count = 20 * restarts
    worker = ledger.worker()
    ledger.send("fan", "note", count, 0.05)
    for i in range(restarts):
        ledger.wait_begun(count=(i + 1) * count // (restarts + 2), seconds=120)
        code, _ = stop(worker, signal.SIGTERM)
        assert code == 0, worker.log.read_text()
        assert ledger.queue()["leased"] == 0
        worker = ledger.worker()
    wait_for(lambda: len(ledger.counts("end")) == count, "everything has ended", 60)
    ledger.wait_drained()
    assert set(ledger.counts("begin").values()) == {1}
    assert set(ledger.counts("end").values()) == {1}
    # Nothing but first deliveries and what was given back unstarted: a deploy is no attempt.
    assert {line.retries for line in ledger.lines()} == {0}


def test_F022_a_warm_stop_lets_what_runs_finish_and_gives_back_the_rest_at_once(ledger):
    worker = ledger.worker(concurrency=1)
    ledger.send("until", "runs", str(ledger.folder / "go"))
    ledger.wait_begun("runs")
    waiting = [ledger.send("note", f"n{i}", 0.0) for i in range(3)]
    worker.send_signal(signal.SIGTERM)
    wait_for(lambda: ledger.queue()["ready"] == 3, "what has not begun is back in its queue")
    other = ledger.worker(concurrency=1)
    for i in range(len(waiting)):
        ledger.wait_ended(f"n{i}")
    assert worker.poll() is None
    (ledger.folder / "go").touch()
    assert worker.wait(30) == 0
    ledger.wait_drained()
    assert set(ledger.counts("begin").values()) == {1}
    assert other.poll() is None


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)],
                         ids=["term term", "int term"])
def test_F023_a_second_signal_asks_what_runs_to_stop_and_the_exit_code_says_so(ledger, signals):
    worker = ledger.worker("--grace", "60s")
    ledger.send("polite", "n", 60.0)
    ledger.wait_begun("n")
    code, took = stop(worker, *signals)
    assert code == 1 and took < 30
    assert ledger.queue()["ready"] == 1 and ledger.queue()["leased"] == 0


@pytest.mark.parametrize("signals", [(signal.SIGTERM,) * 3, (signal.SIGTERM, signal.SIGQUIT), (signal.SIGQUIT,)],
                         ids=["three", "term quit", "quit"])
def test_F023_a_third_signal_or_SIGQUIT_kills_what_runs_and_gives_it_back(ledger, signals):
    worker = ledger.worker("--grace", "60s")
    task = ledger.send("until", "n", str(ledger.folder / "go"))
    begun = ledger.wait_begun("n")
    code, took = stop(worker, *signals)
    assert code == 1 and took < 30
    assert not os.path.exists(f"/proc/{begun[0].pid}"), "its process is gone"
    assert ledger.queue()["ready"] == 1 and ledger.queue()["leased"] == 0
    (ledger.folder / "go").touch()
    ledger.worker()
    assert ledger.wait_state(task, "SUCCESS")["state"] == "SUCCESS"
    assert ledger.counts("begin") == {"n": 2}


# A deploy that kills a long task again and again must not be what puts it among the dead letters.
def test_a_deploy_counts_neither_as_an_attempt_nor_as_a_delivery(ledger):
    ledger.configure(worker_max_deliveries=3, worker_max_crashes=2)
    task = ledger.send("until", "n", str(ledger.folder / "go"))
    for i in range(5):
        worker = ledger.worker(concurrency=1)
        ledger.wait_begun("n", count=i + 1)
        code, _ = stop(worker, signal.SIGQUIT)
        assert code == 1
    assert ledger.queue()["dead"] == 0
    (ledger.folder / "go").touch()
    ledger.worker()
    ledger.wait_state(task, "SUCCESS")
    assert {line.retries for line in ledger.lines()} == {0}


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_I20_a_task_that_ignores_everything_does_not_hold_up_a_stop(ledger, pool):
    worker = ledger.worker("--grace", f"{GRACE}s", "-P", pool, concurrency=1)
    ledger.send("until", "n", str(ledger.folder / "never"))
    ledger.wait_begun("n")
    code, took = stop(worker, signal.SIGTERM)
    assert code == 1 and GRACE * 0.9 <= took < MOST
    queue = ledger.queue()
    assert queue["ready"] == 1 and queue["leased"] == 0


def test_a_stop_at_any_moment_of_the_start_ends_the_worker(ledger):
    for wait in (0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32):
        worker = ledger.worker(ready=False)
        select.select([], [], [], wait)  # a moment of the start, whichever that is
        worker.send_signal(signal.SIGTERM)
        # Before the program has begun to watch its signals, the signal ends it as any program.
        assert worker.wait(20) in (0, -signal.SIGTERM), worker.log.read_text()


@pytest.fixture
def own_redis(tmp_path):
    """A server of the test's own, to be stopped and paused."""
    port = free_port()
    process = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
                               stdout=subprocess.DEVNULL)
    redis = pytest.importorskip("redis")

    def up():
        try:
            return redis.Redis(port=port).ping()
        except redis.ConnectionError:
            return False

    wait_for(up, "redis-server answers")
    process.port = port
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait(10)


@pytest.mark.parametrize("how", ["killed", "paused"])
@pytest.mark.parametrize("what", ["broker", "results"])
def test_I20_a_worker_stops_in_time_although_a_store_is_away(redis_server, own_redis, tmp_path, how, what):
    away = f"redis://127.0.0.1:{own_redis.port}/0"
    here = f"sqlite:///{tmp_path}/other.db"
    ledger = Ledger(away if what == "broker" else here, tmp_path)
    try:
        worker = ledger.worker("--grace", f"{GRACE}s", "--result-backend", here if what == "broker" else away)
        ledger.send("note", "n", 1.0)
        ledger.wait_begun("n")
        if how == "killed":
            own_redis.kill()
            own_redis.wait(10)
        else:
            own_redis.send_signal(signal.SIGSTOP)
        ledger.wait_ended("n")  # and its outcome can go nowhere
        code, took = stop(worker, signal.SIGTERM)
        # A call that waits for an answer ends first: publish_timeout is 5 s.
        assert code in (0, 1) and took < MOST + 5
        children = [pid for pid in (line.pid for line in ledger.lines()) if os.path.exists(f"/proc/{pid}")]
        assert not children
    finally:
        own_redis.send_signal(signal.SIGCONT) if how == "paused" else None
        ledger.stop()
