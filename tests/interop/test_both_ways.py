"""What must hold in both directions, each half beside the other."""
import datetime
import json
import pickle

import pytest

from conftest import missing, wait_for

METHODS = ["gzip", "bzip2", "lzma", "zstd", "brotli"]


def known_to_kombu(method):
    from kombu.compression import encoders, get_encoder

    try:
        get_encoder(method)
    except KeyError:
        missing(f"Python's module for {method} (kombu here knows {', '.join(encoders())})")


@pytest.mark.parametrize("method", METHODS)
def test_python_compresses_and_native_unpacks(celery_app, native, method):
    known_to_kombu(method)
    native.worker()
    # Celery 5.2 takes the compression of messages from result_compression (fixed in 5.3).
    celery_app.conf.result_compression = method
    text = "packed " * 3_000
    sent = celery_app.send_task("cpp.echo", args=[text], compression=method)
    answer = wait_for(lambda: (r := native.result(sent.id))["state"] == "SUCCESS" and r, "it has run")
    assert answer["result"] == text


@pytest.mark.parametrize("method", METHODS)
def test_native_compresses_and_python_unpacks(native, python_worker, method, redis_client):
    known_to_kombu(method)
    text = "packed " * 3_000
    sent = native.send("py.echo", [text], None, "--queue", "python", "--compression", method, wait=False)
    assert len(redis_client.lindex("python", 0)) < len(text), "it really is smaller"
    python_worker()
    answer = wait_for(lambda: (r := native.result(sent["id"]))["state"] == "SUCCESS" and r, "it has run")
    assert answer["result"] == text


def test_CP_24_labels_that_python_sets_as_headers_or_plain_options_reach_native(celery_app, native):
    native.worker()
    seen = celery_app.send_task("cpp.request", headers={"creator_id": 7}, related_object_id="42").get(timeout=20)
    assert seen["headers"]["creator_id"] == 7
    assert seen["properties"]["related_object_id"] == "42"


def test_CP_24_labels_that_native_sets_are_headers_and_properties_for_python(native, python_worker, redis_client):
    native.send("py.request", [], None, "--queue", "python", "--header", "creator_id=7", wait=False)
    envelope = json.loads(redis_client.lindex("python", 0))
    assert envelope["headers"]["creator_id"] == envelope["properties"]["creator_id"] == "7"
    python_worker()
    seen = native.send("py.request", [], None, "--queue", "python", "--header", "related=42")["result"]
    assert seen["labels"] == {"header": "42", "property": "42"}


def test_native_tasks_for_later_start_then_in_python(native, python_worker, celery_app):
    python_worker()
    begin = datetime.datetime.now(datetime.timezone.utc)
    eta = (begin + datetime.timedelta(seconds=1.5)).isoformat()
    answer = native.send("py.add", [1, 2], None, "--queue", "python", "--eta", eta)
    done = datetime.datetime.fromisoformat(answer["done_at"].replace("Z", "+00:00"))
    assert answer["result"] == 3 and done - begin >= datetime.timedelta(seconds=1.4)


@pytest.mark.parametrize("limits, error", [(("--soft-time-limit", "1s", "--time-limit", "30s"), "SoftTimeLimitExceeded"),
                                           (("--time-limit", "1s"), "TimeLimitExceeded")])
def test_native_time_limits_are_enforced_by_python(native, python_worker, limits, error):
    python_worker()
    answer = native.send("py.sleep", [60], None, "--queue", "python", *limits, timeout=60)
    assert (answer["state"], answer["error"]["type"]) == ("FAILURE", error)


def test_native_priorities_order_a_python_worker(native, python_worker):
    ids = {p: native.send("py.request", [], None, "--queue", "python", "--priority", str(p), wait=False)["id"]
           for p in (9, 6, 3, 0)}
    python_worker("python", "-O", "fair")
    answers = {p: wait_for(lambda: (r := native.result(one))["state"] == "SUCCESS" and r, "it has run")
               for p, one in ids.items()}
    assert sorted(answers, key=lambda p: answers[p]["done_at"]) == [0, 3, 6, 9]


def states(celery_app, native):
    return {"SUCCESS": celery_app.send_task("cpp.add", args=(1, 2)), "FAILURE": celery_app.send_task("cpp.fail", args=("no",)),
            "REVOKED": celery_app.send_task("cpp.add", args=(1, 2), expires=-1)}


