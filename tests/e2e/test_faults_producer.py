"""Group A of the fault catalogue: whoever sends is killed, refused, kept waiting or wrong. The real command line."""
import json
import os
import shutil
import subprocess
import time

import pytest

from interop_support import Native, free_port, missing, program, wait_for
from servers import Proxy, RedisServer


@pytest.fixture
def server(tmp_path):
    one = RedisServer(tmp_path / "redis")
    yield one
    one.stop()


def send_command(url, *more):
    return [program("interop_worker"), "send", "cpp.add", "[1, 2]", "--queue", "native", "-b", url, "--json", *more]


def run_killed_at(number, call, url, folder):
    """`send`, killed by the kernel as it enters that system call for the number-th time."""
    trace = folder / "trace"
    environment = dict(os.environ)
    if environment.get("ASAN_OPTIONS") is not None:
        environment["ASAN_OPTIONS"] += ":detect_leaks=0"  # it needs ptrace itself
    return subprocess.run(["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}",
                           *send_command(url)], capture_output=True, text=True, timeout=60, cwd=folder, env=environment)


def may_trace():
    if shutil.which("strace") is None:
        missing("strace")
    done = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"this user may not trace its processes: {done.stderr.strip()}")


@pytest.mark.parametrize("kind", ["redis", "sqlite"])
def test_F001_F002_a_sender_killed_at_every_system_call_that_writes_leaves_a_whole_message_or_none(kind, tmp_path, request):
    may_trace()
    url = request.getfixturevalue("server").url if kind == "redis" else f"sqlite:///{tmp_path}/errand.db"
    call = "sendto" if kind == "redis" else "pwrite64"
    native = Native(url, tmp_path)
    native.run("status", "-b", url)
    promised, number = set(), 1
    while True:
        done = run_killed_at(number, call, url, tmp_path)
        if done.returncode == 0:
            promised.add(json.loads(done.stdout)["id"])
            break  # it made fewer such calls than that
        assert done.returncode in (-9, 137), done.stderr
        if done.stdout:
            promised.add(json.loads(done.stdout)["id"])  # killed while it cleaned up
        number += 1
        assert number < 200
    assert number > 1
    depth = next(row for row in json.loads(native.run("queues", "-b", url, "--json").stdout) if row["name"] == "native")
    waiting = depth["ready"]
    assert 1 <= waiting <= number
    try:
        worker = native.worker()
        assert native.send("cpp.add", [5, 5])["result"] == 10
        succeeded = lambda: {e["task_id"] for line in worker.log.read_text().splitlines() if (e := json.loads(line))["event"] == "task.succeeded"}
        wait_for(lambda: len(succeeded()) == waiting + 1, "every message that is there runs")
        assert promised <= succeeded()
        assert "dead_lettered" not in worker.log.read_text()
    finally:
        native.stop()


