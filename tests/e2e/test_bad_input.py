"""Wrong input: a clear message, the documented exit code, and a worker that goes on."""
import json
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import tempfile

import pytest

from interop_support import Native, free_port, program, wait_for


def test_a_misspelt_broker_scheme_names_the_nearest(errand):
    done = errand("worker", "-b", "redsi://x")
    assert done.returncode == 78
    assert "redsi" in done.stderr and "redis" in done.stderr.replace("redsi", "")


def test_a_misspelt_key_names_file_line_and_the_nearest_key(errand):
    (errand.folder / "errand.toml").write_text('broker_url = "sqlite:///x.db"\nworker_concurency = 4\n')
    done = errand("worker")
    assert done.returncode == 78
    assert "errand.toml:2" in done.stderr
    assert "worker_concurency" in done.stderr and "worker_concurrency" in done.stderr


@pytest.mark.parametrize("path, why", [("no/such/file.toml", "No such file"), (".", "is a directory")])
def test_an_unreadable_file_is_named(errand, path, why):
    done = errand("worker", "--config", path)
    assert done.returncode == 78
    assert path in done.stderr and why in done.stderr


def test_a_file_without_the_right_to_read_it_is_named_with_user_and_mode(errand):
    # Also where the tests run as root: as nobody, from a folder that nobody may enter.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="errand-unreadable-"))
    try:
        folder.chmod(0o755)
        (folder / "errand.toml").write_text("worker_concurrency = 1\n")
        (folder / "errand.toml").chmod(0)
        shutil.copy(program("errand"), folder / "errand")
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
        done = subprocess.run([*as_nobody, "./errand", "worker"], cwd=folder, capture_output=True, text=True, timeout=30)
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 78, done.stderr
    assert "errand.toml: cannot be read: Permission denied" in done.stderr and "needs the right to read it" in done.stderr


def test_a_port_that_refuses_is_unavailable_within_five_seconds(errand):
    done = errand("send", "any.task", "-b", f"redis://127.0.0.1:{free_port()}/0", timeout=20)
    assert done.returncode == 1
    assert "refused" in done.stderr.lower()


def test_a_broker_that_never_answers_fails_in_time(errand):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        done = errand("send", "any.task", "-b", f"redis://127.0.0.1:{silent.getsockname()[1]}/0", timeout=30)
    assert done.returncode == 1
    assert done.stderr.strip()


def test_a_queue_name_with_a_newline_is_refused(errand):
    done = errand("send", "any.task", "--queue", "a\nb")
    assert done.returncode == 2
    assert "queue" in done.stderr
    assert "a\nb" not in done.stderr, "the message stays on one line"


def test_an_argument_of_a_gigabyte_is_refused_with_the_limit_before_it_is_read(errand):
    # Through standard input, since no command line can carry it; the reader stops at its limit.
    process = subprocess.Popen([program("errand"), "send", "any.task", "-"], cwd=errand.folder, bufsize=0,
                               stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    given = 0
    try:
        process.stdin.write(b'["')
        for _ in range(1024):
            process.stdin.write(b"x" * (1 << 20))
            given += 1
    except BrokenPipeError:
        pass
    said = process.stderr.read().decode()
    process.stdin.close()
    assert process.wait(60) == 2
    assert "limit of 16777216 bytes (max_message_size)" in said
    assert given < 64, "it stopped reading at the limit"


def test_a_worker_waits_for_a_broker_that_is_not_there_yet(redis_server, tmp_path):
    port = free_port()
    native = Native(f"redis://127.0.0.1:{port}/0", tmp_path)
    log = tmp_path / "waiting.log"
    with log.open("w") as out:
        worker = subprocess.Popen([program("interop_worker"), "worker", "-b", native.broker_url, "-Q", "native"],
                                  stderr=out, cwd=tmp_path)
    server = None
    try:
        wait_for(lambda: "cannot be reached" in log.read_text(), "it says that the port refuses")
        assert "refused" in log.read_text() and str(port) in log.read_text()
        server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir",
                                   str(tmp_path)], stdout=subprocess.DEVNULL)
        wait_for(lambda: "worker ready" in log.read_text(), "it is ready once the broker is there", 60)
        assert native.send("cpp.add", [1, 2])["result"] == 3
    finally:
        worker.terminate()
        assert worker.wait(30) == 0
        if server is not None:
            server.terminate()
            server.wait(10)


