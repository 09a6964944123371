"""One task's life on SQLite and on Redis: sent, run, retried, failed, dead-lettered, answered."""
import json
import signal
import subprocess
import threading

import pytest

from interop_support import program, wait_for


def test_a_task_is_sent_run_and_answered(native):
    native.worker()
    answer = native.send("cpp.add", [1, 2])
    assert (answer["state"], answer["result"]) == ("SUCCESS", 3)


def test_bytes_travel_both_ways(native):
    # On Redis a sender must say that Python there reads typed values (kombu 5.3); who sends bytes gets bytes back.
    native.worker()
    (native.folder / "errand.toml").write_text("typed_json = true\n")
    typed = {"__type__": "base64", "__value__": "/wA="}
    assert native.send("cpp.bytes", [typed])["result"] == typed


def test_retries_are_counted_and_the_last_reason_is_the_failure(native):
    native.worker()
    assert native.send("cpp.flaky", [3])["result"] == 3
    answer = native.send("cpp.always_retry")
    assert answer["state"] == "FAILURE"
    assert "provider is away" in answer["error"]["message"]


def test_AT_19_the_state_is_RETRY_with_the_reason_while_it_waits(native):
    native.worker()
    sent = native.send("cpp.flaky", [6], wait=False)
    seen = wait_for(lambda: (r := native.result(sent["id"]))["state"] == "RETRY" and r, "the state is RETRY")
    assert "not yet" in json.dumps(seen)


def test_an_unknown_task_is_kept_and_can_be_requeued_for_a_newer_worker(native):
    native.worker()
    sent = native.send("cpp.not_there", [1], None, "--queue", "native", wait=False)
    listed = wait_for(lambda: json.loads(native.run("dead", "list", "native", "-b", native.broker_url, "--json").stdout),
                      "the message is in the dead letters")
    letter = listed[0]
    assert letter["reason"] == "UNKNOWN_TASK"
    assert letter["task_id"] == sent["id"]
    done = native.run("dead", "requeue", "native", letter["id"], "-b", native.broker_url)
    assert done.returncode == 0, done.stderr
    again = wait_for(lambda: json.loads(native.run("dead", "list", "native", "-b", native.broker_url, "--json").stdout),
                     "it comes back, as nobody knows the task yet")
    dropped = native.run("dead", "drop", "native", again[0]["id"], "-b", native.broker_url)
    assert dropped.returncode == 0, dropped.stderr


def test_CP_2_a_wrong_call_is_refused_before_anything_is_sent(native):
    before = native.run("queues", "-b", native.broker_url, "--json").stdout
    for args, kwargs, named in [([1], None, "y"), ([1, 2, 3], None, "cpp.add"), (["one", 2], None, "x"), ([1], {"z": 2}, "z")]:
        command = ["send", "cpp.add", json.dumps(args), "-b", native.broker_url]
        if kwargs:
            command += ["--kwargs", json.dumps(kwargs)]
        done = native.run(*command)
        assert done.returncode == 2, done.stdout
        assert named in done.stderr
    assert native.run("queues", "-b", native.broker_url, "--json").stdout == before


def test_CP_29_a_secret_argument_is_in_the_message_and_nowhere_else(native):
    worker = native.worker()
    canary = "canary-7f3a9"
    answer = native.send("cpp.secret", ["ann", canary])
    assert answer["result"] == f"ann:{len(canary)}"
    assert canary not in worker.log.read_text()
    assert canary not in native.run("result", answer["id"], "-b", native.broker_url, "--json").stdout


def test_AT_37_every_line_of_the_json_log_parses_and_names_its_task(native):
    worker = native.worker()
    ids = [native.send("cpp.add", [1, i])["id"] for i in range(3)]
    failed = native.send("cpp.fail", ["no"])["id"]
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    ended = [line for line in lines if line.get("event") in ("task.succeeded", "task.failed")]
    assert {line["task_id"] for line in ended} >= {*ids, failed}
    for line in ended:
        assert line["task_name"].startswith("cpp.")
        assert line["queue"] == "native"
        assert line["duration"] >= 0


def test_GN_10_a_crashed_process_is_logged_with_its_pid_signal_and_task(native):
    worker = native.worker()
    answer = native.send("cpp.crash", [], timeout=60)
    assert answer["error"]["type"] == "WorkerLostError"
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    ends = [line for line in lines if line.get("event") == "process.ended" and line.get("signal")]
    assert any(line["signal"] == "SIGSEGV" and line["task_id"] == answer["id"] for line in ends)
    assert native.send("cpp.add", [1, 2])["result"] == 3


def test_F022_a_warm_stop_finishes_what_runs_and_returns_the_rest(native):
    worker = native.worker(concurrency=1)
    running = native.send("cpp.slow", [1.0], wait=False)
    wait_for(lambda: running["id"] in worker.log.read_text(), "the task has begun")
    waiting = [native.send("cpp.add", [1, i], wait=False) for i in range(5)]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert native.result(running["id"])["state"] == "SUCCESS"
    native.worker()
    for i, sent in enumerate(waiting):
        got = wait_for(lambda: (r := native.result(sent["id"]))["state"] == "SUCCESS" and r, "returned tasks run later")
        assert got["result"] == 1 + i


