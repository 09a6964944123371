"""An unchanged Python application sends work to a native worker over Redis and reads the results."""
import datetime
import math

import pytest

from conftest import wait_for


@pytest.fixture
def worker(native):
    return native.worker()


def call(app, name, *args, options=None, **kwargs):
    return app.send_task(name, args=args, kwargs=kwargs, **(options or {}))


def value_of(app, task_id):
    """The result of a task that may have ended already. Celery 5.2's get() alone listens for news and may wait for ever."""
    result = app.AsyncResult(task_id)
    wait_for(result.ready, f"{task_id} has ended", 30)
    return result.get(timeout=20)


@pytest.mark.parametrize(
    "value",
    [0, -1, 2**63 - 1, -(2**63), 10**25, 1.5, 1e-7, 1e22, True, False, None, "", "ascii", "žluťoučký kůň ☃ 𝄞",
     "\u0000\u001f\"\\/", [], [1, [2, [3]]], {}, {"a": {"b": [None, 1.0]}}, {"ключ": "значение"}],
    ids=repr,
)
def test_a_value_comes_back_as_it_was_sent(celery_app, worker, value):
    result = call(celery_app, "cpp.echo", value).get(timeout=20)
    assert result == value
    assert type(result) is type(value)


def test_nan_and_infinity_survive(celery_app, worker):
    assert math.isnan(call(celery_app, "cpp.echo", math.nan).get(timeout=20))
    assert call(celery_app, "cpp.echo", [math.inf, -math.inf]).get(timeout=20) == [math.inf, -math.inf]


def test_keyword_arguments_reach_the_named_parameters(celery_app, worker):
    assert call(celery_app, "cpp.add", 1, y=2).get(timeout=20) == 3
    assert call(celery_app, "cpp.add", y=2, x=40).get(timeout=20) == 42


def test_typed_bytes_of_newer_kombu_are_bytes_and_go_back_as_they_came(celery_app, worker):
    # kombu 5.2 cannot write typed values itself; this is what kombu >= 5.3 sends for b"\xff\x00", and reads as that.
    typed = {"__type__": "base64", "__value__": "/wA="}
    for task in ("cpp.echo", "cpp.bytes"):
        assert call(celery_app, task, typed).get(timeout=20) in (typed, b"\xff\x00")


def test_a_failure_shows_its_python_type_and_message(celery_app, worker):
    with pytest.raises(ValueError, match="deliberate"):
        call(celery_app, "cpp.fail", "deliberate").get(timeout=20)


def test_a_custom_failure_shows_its_own_type_name(celery_app, worker):
    result = call(celery_app, "cpp.fail_as", "ExportError", "no space left", "export.errors")
    with pytest.raises(Exception) as caught:
        result.get(timeout=20)
    assert type(caught.value).__name__ == "ExportError"
    assert "no space left" in str(caught.value)
    assert result.state == "FAILURE"


def test_wrong_arguments_are_a_type_error_in_pythons_words(celery_app, worker):
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        call(celery_app, "cpp.add", 1).get(timeout=20)
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        call(celery_app, "cpp.add", 1, 2, z=3).get(timeout=20)
    with pytest.raises(TypeError, match="x"):
        call(celery_app, "cpp.add", "one", 2).get(timeout=20)


def test_an_unknown_task_fails_as_not_registered_and_is_kept(celery_app, worker, native):
    from celery.exceptions import NotRegistered

    result = call(celery_app, "cpp.no_such_task", 1)
    with pytest.raises(NotRegistered):
        result.get(timeout=20)
    dead = native.run("dead", "list", "native", "-b", native.broker_url, "--json")
    assert "UNKNOWN_TASK" in dead.stdout
    assert result.id in dead.stdout


def test_a_retry_keeps_the_id_and_counts(celery_app, worker):
    result = call(celery_app, "cpp.flaky", 2)
    assert result.get(timeout=20) == 2
    assert result.retries == 2