def test_AT_20_DZ_12_every_native_record_has_its_fields_and_date_in_utc(celery_app, native):
    native.worker()
    for state, sent in states(celery_app, native).items():
        wait_for(sent.ready, "it has ended")
        meta = sent.backend.get_task_meta(sent.id)
        assert meta["status"] == state
        done = datetime.datetime.fromisoformat(str(meta["date_done"]))
        assert done.utcoffset() == datetime.timedelta(0)
        assert abs(datetime.datetime.now(datetime.timezone.utc) - done) < datetime.timedelta(minutes=2)
        assert (sent.name, sent.queue, sent.retries) == (("cpp.fail" if state == "FAILURE" else "cpp.add"), "native", 0)
        assert sent.worker.startswith("celery@")
        if state != "REVOKED":  # what never ran was never looked into
            assert list(sent.args) == ([1, 2] if state == "SUCCESS" else ["no"])


def test_DZ_12_a_record_of_python_has_its_date_for_native(native, python_worker):
    python_worker()
    for name in ("py.echo", "py.fail"):
        done = native.send(name, ["x"], None, "--queue", "python")["done_at"]
        assert datetime.datetime.fromisoformat(done.replace("Z", "+00:00")).utcoffset() == datetime.timedelta(0)


def test_DZ_11_everything_native_sends_is_json(native, redis_client):
    native.send("any.task", [1, None, "x"], None, "--queue", "python", wait=False)
    envelope = json.loads(redis_client.lindex("python", 0))
    assert (envelope["content-type"], envelope["content-encoding"]) == ("application/json", "utf-8")


@pytest.mark.parametrize("serializer", ["pickle", "yaml"])
def test_GN_49_a_message_that_is_no_json_is_kept_with_one_clear_line_and_the_worker_goes_on(celery_app, native, serializer,
                                                                                          redis_client):
    worker = native.worker()
    try:
        sent = celery_app.send_task("cpp.add", args=(1, 2), serializer=serializer)
    except Exception as error:  # kombu without PyYAML
        assert "yaml" in str(error).lower()
        pytest.skip("kombu has no YAML here")
    letters = wait_for(lambda: json.loads(native.run("dead", "list", "native", "-b", native.broker_url, "--json").stdout),
                       "it is kept")
    assert (letters[0]["reason"], letters[0]["task_id"]) == ("CONTENT_DISALLOWED", sent.id)
    shown = native.run("dead", "show", "native", letters[0]["id"], "-b", native.broker_url, "--json").stdout
    assert f"application/x-{'python-serialize' if serializer == 'pickle' else 'yaml'}" in json.loads(shown)["raw"]
    lines = [json.loads(line) for line in worker.log.read_text().splitlines() if sent.id in line]
    told = [line for line in lines if line["severity"] in ("WARNING", "ERROR")]
    assert len(told) == 1 and serializer in told[0]["message"].replace("python-serialize", "pickle")
    assert celery_app.send_task("cpp.add", args=(1, 2)).get(timeout=20) == 3


def test_GN_49_a_pickled_result_of_python_is_never_decoded(native, redis_client):
    redis_client.set("celery-task-meta-old", pickle.dumps({"status": "SUCCESS", "result": 1}, protocol=2))
    shown = native.run("result", "old", "-b", native.broker_url)
    assert shown.returncode == 1 and "unsupported result" in shown.stderr


def test_AT_36_a_site_of_python_and_native_programs_shares_a_redis_by_its_prefix(celery_app, native, redis_client):
    celery_app.conf.broker_transport_options = {"global_keyprefix": "staging:"}
    native.worker("--key-prefix", "staging:")
    sent = celery_app.send_task("cpp.add", args=(1, 2))
    wait_for(lambda: redis_client.get(f"staging:celery-task-meta-{sent.id}"), "its result stands under the prefix")
    assert native.result(sent.id, "--key-prefix", "staging:")["result"] == 3
    other = native.run("send", "cpp.add", "[1, 2]", "--queue", "native", "-b", native.broker_url)
    assert other.returncode == 0 and redis_client.llen("native") == 1, "a neighbour's message stays where it is"
