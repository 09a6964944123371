"""Tasks that misbehave, seen from outside: what is stored, what is kept, what goes on (tests/support/task_zoo.hpp).

Every test ends with the invariants: the worker is the process it was (I23), other tasks were not touched, and what was
sent is what was settled, by id (I1, I2).
"""
import contextlib
import datetime
import json
import os
import pathlib
import re
import resource

import pytest

from interop_support import wait_for


def started_at(pid):
    """When a process began, in clock ticks: a pid alone may be used again."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]


def below(pid):
    """Every process that this one or one of those has started."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        for children in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            try:
                more = [int(word) for word in children.read_text().split()]
            except OSError:
                continue
            found += more
            todo += more
    return found


def log_of(worker):
    return [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]


def record_of(native, task_id):
    """The result as it is shown, and as it is stored where Python reads it."""
    if not native.broker_url.startswith("redis"):
        return json.dumps(native.result(task_id))
    import redis

    return redis.Redis.from_url(native.broker_url).get(f"celery-task-meta-{task_id}").decode()


@pytest.fixture
def memory_group():
    """Puts processes into a control group whose memory the kernel watches."""
    made = []

    def put(limit, pids):
        for root, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            folder = pathlib.Path(root, f"errand-test-{os.getpid()}")
            try:
                folder.mkdir()
            except OSError:
                continue
            if not (folder / name).exists():  # no group, or not one of memory
                folder.rmdir()
                continue
            made.append(folder)
            (folder / name).write_text(str(limit))
            for pid in pids:
                (folder / "cgroup.procs").write_text(str(pid))
            return
        pytest.skip("no control group can be made here")

    yield put
    for folder in made:
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended
                (folder.parent / "cgroup.procs").write_text(pid)
        folder.rmdir()


def dead_letters(native, queue="native"):
    return json.loads(native.run("dead", "list", queue, "-b", native.broker_url, "--json").stdout or "[]")


class Steady:
    """The worker before and after: the same process, with the same descriptors, and it still works."""

    def __init__(self, native, worker):
        self.native, self.worker = native, worker
        assert native.send("cpp.add", [1, 2])["result"] == 3
        self.began = started_at(worker.pid)
        self.descriptors = len(os.listdir(f"/proc/{worker.pid}/fd"))

    def check(self):
        assert self.native.send("cpp.add", [20, 22], timeout=60)["result"] == 42
        assert self.worker.poll() is None
        assert started_at(self.worker.pid) == self.began
        wait_for(lambda: len(os.listdir(f"/proc/{self.worker.pid}/fd")) <= self.descriptors + 1, "descriptors are closed again")


def test_F026_F027_a_poison_task_is_stored_with_evidence_and_kept_with_every_reason(native):
    worker = native.worker()
    steady = Steady(native, worker)
    answer = native.send("zoo.crash", ["segv"], timeout=60)
    assert answer["state"] == "FAILURE"
    assert answer["error"]["type"] == "WorkerLostError"
    assert "SIGSEGV" in answer["error"]["message"]
    record = record_of(native, answer["id"])
    if native.broker_url.startswith("redis"):
        assert json.loads(record)["traceback"].endswith("(SIGSEGV).\n")  # as Python reads it
    for part in ("zoo::write_to_nowhere", "interop_worker+0x", "Peak memory", "about to crash: segv"):
        assert part in record, record
    letters = dead_letters(native)
    letter = next(one for one in letters if one["task_id"] == answer["id"])
    assert letter["reason"] == "CRASH_LIMIT"
    for number in ("1. SIGSEGV", "2. SIGSEGV", "3. SIGSEGV"):
        assert number in letter["detail"], letter
    assert "zoo::write_to_nowhere" in letter["detail"]
    lines = log_of(worker)
    lost = [line for line in lines if line.get("event") == "task.lost" and line.get("task_id") == answer["id"]]
    assert len(lost) == 3
    assert all("zoo::write_to_nowhere" in line["message"] for line in lost)
    ends = [line for line in lines if line.get("event") == "process.ended" and line.get("task_id") == answer["id"]]
    assert len({line["child_pid"] for line in ends}) == 3
    steady.check()


def test_F025_a_task_that_is_killed_for_its_memory_names_signal_and_peak(native):
    """By somebody's SIGKILL, as a container's killer sends it, and by its own limit before it comes to that."""
    worker = native.worker()
    steady = Steady(native, worker)
    answer = native.send("zoo.crash", ["kill"], timeout=60)
    assert answer["error"]["type"] == "WorkerLostError"
    assert "SIGKILL" in answer["error"]["message"]
    assert "Peak memory" in record_of(native, answer["id"])
    limited = native.send("zoo.memory", [400 << 20], timeout=60)
    assert limited["state"] == "FAILURE"
    assert "memory_limit = 96MiB" in limited["error"]["message"], limited
    steady.check()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_F025_the_kernel_kills_one_task_for_memory_and_the_evidence_says_so(native, memory_group):
    """The group holds what forks children, and each child after it: 48 MiB for a task that takes 80."""
    worker = native.worker(concurrency=1)
    steady = Steady(native, worker)
    memory_group(48 << 20, below(worker.pid))
    answer = native.send("zoo.memory", [80 << 20], timeout=60)
    assert answer["error"]["type"] == "WorkerLostError"
    record = record_of(native, answer["id"])
    assert "killed by the kernel because memory ran out" in record
    # What the group allows, and the program's own pages, which others have paid for.
    assert 40 <= int(re.search(r"Peak memory (\d+) MiB", record).group(1)) <= 80
    letter = next(one for one in dead_letters(native) if one["task_id"] == answer["id"])
    assert letter["reason"] == "CRASH_LIMIT"
    for number in ("1. SIGKILL", "2. SIGKILL", "3. SIGKILL"):
        assert number in letter["detail"], letter
    steady.check()