def test_after_the_last_retry_the_reason_is_the_failure(celery_app, worker):
    result = call(celery_app, "cpp.always_retry")
    with pytest.raises(RuntimeError, match="provider is away"):
        result.get(timeout=20)


@pytest.mark.parametrize("options", [{"countdown": 1}, {"eta": "in one second"}], ids=["countdown", "eta"])
def test_a_task_for_later_starts_then_and_not_before(celery_app, worker, options):
    if "eta" in options:
        options = {"eta": datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)}
    sent = datetime.datetime.now(datetime.timezone.utc)
    result = call(celery_app, "cpp.add", 1, 1, options=options)
    assert result.get(timeout=20) == 2
    done = result.date_done
    if isinstance(done, str):
        done = datetime.datetime.fromisoformat(done)
    if done.tzinfo is None:
        done = done.replace(tzinfo=datetime.timezone.utc)
    late = (done - sent).total_seconds()
    assert 0.99 <= late < 5


def test_an_expired_task_is_revoked(celery_app, native):
    from celery.exceptions import TaskRevokedError

    result = call(celery_app, "cpp.add", 1, 1, options={"expires": -1})
    native.worker()
    with pytest.raises(TaskRevokedError, match="expired"):
        result.get(timeout=20)
    assert result.state == "REVOKED"


def test_ignored_results_are_not_stored(celery_app, worker, redis_client):
    ignored = call(celery_app, "cpp.ignored", 1)
    asked = call(celery_app, "cpp.add", 1, 2, options={"ignore_result": True})
    assert call(celery_app, "cpp.add", 1, 2).get(timeout=20) == 3
    wait_for(lambda: redis_client.llen("native") == 0 and redis_client.hlen("unacked") == 0, "all are acknowledged")
    for result in (ignored, asked):
        assert redis_client.get(f"celery-task-meta-{result.id}") is None


def test_urgent_tasks_are_served_first(celery_app, native, redis_client):
    # On Redis 0 is the most urgent and 9 the least.
    order = []
    results = [call(celery_app, "cpp.request", options={"priority": p}) for p in (9, 6, 3, 0)]
    native.worker("--prefetch-multiplier", "1", concurrency=1)
    values = [r.get(timeout=20) for r in results]
    assert [v["priority"] for v in values] == [9, 6, 3, 0]
    done = {v["priority"]: r.date_done for v, r in zip(values, results)}
    order = sorted(done, key=done.get)
    assert order == [0, 3, 6, 9]


@pytest.mark.parametrize("method", ["gzip", "bzip2"])
def test_a_compressed_body_is_read(celery_app, worker, method):
    # Celery 5.2 takes the compression of messages from result_compression (fixed in 5.3).
    celery_app.conf.result_compression = method
    text = "x" * 20_000
    result = celery_app.send_task("cpp.echo", args=[text], compression=method)
    from celery.backends.redis import RedisBackend

    assert RedisBackend is not None
    meta = wait_for(lambda: celery_app.backend.client.get(f"celery-task-meta-{result.id}"), "the result is stored")
    assert text.encode() in meta


def test_a_soft_time_limit_asks_the_task_to_stop(celery_app, worker):
    result = call(celery_app, "cpp.slow", 30, options={"soft_time_limit": 1, "time_limit": 20})
    with pytest.raises(Exception) as caught:
        result.get(timeout=20)
    assert type(caught.value).__name__ == "SoftTimeLimitExceeded"


def test_a_hard_time_limit_kills_the_task_and_not_the_worker(celery_app, worker):
    result = call(celery_app, "cpp.stubborn", 30, options={"time_limit": 1})
    with pytest.raises(Exception) as caught:
        result.get(timeout=20)
    assert type(caught.value).__name__ == "TimeLimitExceeded"
    assert call(celery_app, "cpp.add", 1, 2).get(timeout=20) == 3