def test_a_worker_that_is_stopped_before_it_reached_its_broker_ends_with_69(errand):
    log = errand.folder / "waiting.log"
    with log.open("w") as out:
        worker = subprocess.Popen([program("errand"), "worker", "-b", f"redis://127.0.0.1:{free_port()}/0"], stderr=out,
                                  cwd=errand.folder)
    wait_for(lambda: "cannot be reached" in log.read_text(), "it says that the port refuses")
    worker.terminate()
    assert worker.wait(30) == 69


def test_rubbish_in_a_sqlite_queue_is_dead_lettered_and_the_worker_goes_on(tmp_path):
    native = Native(f"sqlite:///{tmp_path}/errand.db", tmp_path)
    rubbish = [("\x00\xff", b"\xff\xfe\x00"), ("{", b"[[], {}, {}]"), ("[]", b"[[], {}, {}]"), ("null", b""),
               ('{"headers": {"task": "cpp.add", "id": "r4"}}', b"\x80\x02K\x01."), ("[" * 100_000, b"")]
    try:
        native.worker()
        with sqlite3.connect(tmp_path / "errand.db") as db:
            queue, = db.execute("select id from queue where name = 'native'").fetchone()
            for meta, body in rubbish:
                row = db.execute("insert into message (queue, urgency, meta, body, sent_at) values (?, 0, ?, ?, 0)",
                                 (queue, meta, body))
                db.execute("insert into ready values (?, 0, ?, 0)", (queue, row.lastrowid))
        assert native.send("cpp.add", [1, 2])["result"] == 3

        def letters():
            return json.loads(native.run("dead", "list", "native", "-b", native.broker_url, "--json").stdout)

        wait_for(lambda: len(letters()) == len(rubbish), "each is in the dead letters")
        assert all(one["reason"] in ("UNDECODABLE", "NOT_A_TASK", "BAD_HEADER", "BAD_BODY", "CONTENT_DISALLOWED")
                   for one in letters()), letters()
        assert native.send("cpp.add", [1, 2])["result"] == 3
    finally:
        native.stop()


@pytest.mark.parametrize("rubbish", [b"\xff\xfe\x00binary", b"{", b"[]", b"null", b'{"body": "!!!", "properties": {}}',
                                     b'{"body": "e30=", "headers": {}, "properties": {"delivery_info": {}}}',
                                     b"[" * 200_000], ids=range(7))
def test_rubbish_in_a_redis_queue_is_dead_lettered_and_the_worker_goes_on(redis_server, tmp_path, rubbish):
    import redis

    client = redis.Redis(port=redis_server, db=15)
    client.flushdb()
    native = Native(f"redis://127.0.0.1:{redis_server}/15", tmp_path)
    try:
        native.worker()
        client.lpush("native", rubbish)
        wait_for(lambda: client.llen("native") == 0, "the rubbish is taken from the queue")
        letters = wait_for(lambda: json.loads(native.run("dead", "list", "native", "-b", native.broker_url, "--json").stdout),
                           "it is in the dead letters")
        assert letters[0]["reason"]
        assert native.send("cpp.add", [1, 2])["result"] == 3
    finally:
        native.stop()


def test_an_unknown_command_and_an_unknown_option_are_used_wrongly(errand):
    assert errand("wrok").returncode == 2
    assert errand("worker", "--no-such-option").returncode == 2


def test_a_file_that_is_no_errand_database_is_left_alone(errand):
    path = errand.folder / "notes.db"
    path.write_bytes(b"these are my notes, not a database\n" * 100)
    before = path.read_bytes()
    done = errand("send", "any.task", "-b", f"sqlite:///{path}")
    assert done.returncode == 1
    assert "notes.db" in done.stderr
    assert path.read_bytes() == before