def test_F027_poison_tasks_cost_the_others_little(native):
    """Two workers beside each other do the same work, one of them with poison in it: in the time in which the other has
    done all, it has done more than four fifths. Counts and not seconds, and naps, so that it is not the machine that is
    measured."""
    naps = 40
    poison = [native.send("zoo.crash", ["abort"], wait=False)["id"] for _ in range(2)]
    for _ in range(naps):
        native.send("zoo.nap", [0.2], wait=False)
        native.send("zoo.nap", [0.2], None, "--queue", "clean", wait=False)
    dirty, clean = native.worker(), native.worker(queue="clean")

    def ends(worker):
        """When each nap ended, from the beginning of the first task on."""
        lines = [line for line in log_of(worker) if line.get("event") in ("task.started", "task.succeeded")]
        times = [datetime.datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")) for line in lines]
        return [at - times[0] for at, line in zip(times, lines) if line["event"] == "task.succeeded"]

    wait_for(lambda: len(ends(dirty)) == naps and len(ends(clean)) == naps, "all naps have ended", 120)
    window = max(ends(clean))
    assert sum(end <= window for end in ends(dirty)) > 0.8 * naps
    wait_for(lambda: set(poison) <= {one["task_id"] for one in dead_letters(native)}, "the poison is put aside", 60)


# What is said does not depend on the store.
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("how, says", [("thread", "std::out_of_range: thrown by a thread"),
                                       ("destructor", "std::runtime_error: thrown by a destructor"),
                                       ("exit", "called exit with status 3"),
                                       ("group", "SIGKILL"),
                                       ("stack", "out of stack")])
def test_F028_F029_F030_the_outcome_of_a_lost_process_says_how(native, how, says):
    worker = native.worker()
    steady = Steady(native, worker)
    answer = native.send("zoo.crash", [how], timeout=60)
    assert answer["error"]["type"] == "WorkerLostError"
    assert says in record_of(native, answer["id"])
    steady.check()


def test_F030_nothing_a_task_has_started_outlives_it(native):
    worker = native.worker()
    steady = Steady(native, worker)
    answer = native.send("zoo.daemon")
    daemon = answer["result"]
    assert not pathlib.Path(f"/proc/{daemon}").exists()
    steady.check()
    assert len(below(worker.pid)) == 3  # the one that forks, and two children


def test_DZ_39_builds_without_end_are_stopped_by_a_limit_that_is_named(native):
    folder = native.folder
    (folder / "errand.toml").write_text(f"""
[tasks."build.forks"]
command = ["sh", "-c", "while [ $(ls | wc -l) -lt 300 ]; do (touch f$$-$RANDOM; sleep 600) & done; sleep 600"]
cwd = "{folder}/forks"
processes_limit = 20
[tasks."build.never_ends"]
command = ["sh", "-c", "sleep 600"]
time_limit = "1s"
[tasks."build.spins"]
command = ["sh", "-c", "while :; do :; done"]
cpu_limit = "500ms"
[tasks."build.fills"]
command = ["sh", "-c", "exec cat /dev/zero > {folder}/full"]
file_size_limit = "4MiB"
""")
    (folder / "forks").mkdir()
    worker = native.worker()
    steady = Steady(native, worker)
    for task, kind, says in (("build.forks", "ResourceLimitExceeded", "processes_limit = 20"),
                             ("build.never_ends", "TimeLimitExceeded", "1"),
                             ("build.spins", "ResourceLimitExceeded", "cpu_limit = 500ms"),
                             ("build.fills", "ResourceLimitExceeded", "file_size_limit = 4MiB")):
        answer = native.send(task, [], None, "--queue", "native", timeout=60)
        assert answer["state"] == "FAILURE", (task, answer)
        assert answer["error"]["type"] == kind, (task, answer)
        assert says in answer["error"]["message"], (task, answer)
        steady.check()
    assert (folder / "full").stat().st_size <= 4 << 20
    wait_for(lambda: len(below(worker.pid)) == 3, "nothing of the builds is left")


def test_F032_tasks_that_take_all_processors_lose_no_lease(native):
    """Renewal is the supervisor's: eight busy tasks on few processors, and another worker that would take what expires."""
    busy = native.worker("--lease", "3s", "-n", "busy@host", concurrency=8)
    ids = [native.send("zoo.busy", [5.0], wait=False)["id"] for _ in range(8)]
    wait_for(lambda: len([1 for line in log_of(busy) if line.get("event") == "task.started"]) == 8, "all of them run", 60)
    other = native.worker("--lease", "3s", "-n", "other@host")
    for one in ids:
        wait_for(lambda: native.result(one)["state"] == "SUCCESS", one, 60)
    begun = [line["task_id"] for worker in (busy, other) for line in log_of(worker) if line.get("event") == "task.started"]
    assert sorted(begun) == sorted(ids)


def test_F034_a_worker_without_descriptors_says_so_and_goes_on_when_there_are_some(native):
    worker = native.worker(concurrency=1)
    steady = Steady(native, worker)
    soft, hard = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (steady.descriptors - 1, hard))
    crashes = native.send("zoo.crash", ["kill"], wait=False)["id"]
    waits = [native.send("cpp.add", [1, i], wait=False)["id"] for i in range(3)]
    wait_for(lambda: "E-RESOURCE" in worker.log.read_text(), "it says what is missing")
    assert all(native.result(one)["state"] != "SUCCESS" for one in waits)
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (soft, hard))
    for one in waits:
        wait_for(lambda: native.result(one)["state"] == "SUCCESS", one, 60)
    wait_for(lambda: native.result(crashes)["state"] == "FAILURE", "the poison is put aside", 60)
    steady.check()