def test_a_crashing_task_becomes_a_stored_failure_and_a_dead_letter(celery_app, worker, native):
    result = call(celery_app, "cpp.crash")
    with pytest.raises(Exception) as caught:
        result.get(timeout=40)
    assert type(caught.value).__name__ == "WorkerLostError"
    dead = native.run("dead", "list", "native", "-b", native.broker_url, "--json")
    assert "CRASH_LIMIT" in dead.stdout
    assert call(celery_app, "cpp.add", 1, 2).get(timeout=20) == 3


def test_the_context_shows_what_python_sent(celery_app, worker):
    result = call(celery_app, "cpp.request", options={"headers": {"x-trace": "abc"}, "app_id": "shop"})
    seen = result.get(timeout=20)
    assert seen["id"] == result.id
    assert seen["root_id"] == result.id
    assert seen["headers"]["x-trace"] == "abc"
    assert seen["properties"]["app_id"] == "shop"
    assert seen["queue"] == "native"


def test_a_chain_across_the_border_and_back(celery_app, worker, python_worker):
    python_worker()
    from celery import chain, signature

    steps = chain(
        signature("cpp.add", args=(1, 2), queue="native"),
        signature("py.add", args=(10,), queue="python"),
        signature("cpp.add", args=(100,), queue="native"),
    )
    assert steps.apply_async().get(timeout=30) == 113


def test_a_link_and_an_errback_run_after_a_native_task(celery_app, worker, python_worker):
    python_worker()
    from celery import signature

    link = signature("py.echo", queue="python")
    link.freeze()
    assert celery_app.send_task("cpp.add", args=(1, 2), link=link).get(timeout=20) == 3
    assert value_of(celery_app, link.id) == 3
    errback = signature("py.note_error", queue="python")
    errback.freeze()
    failed = celery_app.send_task("cpp.fail", args=("no",), link_error=errback)
    with pytest.raises(ValueError):
        failed.get(timeout=20)
    assert value_of(celery_app, errback.id) == failed.id


def test_a_group_of_native_tasks_is_collected_in_order(celery_app, worker):
    from celery import group, signature

    result = group(signature("cpp.add", args=(i, i), queue="native") for i in range(10)).apply_async()
    assert result.get(timeout=30) == [2 * i for i in range(10)]


def test_a_chord_of_native_tasks_calls_its_body_once(celery_app, worker, python_worker, redis_client):
    python_worker()
    from celery import chord, signature

    header = [signature("cpp.add", args=(i, i), queue="native") for i in range(8)]
    assert chord(header)(signature("py.echo", queue="python")).get(timeout=30) == [2 * i for i in range(8)]


def test_progress_is_visible_while_the_task_runs(celery_app, worker):
    assert call(celery_app, "cpp.progress", 1000).get(timeout=20) == 1000


def test_a_native_task_sends_a_python_task_as_its_child(celery_app, worker, python_worker):
    python_worker()
    result = call(celery_app, "cpp.call_python", "hello")
    child_id = result.get(timeout=20)
    child = celery_app.AsyncResult(child_id)
    assert value_of(celery_app, child_id) == "hello"
    assert child.backend.get_task_meta(child_id)["parent_id"] == result.id


def test_results_carry_the_extended_fields_and_a_utc_date(celery_app, worker):
    result = call(celery_app, "cpp.add", 1, y=2)
    result.get(timeout=20)
    assert (result.name, result.args, result.kwargs, result.retries, result.queue) == (
        "cpp.add", [1], {"y": 2}, 0, "native")
    assert result.worker.startswith("celery@")
    meta = result.backend.get_task_meta(result.id)
    assert str(meta["date_done"]).endswith("+00:00")


def test_revoking_from_python_keeps_a_waiting_task_from_running(celery_app, native):
    from celery.exceptions import TaskRevokedError

    native.worker()
    result = call(celery_app, "cpp.add", 1, 1, options={"countdown": 2})
    celery_app.control.revoke(result.id)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=20)


def test_a_native_worker_answers_a_ping(celery_app, native):
    native.worker("-n", "n1@test")
    wait_for(lambda: celery_app.control.ping(timeout=1) == [{"n1@test": {"ok": "pong"}}], "the ping is answered")
