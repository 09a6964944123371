"""Native programs send work to stock Python workers over Redis and read what came of it."""
import math

import pytest

from conftest import wait_for


@pytest.fixture
def worker(python_worker):
    return python_worker()


@pytest.mark.parametrize(
    "value", [1, -(2**63), 10**25, 0.1, True, None, "žluťoučký ☃ 𝄞", [1, [2]], {"a": {"b": None}}], ids=repr)
def test_a_value_comes_back_as_it_was_sent(native, worker, value):
    answer = native.send("py.echo", [value], None, "--queue", "python")
    assert answer["state"] == "SUCCESS"
    assert answer["result"] == value


def test_nan_survives(native, worker):
    assert math.isnan(native.send("py.echo", [math.nan], None, "--queue", "python")["result"])


def test_keyword_arguments(native, worker):
    assert native.send("py.add", [1], {"y": 2}, "--queue", "python")["result"] == 3


def test_pythons_exception_shows_type_and_message(native, worker):
    answer = native.send("py.fail", ["deliberate"], None, "--queue", "python")
    assert answer["state"] == "FAILURE"
    assert answer["error"]["type"] == "ValueError"
    assert "deliberate" in answer["error"]["message"]


def test_a_python_retry_of_a_native_message_keeps_its_id(native, worker):
    answer = native.send("py.flaky", [2], None, "--queue", "python", "--id", "native-retry-1")
    assert answer["id"] == "native-retry-1"
    assert answer["result"] == 2


def test_python_sees_headers_limits_and_origin(native, worker):
    answer = native.send("py.request", [], None, "--queue", "python", "--header", "x-trace=abc",
                         "--time-limit", "30", "--soft-time-limit", "20", "--priority", "3")
    seen = answer["result"]
    assert seen["id"] == seen["root_id"] == answer["id"]
    assert seen["parent_id"] is None
    assert seen["timelimit"] == [30, 20]
    assert seen["priority"] == 3
    assert seen["retries"] == 0
    assert seen["origin"].startswith("gen") and "@" in seen["origin"]
    assert (seen["argsrepr"], seen["kwargsrepr"]) == ("()", "{}")


def test_countdown_and_expiry_are_honoured_by_python(native, python_worker):
    sent = native.send("py.add", [1, 2], None, "--queue", "python", "--expires", "-1s", wait=False)
    python_worker()
    answer = wait_for(lambda: (a := native.result(sent["id"]))["state"] == "REVOKED" and a, "the expired task is revoked")
    assert "expired" in answer["error"]["message"]
    assert native.send("py.add", [1, 2], None, "--queue", "python", "--countdown", "1s")["result"] == 3


@pytest.mark.parametrize("method", ["gzip", "bzip2", "lzma"])
def test_a_compressed_body_is_read_by_python(native, worker, method):
    text = "y" * 10_000
    assert native.send("py.echo", [text], None, "--queue", "python", "--compression", method)["result"] == text


def test_ignore_result_stores_nothing(native, worker, redis_client):
    sent = native.send("py.add", [1, 2], None, "--queue", "python", "--ignore-result", wait=False)
    assert native.send("py.add", [1, 2], None, "--queue", "python")["result"] == 3
    assert redis_client.get(f"celery-task-meta-{sent['id']}") is None


def test_one_queue_is_shared_by_a_python_and_a_native_worker(native, celery_app, python_worker):
    python_worker("shared")
    native.worker(queue="shared")
    who = set()

    def both():
        results = [celery_app.send_task("both.who", queue="shared") for _ in range(20)]
        who.update(r.get(timeout=20) for r in results)
        return who == {"python", "native"}

    wait_for(both, "both kinds of worker took tasks from the shared queue", 60)