def test_F035_damage_stays_in_its_process_and_the_outcome_is_kept(native):
    worker = native.worker(concurrency=1)
    steady = Steady(native, worker)
    for what in ("descriptors", "folder", "signals"):
        damaged = native.send("zoo.damage", [what])
        assert damaged["state"] == "SUCCESS"
        assert native.send("zoo.pid")["result"] != damaged["result"]
    assert {"process.retires"} <= {line.get("event") for line in log_of(worker)}
    steady.check()


def test_F036_output_is_kept_up_to_64_KiB_and_counted_beyond(native):
    worker = native.worker()
    steady = Steady(native, worker)
    answer = native.send("zoo.output", [50_000_000, 999, "\n"], timeout=60)
    assert answer["state"] == "SUCCESS"
    escaped = native.send("zoo.output", [40, 10, "\x1b[31mred\x07\n"])
    lines = wait_for(lambda: [one for one in log_of(worker) if one.get("event") == "task.output_dropped"] and log_of(worker),
                     "what was dropped is counted")
    kept = sum(len(one["message"]) + 1 for one in lines if one.get("event") == "task.output" and one.get("task_id") == answer["id"])
    dropped = sum(one["dropped"] for one in lines if one.get("event") == "task.output_dropped" and one["task_id"] == answer["id"])
    assert 0 < kept <= 64 << 10
    assert kept + dropped >= 50_000_000
    raw = worker.log.read_bytes()
    assert b"\x1b" not in raw and b"\x07" not in raw
    wait_for(lambda: escaped["id"] in worker.log.read_text() and "red" in worker.log.read_text(), "the text itself is there")
    steady.check()


def test_F037_outcomes_of_100_MB_become_small_ones(native):
    worker = native.worker()
    steady = Steady(native, worker)
    result = native.send("zoo.result", [100_000_000], timeout=60)
    assert result["error"]["type"] == "ResultTooLarge"
    assert "100000002" in result["error"]["message"]
    error = native.send("zoo.error", [100_000_000], timeout=60)
    assert error["state"] == "FAILURE"
    assert len(json.dumps(native.result(error["id"]))) < 1 << 20
    steady.check()


def test_GN_46_children_are_replaced_by_count_and_every_task_is_settled_once(native):
    """A thousand tasks of ten a child are in tests/unit/pools; here the stores are part of it."""
    worker = native.worker("--max-tasks-per-child", "3")
    ids = [native.send("cpp.add", [1, i], wait=False)["id"] for i in range(45)]
    for one in ids:
        wait_for(lambda: native.result(one)["state"] == "SUCCESS", one, 60)
    lines = log_of(worker)
    assert sorted(line["task_id"] for line in lines if line.get("event") == "task.succeeded") == sorted(ids)
    ended = wait_for(lambda: (found := {line["child_pid"] for line in log_of(worker) if line.get("event") == "process.ended"})
                     and len(found) >= 14 and found, "spent children have ended")
    assert len(ended) <= 16


@pytest.mark.skipif("ERRAND_SANITIZE" in os.environ, reason="sanitizers have a memory of their own")
def test_an_idle_worker_with_two_children_is_small(native, record_property):
    worker = native.worker()
    native.send("cpp.add", [1, 2])
    processes = [worker.pid, *below(worker.pid)]
    assert len(processes) == 4
    use = {}
    for pid in processes:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Rss:", "Pss:")):
                use[line[:3]] = use.get(line[:3], 0) + int(line.split()[1])
    for kind, kib in use.items():
        record_property(f"idle_{kind.lower()}_kib", kib)
    assert use["Pss"] <= 20 * 1024
