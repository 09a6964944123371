"""Servers and workers of the interop tests. Everything runs on a private Redis and ends by pid."""
import contextlib
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("ERRAND_BUILD_DIR", ROOT / "build" / "release"))


def missing(what):
    """A server that is not installed is a skip on a desk and a failure in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is not installed")


def faketime():
    """The library that gives one process a clock of its own, by LD_PRELOAD."""
    path = pathlib.Path(f"/usr/lib/{platform.machine()}-linux-gnu/faketime/libfaketimeMT.so.1")
    if not path.exists():
        missing("libfaketime")
    return str(path)


def faked_time(**settings):
    """The environment of a process with a wall clock of its own; settings are libfaketime's. Nobody can set the monotonic
    clock, which is what these tests are about.

    For AddressSanitizer: it need not be the first library, and its allocator must not ask for the time, which it does in
    its first malloc. libfaketime, not ready yet, then asks the loader for symbols, whose error texts are freed into the
    same allocator, which asks again, until one text is freed twice."""
    asan = ":".join([os.environ.get("ASAN_OPTIONS", ""), "verify_asan_link_order=0", "allocator_release_to_os_interval_ms=-1"])
    return {"LD_PRELOAD": faketime(), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "ASAN_OPTIONS": asan, **settings}


def wait_for(condition, what, seconds=20.0):
    """Waits until condition() is true and returns its value; fails with `what` at the limit."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds} s: {what}")
        select_wait(0.01)


def select_wait(seconds):
    import select

    select.select([], [], [], seconds)


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    if shutil.which("redis-server") is None:
        missing("redis-server")
    port = free_port()
    folder = tmp_path_factory.mktemp("redis")
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    redis = pytest.importorskip("redis")
    client = redis.Redis(port=port)

    def up():
        try:
            return client.ping()
        except redis.ConnectionError:
            return False

    wait_for(up, "redis-server answers")
    yield port
    process.terminate()
    process.wait(10)


@pytest.fixture
def broker_url(redis_server, request):
    """A database of its own for every test, emptied first."""
    import redis

    database = abs(hash(request.node.nodeid)) % 15 + 1
    redis.Redis(port=redis_server, db=database).flushdb()
    return f"redis://127.0.0.1:{redis_server}/{database}"


@pytest.fixture
def redis_client(broker_url):
    import redis

    return redis.Redis.from_url(broker_url)


def program(name):
    for candidate in (BUILD / name, BUILD / "tests" / "interop" / name, BUILD / "tests" / name):
        if candidate.exists():
            return str(candidate)
    pytest.fail(f"{name} is not built in {BUILD}")


class Native:
    """The native program with the test tasks, as worker and as command line."""

    def __init__(self, broker_url, folder):
        self.broker_url = broker_url
        self.folder = folder
        self.workers = []

    def worker(self, *arguments, queue="native", concurrency=2, extra_env=None):
        log = self.folder / f"native-{len(self.workers)}.log"
        process = subprocess.Popen(
            [program("interop_worker"), "worker", "-b", self.broker_url, "-Q", queue, "-c", str(concurrency),
             "--log-json", "-l", "debug", *arguments],
            stdout=log.open("w"), stderr=subprocess.STDOUT, cwd=self.folder, env={**os.environ, **(extra_env or {})},
        )
        process.log = log
        self.workers.append(process)
        wait_for(lambda: "worker.ready" in log.read_text() or process.poll() is not None, "the native worker is ready")
        assert process.poll() is None, log.read_text()
        return process

    def run(self, *arguments, timeout=60):
        return subprocess.run(
            [program("interop_worker"), *arguments], capture_output=True, text=True, timeout=timeout, cwd=self.folder
        )

    def send(self, name, args=None, kwargs=None, *options, wait=True, timeout=60):
        """Sends by the command line; returns the decoded answer."""
        command = ["send", name, json.dumps(args or []), "-b", self.broker_url, "--json"]
        if kwargs:
            command += ["--kwargs", json.dumps(kwargs)]
        if "--queue" not in options and name.startswith(("cpp.", "both.", "shell.", "zoo.", "build.")):
            command += ["--queue", "native"]
        if wait:
            command += ["--wait"]
        done = self.run(*command, *options, timeout=timeout)
        assert done.stdout.strip(), f"exit {done.returncode}: {done.stderr}"
        return json.loads(done.stdout)

    def result(self, task_id, *options):
        done = self.run("result", task_id, "-b", self.broker_url, "--json", *options)
        return json.loads(done.stdout)

    def stop(self):
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.workers:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
                pytest.fail(f"the native worker did not stop:\n{process.log.read_text()}")


@pytest.fixture
def native(broker_url, tmp_path):
    one = Native(broker_url, tmp_path)
    yield one
    one.stop()


@pytest.fixture
def celery_app(broker_url, monkeypatch):
    """The Python application as a client, configured for this test's database."""
    pytest.importorskip("celery")
    monkeypatch.setenv("INTEROP_BROKER", broker_url)
    sys.path.insert(0, str(HERE))
    sys.modules.pop("python_app", None)
    import python_app

    yield python_app.app
    python_app.app.close()
    sys.path.remove(str(HERE))


@pytest.fixture
def python_worker(broker_url, tmp_path):
    """Starts a stock Celery worker; one child, no gossip."""
    started = []

    def start(queue="python", *arguments):
        log = tmp_path / f"python-{len(started)}.log"
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "python_app", "worker", "-Q", queue, "-c", "1", "-P", "prefork",
             "--without-gossip", "--without-mingle", "-l", "INFO", "-n", f"py{len(started)}@test", *arguments],
            stdout=log.open("w"), stderr=subprocess.STDOUT, cwd=HERE,
            env={**os.environ, "INTEROP_BROKER": broker_url, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        process.log = log
        started.append(process)
        wait_for(lambda: " ready." in log.read_text() or process.poll() is not None, "the Python worker is ready", 40)
        assert process.poll() is None, log.read_text()
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
    for process in started:
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