def test_F002_a_lost_answer_is_repeated_with_the_same_id_and_the_task_is_never_lost(server, tmp_path):
    proxy = Proxy(server.port)
    try:
        proxy.lose_answer_to = b"LPUSH"
        sending = subprocess.Popen(send_command(proxy.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        wait_for(lambda: proxy.lost == 1, "the first answer is lost")
        proxy.lose_answer_to = None
        out, err = sending.communicate(timeout=30)
        assert sending.returncode == 0, err
        task_id = json.loads(out)["id"]
        copies = [json.loads(entry)["headers"]["id"] for entry in server.client.lrange("native", 0, -1)]
        assert copies == [task_id, task_id], "the first arrived as well, and cannot be told from the second"
        # Every answer is lost: the sender is told that it cannot know, with the id to ask for.
        proxy.lose_answer_to = b"LPUSH"
        done = subprocess.run(send_command(proxy.url), capture_output=True, text=True, timeout=30, cwd=tmp_path)
        assert done.returncode == 1
        assert "in doubt" in done.stderr
        ids = {json.loads(entry)["headers"]["id"] for entry in server.client.lrange("native", 0, -1)}
        assert len(ids) == 2 and any(one in done.stderr for one in ids - {task_id})
    finally:
        proxy.stop()


def test_F003_a_refused_connection_is_an_error_within_the_publish_timeout_and_never_a_silent_drop(tmp_path):
    url = f"redis://127.0.0.1:{free_port()}/0"
    begin = time.monotonic()
    done = subprocess.run(send_command(url), capture_output=True, text=True, timeout=60, cwd=tmp_path)
    took = time.monotonic() - begin
    assert done.returncode == 1 and not done.stdout
    assert "refused" in done.stderr and "127.0.0.1" in done.stderr
    assert took < 5 + 5, "5 s is the publish timeout, on a busy machine"


def test_F003_a_broker_that_comes_back_within_the_timeout_is_not_noticed(server, tmp_path):
    server.kill()
    sending = subprocess.Popen(send_command(server.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    server.start()
    out, err = sending.communicate(timeout=60)
    assert sending.returncode == 0, err
    assert server.client.llen("native") == 1


def test_F004_a_server_that_accepts_and_never_answers_fails_within_the_publish_timeout(server, tmp_path):
    with server.frozen():
        begin = time.monotonic()
        done = subprocess.run(send_command(server.url), capture_output=True, text=True, timeout=60, cwd=tmp_path)
        took = time.monotonic() - begin
    assert done.returncode == 1 and not done.stdout
    assert "no answer in time" in done.stderr or "in doubt" in done.stderr
    assert took < 2 * 5 + 5, "one try and the one that a doubt allows, on a busy machine"


@pytest.mark.parametrize("kind", ["redis", "sqlite"])
@pytest.mark.parametrize("size", [1, 16, 64])
def test_F008_a_message_over_a_limit_is_refused_before_a_byte_is_sent(kind, size, tmp_path, request):
    url = request.getfixturevalue("server").url if kind == "redis" else f"sqlite:///{tmp_path}/errand.db"
    native = Native(url, tmp_path)
    native.run("status", "-b", url)
    done = subprocess.run([program("interop_worker"), "send", "cpp.echo", "-", "--queue", "native", "-b", url], capture_output=True,
                          text=True, timeout=60, cwd=tmp_path, input='["' + "x" * (size << 20) + '"]')
    rows = json.loads(native.run("queues", "-b", url, "--json").stdout)
    if size == 1:
        assert done.returncode == 0, done.stderr
        assert [row["ready"] for row in rows if row["name"] == "native"] == [1]
        return
    assert done.returncode in (1, 2), done.stdout
    assert "limit" in done.stderr and "expected" in done.stderr, done.stderr[:500]
    assert any(character.isdigit() for character in done.stderr)
    assert all(row["ready"] == 0 for row in rows)


def test_F009_a_value_without_a_JSON_form_is_refused_and_what_JSON_can_say_arrives(tmp_path, server):
    native = Native(server.url, tmp_path)
    try:
        native.worker()
        for text in ("[1", "[01]", "[nan]", "['x']"):
            done = native.run("send", "cpp.echo", text, "--queue", "native", "-b", server.url)
            assert done.returncode == 2, text
        raw = subprocess.run([program("interop_worker").encode(), b"send", b"cpp.echo", b'["\xff\xfe"]', b"--queue", b"native", b"-b",
                              server.url.encode()], capture_output=True, timeout=30, cwd=tmp_path)
        assert raw.returncode == 2 and b"utf-8" in raw.stderr.lower(), raw.stderr
        assert server.client.llen("native") == 0
        assert native.send("cpp.echo", [2**64])["result"] == 2**64
    finally:
        native.stop()


def test_F010_a_wrong_call_is_refused_before_sending_with_task_parameter_expected_and_given(tmp_path, server):
    native = Native(server.url, tmp_path)
    for arguments, words in [('[1, "two"]', ["cpp.add", "y", "integer"]), ("[1]", ["cpp.add", "y"]), ("[1, 2, 3]", ["cpp.add", "2"])]:
        done = native.run("send", "cpp.add", arguments, "--queue", "native", "-b", server.url)
        assert done.returncode == 2
        for word in words:
            assert word in done.stderr, done.stderr
    assert server.client.llen("native") == 0
