"""Wrong input: a clear message, the documented exit code, and a worker that goes on."""
import json
import socket

import pytest

from interop_support import free_port, wait_for


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


def test_an_unreadable_file_is_named(errand):
    done = errand("worker", "--config", "no/such/file.toml")
    assert done.returncode == 78
    assert "no/such/file.toml" in done.stderr


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


def test_an_argument_of_a_gigabyte_is_refused_with_size_and_limit(errand):
    # Through standard input, since no command line can carry it; the reader stops at its limit.
    done = errand("send", "any.task", "-", stdin='["' + "x" * (64 << 20) + '"]', timeout=60)
    assert done.returncode == 2
    assert "limit" in done.stderr


@pytest.mark.parametrize("rubbish", [b"\xff\xfe\x00binary", b"{", b"[]", b"null", b'{"body": "!!!", "properties": {}}',
                                     b'{"body": "e30=", "headers": {}, "properties": {"delivery_info": {}}}',
                                     b"[" * 200_000], ids=range(7))
def test_rubbish_in_a_redis_queue_is_dead_lettered_and_the_worker_goes_on(redis_server, tmp_path, rubbish):
    import redis

    from interop_support import Native

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
