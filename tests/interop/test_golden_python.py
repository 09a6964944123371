"""What Errand writes, read by kombu's and Celery's own code without a server in between."""
import json
import math
import subprocess

import pytest

from conftest import BUILD

celery = pytest.importorskip("celery")
from celery import Celery  # noqa: E402
from celery.events.state import State  # noqa: E402
from celery.worker.request import Request  # noqa: E402
from kombu import Connection  # noqa: E402
from kombu.transport.virtual import Message  # noqa: E402


@pytest.fixture(scope="module")
def written():
    for candidate in (BUILD / "tests" / "golden_writer", BUILD / "golden_writer"):
        if candidate.exists():
            lines = subprocess.run([candidate], check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
            entries = [json.loads(line) for line in lines]
            return {(entry["kind"], entry["name"]): entry["text"] for entry in entries}
    pytest.fail(f"golden_writer is not built in {BUILD}")


@pytest.fixture(scope="module")
def app():
    app = Celery("golden", broker="memory://", backend="cache+memory://")

    @app.task(name="proj.echo")
    def echo(*args, **kwargs):
        return args, kwargs

    return app


@pytest.fixture(scope="module")
def channel():
    with Connection("memory://") as connection:
        yield connection.default_channel


def received(written, channel, name, kind="message"):
    """The message as a kombu consumer hands it to Celery."""
    return Message(json.loads(written[kind, name]), channel=channel, accept=["application/json"])


def request(written, app, channel, name):
    message = received(written, channel, name)
    return Request(message, app=app, on_ack=lambda *a, **k: None, on_reject=lambda *a, **k: None)


def body(written, channel, name):
    args, kwargs, embed = received(written, channel, name).decode()
    return args, kwargs, embed


def test_a_message_is_a_request_of_celery(written, app, channel):
    task = request(written, app, channel, "plain")
    assert (task.id, task.name, task.root_id, task.correlation_id) == ("id", "proj.echo", "id", "id")
    assert task.reply_to == "reply"
    assert task.delivery_info["routing_key"] == "celery"
    assert task.argsrepr == "(2, 3)"
    assert body(written, channel, "plain") == (
        [2, 3], {"k": None}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})


def test_texts_and_numbers_arrive_as_they_left(written, channel):
    assert body(written, channel, "unicode")[0] == ['häßlich \U0001f600 \ud800 "\\\n']
    numbers = body(written, channel, "numbers")[0]
    assert math.isnan(numbers[0])
    assert numbers[1:] == [math.inf, 0.0, 1e16, 5e-324, 10**25, -(2**63), 0.1]
    assert math.copysign(1, numbers[2]) == -1


@pytest.mark.parametrize("method", ["gzip", "bzip2", "lzma"])
def test_kombu_unpacks_what_we_packed(written, channel, method):
    message = received(written, channel, method)
    assert "compression" in message.headers
    assert message.decode()[0] == [list(range(2000))]


def test_times_limits_and_places_are_read_by_celery(written, app, channel):
    task = request(written, app, channel, "options")
    assert task.eta.isoformat() == "2030-01-02T03:05:35.678901+00:00"
    assert task.expires.isoformat() == "2030-01-02T05:04:05.678901+00:00"
    assert task.time_limits == [10, 1.5]
    headers = task.request_dict
    assert (headers["group"], headers["group_index"], headers["retries"]) == ("g", 4, 2)
    assert (headers["root_id"], headers["parent_id"], headers["tenant"]) == ("r", "p", "a")
    assert headers["ignore_result"] is True
    assert task.name == "shown" and task.task.name == "proj.echo"
    message = received(written, channel, "options")
    assert message.properties["priority"] == 7
    assert message.properties["expiration"] == "7200000"


def test_links_and_chain_are_signatures_of_celery(written, app, channel):
    embed = body(written, channel, "workflow")[2]
    # The next step is the last element; each has an id that its result can be waited for under.
    third, second = (app.signature(sig) for sig in embed["chain"])
    assert (second.task, second.args, second.options["queue"]) == ("proj.second", [2], "media")
    assert third.task == "proj.third"
    assert second.options["task_id"] and third.options["task_id"] != second.options["task_id"]
    callback = app.signature(embed["callbacks"][0])
    assert callback.immutable and callback.kwargs == {"k": 1} and callback.options["countdown"] == 5
    assert app.signature(embed["errbacks"][0]).task == "proj.errback"


def test_a_retry_is_the_same_task_one_attempt_later(written, app, channel):
    task = request(written, app, channel, "retry")
    assert task.id == "id" and task.parent_id == "id"
    assert task.request_dict["retries"] == 1 and task.request_dict["tenant"] == "a"
    assert task.eta.isoformat() == "2030-01-02T03:04:35.678901+00:00"


def test_the_next_step_of_a_chain_carries_the_result_and_the_rest(written, channel):
    message = received(written, channel, "next_step")
    args, _, embed = message.decode()
    assert args == [{"result": 5}, "own"]
    assert (message.headers["parent_id"], message.headers["root_id"]) == ("P", "R")
    assert [sig["task"] for sig in embed["chain"]] == ["proj.third"]


def test_results_are_read_by_celerys_backend(written, app):
    backend = app.backend
    success = backend.meta_from_decoded(backend.decode(written["result", "success"]))
    assert success["status"] == "SUCCESS" and success["group_id"] == "g"
    assert success["date_done"] == "2030-01-02T03:04:05.678901+00:00"
    failure = backend.meta_from_decoded(backend.decode(written["result", "failure"]))
    assert isinstance(failure["result"], ValueError) and failure["result"].args == ("no such size", 42)
    own = backend.meta_from_decoded(backend.decode(written["result", "own"]))
    assert type(own["result"]).__name__ == "SizeError" and own["result"].args == ("too large",)
    names = {"not_registered": "NotRegistered", "expired": "TaskRevokedError", "time_limit": "TimeLimitExceeded",
             "lost": "WorkerLostError"}
    for name, expected in names.items():
        meta = backend.meta_from_decoded(backend.decode(written["result", name]))
        assert type(meta["result"]).__name__ == expected


def test_a_saved_group_is_restored_by_celery(written, app):
    from celery.result import result_from_tuple

    saved = app.backend.decode(written["group", "group"])
    group = result_from_tuple(saved["result"], app)
    assert group.id == "g" and [member.id for member in group.results] == ["a", "b"]


def test_events_are_taken_by_celerys_monitor_state(written, channel):
    state = State()
    for name in ("worker-heartbeat", "task.multi"):
        payload = received(written, channel, name, "event").decode()
        for event in payload if isinstance(payload, list) else [payload]:
            event["local_received"] = event["timestamp"]
            state.event(event)
    assert state.workers["w1@host"].sw_ident == "errand"
    task = state.tasks["i"]
    assert (task.state, task.name, task.result, task.runtime) == ("SUCCESS", "proj.echo", "5", 0.5)