def test_F014_a_killed_workers_task_runs_again(native):
    worker = native.worker("--lease", "3s")
    sent = native.send("cpp.slow", [2.0], wait=False)
    wait_for(lambda: "task.started" in worker.log.read_text(), "the task has begun")
    worker.kill()
    worker.wait(10)
    native.worker("--lease", "3s")
    wait_for(lambda: native.result(sent["id"])["state"] == "SUCCESS", "the task ran again", 60)


def test_F031_a_task_that_ignores_its_hard_limit_is_killed_and_the_worker_lives(native):
    native.worker()
    answer = native.send("cpp.stubborn", [60], None, "--time-limit", "1s")
    assert answer["error"]["type"] == "TimeLimitExceeded"
    assert native.send("cpp.add", [2, 2])["result"] == 4


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_every_pool_runs_the_same_tasks(native, pool):
    native.worker("-P", pool, concurrency=1 if pool == "solo" else 2)
    assert native.send("cpp.add", [20, 22])["result"] == 42
    assert native.send("cpp.fail", ["no"])["error"]["type"] == "ValueError"
    assert native.send("cpp.flaky", [2])["result"] == 2


def test_DZ_3_each_worker_takes_only_from_its_own_queues(native):
    native.worker("-n", "build@host", queue="build")
    native.worker("-n", "proxy@host", queue="proxy")
    for queue in ("build", "proxy"):
        for _ in range(5):
            answer = native.send("cpp.request", [], None, "--queue", queue)
            assert answer["result"]["queue"] == queue
            assert native.result(answer["id"])["worker"] == f"{queue}@host"


def test_many_senders_and_workers_lose_and_double_nothing(native):
    native.worker()
    native.worker()
    ids, lock = [], threading.Lock()

    def send_some():
        for i in range(20):
            answer = native.send("cpp.add", [i, i])
            with lock:
                ids.append((answer["id"], answer["result"] == 2 * i))

    threads = [threading.Thread(target=send_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for one, _ in ids}) == 80
    assert all(right for _, right in ids)


def test_CP_43_one_file_serves_senders_workers_and_viewers_as_separate_processes(native):
    if not native.broker_url.startswith("sqlite"):
        pytest.skip("the requirement is about the file")
    native.worker()
    answer = native.send("cpp.progress", [10])
    assert answer["result"] == 10
    status = native.run("status", "-b", native.broker_url, "--json")
    assert status.returncode == 0, status.stderr
    assert "native" in status.stdout


def test_AT_36_two_sites_with_prefixes_share_one_broker_and_no_message(native):
    if not native.broker_url.startswith("redis"):
        pytest.skip("a prefix is for servers that several sites share")
    native.worker("--key-prefix", "staging:")
    other = native.run("send", "cpp.add", "[1, 2]", "-q", "native", "-b", native.broker_url, "--key-prefix", "prod:", "--json")
    assert other.returncode == 0, other.stderr
    mine = native.run("send", "cpp.add", "[1, 2]", "-q", "native", "-b", native.broker_url, "--key-prefix", "staging:", "--wait", "--json")
    assert json.loads(mine.stdout)["result"] == 3
    theirs = native.run("result", json.loads(other.stdout)["id"], "-b", native.broker_url, "--key-prefix", "prod:", "--json")
    assert json.loads(theirs.stdout)["state"] == "PENDING"


def test_CP_5_the_catalogue_lists_a_task_with_its_signature_queue_and_retries(native):
    tasks = json.loads(native.run("tasks", "--json").stdout)["tasks"]
    assert tasks["cpp.add"]["order"] == ["x", "y"]
    assert set(tasks["cpp.add"]["parameters"]["properties"]) == {"x", "y"}
    assert "queue" in tasks["cpp.add"]
    assert "x2" in tasks["cpp.always_retry"]["retry"]


def test_a_task_of_the_configuration_file_runs_a_program(native):
    (native.folder / "shout.sh").write_text("#!/bin/sh\nread line\necho working >&2\nprintf '\"%s\"' LOUD\n")
    (native.folder / "shout.sh").chmod(0o755)
    (native.folder / "errand.toml").write_text('[tasks."shell.shout"]\ncommand = ["./shout.sh"]\n')
    native.worker()
    assert native.send("shell.shout", ["quiet"])["result"] == "LOUD"


def test_systemd_is_told_when_the_worker_is_ready(native):
    import os
    import socket

    path = native.folder / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(20)
        native.worker(extra_env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "2000000"})
        said = [listener.recv(200), listener.recv(200)]
        assert b"READY=1" in said[0] + said[1]
        while b"WATCHDOG=1" not in said[-1]:
            said.append(listener.recv(200))
