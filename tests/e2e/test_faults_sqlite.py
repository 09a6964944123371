"""Group G of the fault catalogue: the real worker and the real command line on a file and a disk that misbehave."""
import contextlib
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import tempfile
import time

import pytest

from interop_support import Native, program, wait_for


@pytest.fixture
def native(tmp_path):
    one = Native(f"sqlite:///{tmp_path}/errand.db", tmp_path)
    yield one
    one.stop()


def events(worker, *names):
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    return [line for line in lines if line["event"] in names]


def file_of(native):
    return pathlib.Path(native.broker_url.removeprefix("sqlite:///"))


def start_slow(native, worker, seconds):
    sent = native.send("cpp.slow", [seconds], wait=False)
    wait_for(lambda: any(e.get("task_id") == sent["id"] for e in events(worker, "task.started")), "the task has begun")
    return sent["id"]


def integrity(native):
    with contextlib.closing(sqlite3.connect(file_of(native))) as database:
        return database.execute("PRAGMA integrity_check").fetchone()[0]


@contextlib.contextmanager
def small_disk(folder, size):
    """A tmpfs of that size; a skip where nobody may mount one (the refusals themselves are tested below that level)."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"this user may not mount a file system: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def without_rights():
    """A folder that anyone may write, the program in it, and a user who is not root: root may write everything. The
    program is a copy because nobody but root looks into root's home, where the tree may stand."""
    with tempfile.TemporaryDirectory(prefix="errand-rights-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o777)
        copy = shutil.copy(program("interop_worker"), folder)
        yield folder, copy, 65534 if os.getuid() == 0 else None


def rss_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def test_F074_on_a_full_disk_senders_are_refused_and_outcomes_wait_in_memory_until_there_is_room(tmp_path):
    with small_disk(tmp_path / "disk", "4m") as disk:
        native = Native(f"sqlite:///{disk}/errand.db", tmp_path)
        try:
            worker = native.worker()
            running = start_slow(native, worker, 1)
            talking = native.send("cpp.progress", [200_000], wait=False)["id"]
            wait_for(lambda: any(e.get("task_id") == talking for e in events(worker, "task.started")), "both have begun")
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as full, contextlib.suppress(OSError):
                while True:
                    full.write(b"x" * 4096)
            before = rss_kib(worker.pid)
            refused = subprocess.run([program("interop_worker"), "send", "cpp.echo", "-", "--queue", "native", "-b", native.broker_url],
                                     capture_output=True, text=True, timeout=60, cwd=tmp_path, input=json.dumps(["y" * 300_000]))
            assert refused.returncode == 1
            assert "disk is full" in refused.stderr, refused.stderr
            wait_for(lambda: any("disk is full" in e["message"] for e in events(worker, "worker.commit")), "the worker says why")
            assert rss_kib(worker.pid) - before < 16 << 10, "what waits is bounded"
            assert worker.poll() is None
            filler.unlink()
            for task_id in (running, talking):
                wait_for(lambda: native.result(task_id)["state"] == "SUCCESS", "the outcome is stored when there is room", 60)
            assert len([e for e in events(worker, "task.started") if e["task_id"] == running]) == 1
            assert native.send("cpp.add", [1, 2])["result"] == 3
            assert integrity(native) == "ok"
            assert len(events(worker, "worker.commit")) < 12, "no storm of lines"
        finally:
            (disk / "filler").unlink(missing_ok=True)
            native.stop()


def test_F077_a_worker_refuses_files_that_are_damaged_or_not_its_own_and_leaves_them_as_they_are(native):
    native.run("status", "-b", native.broker_url)
    with contextlib.closing(sqlite3.connect(file_of(native))) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = file_of(native).read_bytes()
    other = native.folder / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE mine (x)")
    newer = bytearray(whole)
    newer[60:64] = (99).to_bytes(4, "big")
    cases = {"text": b"these are my notes\n" * 500, "magic": b"SQLite format 4\x00" + whole[16:], "other": other.read_bytes(),
             "newer": bytes(newer), "cut": whole[:len(whole) // 2], "short": whole[:40], "zeros": whole[:100] + b"\x00" * 8000}
    for name, damaged in cases.items():
        path = native.folder / f"{name}.db"
        path.write_bytes(damaged)
        refused = native.run("worker", "-b", f"sqlite:///{path}", "-Q", "native", "--burst")
        assert refused.returncode in (1, 78), (name, refused.stderr)
        assert f"{name}.db" in refused.stderr, (name, refused.stderr)
        assert any(word in refused.stderr for word in ("damaged", "expected", "recover")), (name, refused.stderr)
        assert path.read_bytes() == damaged, name


def test_F077_a_file_that_is_damaged_under_a_running_worker_stops_it_with_the_reason(native):
    worker = native.worker()
    for i in range(3):
        assert native.send("cpp.add", [1, i])["result"] == 1 + i
    random_ = random.Random(77)
    with file_of(native).open("r+b") as raw:
        size = os.fstat(raw.fileno()).st_size
        for _ in range(size // 256):
            raw.seek(random_.randrange(size))
            raw.write(bytes([random_.randrange(256)]))
    for suffix in ("-wal", "-shm"):
        path = pathlib.Path(f"{file_of(native)}{suffix}")
        with path.open("r+b") as raw:
            raw.write(os.urandom(os.fstat(raw.fileno()).st_size))
    # It may go on with what it has read, but whatever it says of the file is the truth, and it never makes a new one.
    inode = file_of(native).stat().st_ino
    native.run("send", "cpp.add", "[1, 2]", "--queue", "native", "-b", native.broker_url)
    wait_for(lambda: worker.poll() is not None or events(worker, "worker.commit", "worker.fetch") or
             any(e["event"] == "task.succeeded" for e in events(worker, "task.succeeded")), "it ends, says why, or works")
    assert worker.poll() in (None, 1, 78)
    if worker.poll() is not None:
        assert "errand.db" in worker.log.read_text() and "damaged" in worker.log.read_text()
    assert file_of(native).stat().st_ino == inode


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_F078_a_file_that_is_taken_away_stops_the_worker_within_five_seconds_and_says_so(native, how):
    worker = native.worker()
    assert native.send("cpp.add", [1, 2])["result"] == 3
    path = file_of(native)
    begin = time.monotonic()
    if how == "deleted":
        path.unlink()
    else:
        other = native.folder / "new.db"
        shutil.copy(path, other)
        other.replace(path)
    code = worker.wait(30)
    assert code == 1, worker.log.read_text()
    assert time.monotonic() - begin < 5 + 5, "noticed within five seconds, on a busy machine"
    text = worker.log.read_text()
    assert "errand.db" in text and ("deleted or moved" in text or "replaced" in text)
    if how == "deleted":
        assert not path.exists(), "never silently made again"


def test_F078_rights_that_are_taken_away_stop_the_worker_and_say_so():
    with without_rights() as (folder, worker_program, user):
        log = folder / "log"
        path = folder / "errand.db"
        worker = subprocess.Popen([worker_program, "worker", "-b", f"sqlite:///{path}", "-Q", "native", "-c", "1"],
                                  stdout=log.open("w"), stderr=subprocess.STDOUT, cwd=folder, user=user)
        try:
            wait_for(lambda: "ready" in log.read_text() or worker.poll() is not None, "the worker is ready")
            assert worker.poll() is None, log.read_text()
            path.chmod(0o444)
            assert worker.wait(30) == 1, log.read_text()
            assert "errand.db" in log.read_text() and "may no longer be written" in log.read_text()
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait(10)


def test_F080_a_start_on_a_file_it_may_not_open_exits_78():
    with without_rights() as (folder, worker_program, user):
        path = folder / "errand.db"
        path.write_bytes(b"")
        path.chmod(0o400)
        done = subprocess.run([worker_program, "worker", "-b", f"sqlite:///{path}", "-Q", "native"], cwd="/",
                              capture_output=True, text=True, timeout=30, user=user)
        assert done.returncode == 78, done.stderr
        assert "errand.db" in done.stderr
