"""Who runs in the comparison, and the servers they run on. Everything is started here and ended by its pid."""
import contextlib
import json
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"  # Debian's, which sees Debian's Celery
PATIENCE = 600.0  # seconds; a run that takes longer is broken
LOOK = 0.02  # seconds between two looks at how far Celery is


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisStore:
    """A real server without persistence, on a free port; one database for brokers, one for Celery's results."""

    name = "redis"

    def __init__(self, folder):
        import redis

        port = free_port()
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
            stdout=subprocess.DEVNULL)
        self.url = f"redis://127.0.0.1:{port}/0"
        self.results_url = f"redis://127.0.0.1:{port}/1"
        self._client = redis.Redis(port=port)
        self._results = redis.Redis(port=port, db=1)
        wait_for(self._answers, "redis-server answers")
        self.version = self._client.info("server")["redis_version"]

    def _answers(self):
        import redis

        try:
            return self._client.ping()
        except redis.ConnectionError:
            return False

    def fresh(self):
        self._client.flushall()
        return self.url

    def results(self):
        return self._results.dbsize()

    def left(self):
        return self._client.llen("bench") + self._client.hlen("unacked")

    def stored(self):
        return sum(1 for _ in self._client.scan_iter("celery-task-meta-*", count=5_000))

    def close(self):
        self._process.terminate()
        self._process.wait()


class SqliteStore:
    """A new file for every run, on a real disk."""

    name = "sqlite"
    version = None

    def __init__(self, folder):
        self._folder = pathlib.Path(folder)
        self._number = 0
        self.version = sqlite3.sqlite_version

    def fresh(self):
        for old in self._folder.glob("run*"):
            old.unlink()
        self._number += 1
        return f"sqlite:///{self._path()}"

    def _path(self):
        return self._folder / f"run{self._number}.db"

    def _count(self, table):
        with contextlib.closing(sqlite3.connect(self._path())) as file:
            return file.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    def left(self):
        return self._count("message")

    def stored(self):
        return self._count("result")

    def close(self):
        pass


@contextlib.contextmanager
def open_store(name, folder):
    """`folder`: where files go; None is /var/tmp, which is a disk where /tmp may be memory."""
    where = pathlib.Path(tempfile.mkdtemp(prefix="errand-bench-", dir=folder or "/var/tmp"))
    store = None
    try:
        store = RedisStore(where) if name == "redis" else SqliteStore(where)
        yield store
    finally:
        if store is not None:
            store.close()
        shutil.rmtree(where, ignore_errors=True)


def wait_for(condition, what, seconds=20.0, every=LOOK):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"bench: not within {seconds:.0f} s: {what}")
        time.sleep(every)


def program(build, name):
    path = pathlib.Path(build) / "bench" / name
    if not path.exists():
        sys.exit(f"bench: {path} is not built; run ./dev bench")
    return str(path)


def one_line(command):
    """Runs a program of ours and returns what it measured."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout)


def worker_command(build, mode, url, tasks, pool="prefork", concurrency=2):
    return [program(build, "worker_bench"), mode, "--broker", url, "--tasks", str(tasks), "--pool", pool,
            "-c", str(concurrency)]


def finished(store, who, tasks, rate):
    """A number counts only for work that was done: nothing waits or is held any more, and each task has its result."""
    left, stored = store.left(), store.stored()
    if left != 0 or stored != tasks:
        sys.exit(f"bench: {store.name}, {who}: expected {tasks} results and nothing left, got {stored} and {left}")
    return rate


def errand(build, store, shape, tasks, pool, concurrency):
    url = store.fresh()
    if shape == "prefilled":
        one_line(worker_command(build, "fill", url, tasks))
    mode = "drain" if shape == "prefilled" else "steady"
    rate = one_line(worker_command(build, mode, url, tasks, pool, concurrency))["per_second"]
    return finished(store, f"errand {pool}", tasks, rate)


def raw(build, store, shape, tasks, batch):
    url = store.fresh()
    one_line(worker_command(build, "fill", url, tasks))
    mode = "drain" if shape == "prefilled" else "steady"
    rate = one_line([program(build, "raw_bench"), mode, "--broker", url, "--tasks", str(tasks),
                     "--batch", str(batch)])["per_second"]
    return finished(store, "raw", tasks, rate)


def celery(store, shape, tasks, concurrency):
    """Counts stored results from outside: what the worker needs to start is not held against it."""
    environment = dict(os.environ, BENCH_BROKER=store.fresh(), BENCH_BACKEND=store.results_url)
    fill = [PYTHON, "celery_app.py", str(tasks)]
    if shape == "prefilled":
        subprocess.run(fill, cwd=HERE, env=environment, check=True, timeout=PATIENCE)
    worker = subprocess.Popen(
        [PYTHON, "-m", "celery", "-A", "celery_app", "worker", "-P", "prefork", "-c", str(concurrency), "-l", "ERROR",
         "--without-gossip", "--without-mingle", "--without-heartbeat"],
        cwd=HERE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    producer = None
    try:
        if shape == "steady":
            # Ready once it has run a first task; then the clock begins with the first send.
            subprocess.run([PYTHON, "celery_app.py", "1"], cwd=HERE, env=environment, check=True, timeout=PATIENCE)
            wait_for(lambda: store.results() >= 1, "Celery's worker runs a task", 60)
            producer = subprocess.Popen(fill, cwd=HERE, env=environment)
            tasks += 1
        first = 2 if shape == "steady" else 1
        wait_for(lambda: store.results() >= first, "Celery's first result", 60)
        begin, had = time.monotonic(), store.results()
        wait_for(lambda: store.results() >= tasks, "Celery's last result", PATIENCE)
        return (tasks - had) / (time.monotonic() - begin)  # all of them have their results, by the condition above
    finally:
        for process in filter(None, [producer, worker]):
            process.terminate()
        for process in filter(None, [producer, worker]):
            process.wait()
