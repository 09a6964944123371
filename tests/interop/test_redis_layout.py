"""kombu and the native driver on the same keys of one Redis: what one writes, the other reads, restores and settles."""
import json
import signal
import subprocess

import pytest
from conftest import program, wait_for

kombu = pytest.importorskip("kombu")


@pytest.fixture
def layout(broker_url):
    def run(command, *arguments, code=0):
        done = subprocess.run([program("redis_layout"), command, broker_url, *map(str, arguments)],
                              capture_output=True, text=True, timeout=40)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    return run


@pytest.fixture
def connect(broker_url):
    """Connections of kombu; a short visibility timeout shows what its restore job does."""
    opened = []

    def connection(**options):
        opened.append(kombu.Connection(broker_url, transport_options=options))
        return opened[-1]

    yield connection
    for one in opened:
        one.release()


def publish(connection, body="[[1], {}, {}]", queue="q", **options):
    with connection.Producer() as producer:
        producer.publish(body, routing_key=queue, exchange="", content_type="application/json", content_encoding="utf-8",
                         headers={"id": "py", "task": "noop"}, **options)


def take(connection, queue="q", seconds=5):
    """The next message, not acknowledged yet."""
    got = []
    consumer = kombu.Consumer(connection, [kombu.Queue(queue, no_declare=True)], accept=["json"],
                              callbacks=[lambda body, message: got.append(message)])
    with consumer:
        connection.drain_events(timeout=seconds)
    return got[0]


def held(redis_client):
    return redis_client.hlen("unacked") + redis_client.zcard("unacked_index")


@pytest.mark.parametrize("priority,key", [(0, b"q"), (5, b"q\x06\x163"), (9, b"q\x06\x169")])
def test_kombu_reads_what_the_driver_publishes(layout, connect, redis_client, priority, key):
    layout("publish", "", "q", priority, "native")
    assert redis_client.llen(key) == 1
    message = take(connect())
    assert message.headers["id"] == "native"
    assert message.delivery_info["routing_key"] == "q"
    assert message.delivery_info["exchange"] == ""
    assert message.properties["priority"] == priority
    assert message.decode() == [["\u00fc"], {}, {}]
    message.ack()
    assert held(redis_client) == 0


def test_the_driver_reads_and_settles_what_kombu_publishes(layout, connect, redis_client):
    publish(connect(), priority=3)
    told = layout("take", "q", "ack")
    assert told["id"] == "py" and told["body"] == "[[1], {}, {}]" and not told["redelivered"] and not told["defect"]
    assert held(redis_client) == 0


def test_what_the_driver_gives_back_is_marked_as_kombu_marks_it(layout, connect, redis_client):
    publish(connect(), priority=9)
    layout("take", "q", "requeue")
    assert redis_client.llen(b"q\x06\x169") == 1
    message = take(connect())
    assert message.headers["redelivered"] is True
    assert message.delivery_info["redelivered"] is True
    message.reject(requeue=True)
    told = layout("take", "q", "ack")
    assert told["redelivered"] and told["deliveries"] == 2


def test_kombus_restore_job_understands_what_the_driver_holds(layout, connect, redis_client):
    """A native worker that died, and only Python workers left: after the visibility timeout the message is theirs."""
    publish(connect())
    layout("take", "q", "die", code=-signal.SIGKILL)
    assert redis_client.hlen("unacked") == 1
    tag = redis_client.zrange("unacked_index", 0, -1)[0]
    redis_client.zadd("unacked_index", {tag: 1_000_000_000})
    connection = connect(visibility_timeout=60)
    connection.channel().qos.restore_visible()
    message = take(connection)
    assert message.headers["id"] == "py" and message.headers["redelivered"] is True
    message.ack()
    assert held(redis_client) == 0


def test_kombus_restore_job_leaves_a_live_message_alone(layout, connect, redis_client):
    publish(connect())
    layout("take", "q", "die", code=-signal.SIGKILL)
    connection = connect(visibility_timeout=60)
    connection.channel().qos.restore_visible()
    assert redis_client.hlen("unacked") == 1 and redis_client.llen("q") == 0


def test_the_driver_restores_what_a_dead_python_worker_held(layout, connect, redis_client):
    publish(connect())
    take(connect())  # never acknowledged
    tag = redis_client.zrange("unacked_index", 0, -1)[0]
    redis_client.zadd("unacked_index", {tag: 1_000_000_000})
    told = layout("take", "q", "ack", 60_000)
    assert told["id"] == "py" and told["redelivered"] and told["deliveries"] == 2
    assert held(redis_client) == 0 and not redis_client.exists("unacked_mutex")


def test_named_exchanges_work_both_ways(layout, connect, redis_client):
    connection = connect()
    exchange = kombu.Exchange("news", "topic")
    kombu.Queue("sport", exchange, routing_key="sport.#").bind(connection.channel()).declare()
    layout("declare", "art", "news", "topic", "art.*")
    assert redis_client.scard("_kombu.binding.news") == 2
    layout("publish", "news", "sport.ball", 0, "native")
    assert take(connection, "sport").headers["id"] == "native"
    with connection.Producer() as producer:
        producer.publish("[[], {}, {}]", exchange=exchange, routing_key="art.oil", content_type="application/json",
                         content_encoding="utf-8", headers={"id": "py"}, declare=[])
    told = layout("take", "art", "ack")
    assert told["id"] == "py" and told["routing_key"] == "art.oil"


def test_rubbish_never_reaches_kombus_tables(layout, redis_client):
    redis_client.lpush("q", b"\xff rubbish")
    told = layout("take", "q", "dead")
    assert told["defect"]
    assert held(redis_client) == 0
    record = redis_client.hvals("errand:dead:q")[0]
    assert record.endswith(b"\nq\n\xff rubbish")
    wait_for(lambda: redis_client.zcard("errand:dead-index:q") == 1, "the dead letter is listed")
