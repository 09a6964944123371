#!/usr/bin/python3
"""Writes the golden vectors in this folder with the packaged Celery and a private Redis.

    ERRAND_UPDATE_GOLDEN=1 tests/golden/make_vectors.py

What Errand must equal is what Celery does, so nothing here is written by hand: messages are read back from the
queue they were sent to, workflows and results are taken from the commands a stock worker gave to Redis, texts come
from Celery's own functions. Ids and times differ from run to run; read the diff for anything else.
"""

import base64
import bz2
import datetime
import gc
import json
import lzma
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib

HERE = pathlib.Path(__file__).resolve().parent
APP = '''
import os
from celery import Celery, chain, group, chord, Task
from celery.exceptions import Ignore, Reject

app = Celery("proj", broker=os.environ["GOLDEN_URL"], backend=os.environ["GOLDEN_URL"])
app.conf.update(result_extended=False, worker_hijack_root_logger=False, broker_connection_retry_on_startup=True,
                task_track_started=False, worker_prefetch_multiplier=1)

class Custom(Exception):
    pass

@app.task(name="proj.add")
def add(x, y): return x + y

@app.task(name="proj.mul")
def mul(x, y): return x * y

@app.task(name="proj.tsum")
def tsum(numbers): return sum(numbers)

@app.task(name="proj.echo")
def echo(*args, **kwargs): return [list(args), kwargs]

@app.task(name="proj.fail")
def fail(*args): raise ValueError("deliberate error", 42)

@app.task(name="proj.fail_custom")
def fail_custom(): raise Custom("one", {1}, None)

@app.task(name="proj.again", bind=True, max_retries=2)
def again(self, *args):
    raise self.retry(exc=KeyError("key"), countdown=0)

@app.task(name="proj.errback")
def errback(task_id): return task_id

@app.task(name="proj.ignored", ignore_result=True)
def ignored(): return 1

@app.task(name="proj.progress", bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"current": 1, "total": 2})
    return "done"

@app.task(name="proj.loose", typing=False)
def loose(x, y): return x

@app.task(name="proj.give")
def give(value): return value
'''


class Redis:
    """A Redis of our own on a free port, ended by its process id."""

    def __init__(self, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--dir", folder], stdout=subprocess.DEVNULL)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        import redis
        self.client = redis.Redis.from_url(self.url)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)  # polls

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


class Monitor(threading.Thread):
    """Every command given to the server, in order."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.seen = []
        self.monitor = client.monitor().__enter__()
        self.start()

    def run(self):
        try:
            for command in self.monitor.listen():
                self.seen.append(command["command"])
        except Exception:  # the connection is closed under it at the end
            pass


def text_of(raw):
    return raw.decode() if isinstance(raw, bytes) else raw


def queued(client):
    out = []
    for key in sorted(client.keys("celery*")) + sorted(client.keys("media*")):
        if client.type(key) == b"list":
            out += [{"key": text_of(key), "raw": text_of(raw)} for raw in reversed(client.lrange(key, 0, -1))]
    return out


def messages(app_module, client):
    """What a client leaves in the queue for each call."""
    from celery import chain, chord, group
    a = app_module
    utc = datetime.timezone.utc
    later = datetime.datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=utc)
    add, mul, tsum, echo, errback = a.add, a.mul, a.tsum, a.echo, a.errback
    numbers = list(range(2000))
    calls = {
        "plain": lambda: add.apply_async((2, 3)),
        "kwargs": lambda: echo.apply_async((1,), {"width": 200, "path": "cat.png"}),
        "unicode": lambda: echo.apply_async(("häßlich \u4e2d \U0001f600 \ud800 '\"\\ \x00\x1f",), {"ключ": "значение"}),
        "nan": lambda: echo.apply_async((float("nan"), float("inf"), float("-inf"), -0.0, 1e16, 5e-324, 0.1),),
        "big_integer": lambda: echo.apply_async((10**25, -(2**63) - 1, 2**53 + 1),),
        "nested": lambda: echo.apply_async(([1, [2, [3, [4, [5]]]]], {"a": {"b": {"c": {"d": 1}}}}),),
        "eta": lambda: add.apply_async((2, 3), eta=later),
        "eta_offset": lambda: add.apply_async(
            (2, 3), eta=later.astimezone(datetime.timezone(datetime.timedelta(hours=-5, minutes=-30)))),
        "countdown": lambda: add.apply_async((2, 3), countdown=60),
        "expires_seconds": lambda: add.apply_async((2, 3), expires=120),
        "expires_time": lambda: add.apply_async((2, 3), expires=later),
        "options": lambda: add.apply_async(
            (2, 3), task_id="job:1", time_limit=30, soft_time_limit=12.5, shadow="shown", headers={"tenant": "a", "n": [1]},
            queue="media", ignore_result=True, app_id="golden", retries=1, root_id="root", parent_id="parent"),
        "priority_0": lambda: add.apply_async((2, 3), priority=0),
        "priority_5": lambda: add.apply_async((2, 3), priority=5),
        "priority_9": lambda: add.apply_async((2, 3), priority=9),
        "gzip": lambda: echo.apply_async((numbers,), compression="gzip"),
        "bzip2": lambda: echo.apply_async((numbers,), compression="bzip2"),
        "lzma": lambda: echo.apply_async((numbers,), compression="lzma"),
        "link": lambda: add.apply_async((2, 3), link=mul.s(10)),
        "links": lambda: add.apply_async((2, 3), link=[mul.s(10), echo.si(), echo.s(k=1)]),
        "link_error": lambda: add.apply_async((2, 3), link_error=errback.s()),
        "chain": lambda: chain(add.s(2, 3), mul.s(4), add.s(5)).apply_async(),
        "chain_options": lambda: chain(
            add.s(2, 3).set(queue="media"), mul.s(4).set(countdown=5, priority=3), echo.si(1)).apply_async(
                link=echo.s(), link_error=errback.s()),
        "group": lambda: group(add.s(i, i) for i in range(3)).apply_async(),
        "chord": lambda: chord([add.s(1, 1), add.s(2, 2)])(tsum.s()),
        "chord_in_chain": lambda: chain(add.s(1, 1), group(add.s(2), add.s(3)), tsum.s(), mul.s(2)).apply_async(),
        "map": lambda: add.map([1, 2]).apply_async(),
        "starmap": lambda: add.starmap([(1, 2), (3, 4)]).apply_async(),
        "chunks": lambda: add.chunks([(1, 2), (3, 4), (5, 6)], 2).apply_async(),
    }
    out = {}
    for name, call in calls.items():
        client.flushdb()
        call()
        out[name] = queued(client)
    a.app.conf.task_protocol = 1
    a.app.amqp.__dict__.pop("_task_protocol", None)
    a.app.amqp.__dict__.pop("create_task_message", None)
    protocol1 = {
        "protocol1_plain": lambda: add.apply_async((2, 3), {}, countdown=5, time_limit=9),
        "protocol1_links": lambda: add.apply_async((2, 3), link=[mul.s(10)], link_error=[errback.s()]),
        "protocol1_chain": lambda: chain(add.s(2, 3), mul.s(4), add.s(5)).apply_async(),
        "protocol1_chord": lambda: chord([add.s(1, 1), add.s(2, 2)])(tsum.s()),
    }
    for name, call in protocol1.items():
        client.flushdb()
        call()
        out[name] = queued(client)
    a.app.conf.task_protocol = 2
    a.app.amqp.__dict__.pop("create_task_message", None)
    return out


class Worker:
    """A stock worker and everything that goes to Redis while it runs."""

    def __init__(self, redis, environment):
        self.redis = redis
        redis.client.flushdb()
        self.monitor = Monitor(redis.client)
        self.log = open(pathlib.Path(environment["PYTHONPATH"]) / "worker.log", "w")
        self.process = subprocess.Popen(
            ["/usr/bin/python3", "-m", "celery", "-A", "golden_app", "worker", "-P", "solo", "-l", "info",
             "--without-gossip", "--without-mingle", "--without-heartbeat", "-Q", "celery,media"],
            cwd=environment["PYTHONPATH"], env=environment, stdout=self.log, stderr=subprocess.STDOUT)

    def run(self, call, idle=0.4):
        """What a call and all that follows from it gave to Redis, until nothing happens any more."""
        client = self.redis.client
        begin = len(self.monitor.seen)
        result = call()
        deadline = time.monotonic() + 60
        quiet_since, writes = time.monotonic(), -1
        while time.monotonic() - quiet_since < idle or writes < 2:
            assert time.monotonic() < deadline, "the worker did not finish in time"
            seen = sum(1 for command in self.monitor.seen[begin:] if command.startswith(("SETEX", "LPUSH", "ZADD")))
            waiting = client.llen("celery") + client.llen("media") + client.hlen("unacked")
            if seen != writes or waiting > 0:
                writes, quiet_since = seen, time.monotonic()
            time.sleep(0.05)  # polls
        commands = self.monitor.seen[begin:]
        del result
        for key in client.keys("celery-task*"):
            client.delete(key)
        return [entry for entry in map(read_command, commands) if entry is not None]

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


def flows(app_module, redis, environment):
    from celery import chain, chord, group
    a = app_module
    add, mul, tsum, echo, errback, fail = a.add, a.mul, a.tsum, a.echo, a.errback, a.fail
    calls = {
        "plain": lambda: add.apply_async((2, 3)),
        "link": lambda: add.apply_async((2, 3), link=mul.s(10)),
        "links": lambda: add.apply_async((2, 3), link=[mul.s(10), echo.si(), echo.s(k=1)]),
        "link_group": lambda: add.apply_async((2, 3), link=[group(mul.s(10), echo.s()), echo.s(1)]),
        "link_chain": lambda: add.apply_async((2, 3), link=chain(mul.s(10), add.s(1), echo.s())),
        "link_chord": lambda: add.apply_async((2, 3), link=chord([mul.s(10), mul.s(20)], tsum.s())),
        "chain": lambda: chain(add.s(2, 3), mul.s(4), add.s(5)).apply_async(),
        "chain_immutable": lambda: chain(add.s(2, 3), echo.si("x"), echo.s()).apply_async(),
        "chain_group": lambda: chain(add.s(2, 3), group(mul.s(1), mul.s(2))).apply_async(),
        "chain_group_task": lambda: chain(add.s(1, 1), group(mul.s(2), mul.s(3)), tsum.s()).apply_async(),
        "chain_group_task_task": lambda: chain(
            add.s(1, 1), group(mul.s(2), mul.s(3)), tsum.s(), mul.s(10), echo.s()).apply_async(),
        "chain_two_groups": lambda: chain(
            add.s(1, 1), group(mul.s(2), mul.s(3)), group(tsum.s(), echo.s()), echo.s("end")).apply_async(),
        "chain_nested": lambda: chain(add.s(1, 1), echo.s() | give_first(a), add.s(5)).apply_async(),
        "chord": lambda: chord([add.s(1, 1), add.s(2, 2)])(tsum.s()),
        "chord_of_chains": lambda: chord([chain(add.s(1, 1), mul.s(2)), chain(add.s(2, 2), mul.s(3))])(tsum.s()),
        "chord_body_chain": lambda: chord([add.s(1, 1), add.s(2, 2)])(chain(tsum.s(), mul.s(2), echo.s())),
        "chord_body_group": lambda: chord([add.s(1, 1), add.s(2, 2)])(group(tsum.s(), echo.s())),
        "chord_in_chord": lambda: chord([chord([add.s(1, 1), add.s(2, 2)], tsum.s()), add.s(3, 3)])(tsum.s()),
        "chord_fails": lambda: chord([add.s(1, 1), fail.s()])(tsum.s().on_error(errback.s())),
        "chain_fails": lambda: chain(add.s(1, 1), fail.s(), mul.s(2), echo.s()).apply_async(link_error=errback.s()),
        "errbacks": lambda: fail.apply_async((), link_error=[errback.s(), errback.si("fixed")]),
        "retry": lambda: a.again.apply_async((1,), link_error=errback.s()),
        "callback_options": lambda: add.apply_async((2, 3), link=mul.s(10).set(
            queue="media", priority=5, time_limit=30, soft_time_limit=20, headers={"h": 1}, expires=60)),
    }
    worker = Worker(redis, environment)
    try:
        return {name: worker.run(call) for name, call in calls.items()}
    finally:
        worker.stop()


def give_first(a):
    # echo returns [[value], {}]; a step behind it needs a number again.
    return a.give.si(7)


def unescaped(value):
    # MONITOR doubles backslashes and escapes quotes; redis-py has undone the quotes.
    return value.replace("\\\\", "\\")


def read_command(command):
    """LPUSH of a task, SETEX of a result or of a chord size, ZADD of a chord part; None for everything else."""
    verb, _, rest = command.partition(" ")
    if verb == "LPUSH" and rest.startswith(("celery ", "celery\\x06", "media ", "media\\x06")):
        key, _, value = rest.partition(" ")
        return {"push": key.split("\\x06")[0], "envelope": unescaped(value)}
    if verb == "SETEX" and rest.startswith("celery-task-meta-"):
        key, _, value = rest.split(" ", 2)
        return {"result": key, "value": unescaped(value)}
    if verb == "SETEX" and rest.startswith("celery-taskset-meta-") and rest.split(" ")[0].endswith(".s"):
        key, _, value = rest.split(" ", 2)
        return {"chord_size": key[len("celery-taskset-meta-"):-2], "value": int(value)}
    if verb == "ZADD" and rest.startswith("celery-taskset-meta-"):
        key, score, value = rest.split(" ", 2)
        return {"chord_part": key[len("celery-taskset-meta-"):-2], "score": score, "value": unescaped(value)}
    return None


def results(app_module, redis, environment):
    a = app_module
    a.app.conf.result_extended = False
    calls = {
        "success": lambda: a.add.apply_async((2, 3)),
        "failure": lambda: a.fail.apply_async(),
        "custom_exception": lambda: a.fail_custom.apply_async(),
        "wrong_arguments": lambda: a.loose.apply_async((1,)),
        "unregistered": lambda: a.app.send_task("proj.nowhere", (1,)),
        "expired": lambda: a.add.apply_async((2, 3), expires=-1),
        "progress": lambda: a.progress.apply_async(),
        "retried": lambda: a.again.apply_async((1,)),
        "in_group": lambda: __import__("celery").group(a.add.s(1, 1)).apply_async(),
        "nan": lambda: a.give.apply_async((float("nan"),)),
        "unicode": lambda: a.give.apply_async(("häßlich \U0001f600",)),
    }
    out = {}
    for extended in ("", "1"):
        worker = Worker(redis, dict(environment, GOLDEN_EXTENDED=extended))
        try:
            for name, call in (calls if not extended else {"extended": calls["wrong_arguments"]}).items():
                out[name] = [entry for entry in worker.run(call) if "result" in entry]
        finally:
            worker.stop()
    return out


def texts():
    """Answers of Celery's and kombu's own functions."""
    from celery.utils.saferepr import saferepr
    from celery.utils.time import maybe_iso8601, maybe_make_aware
    from kombu.transport.virtual.exchange import TopicExchange
    deep = 1
    for _ in range(6):
        deep = [deep]
    values = [
        None, True, False, 0, -5, 10**30, 0.1, 1e16, 1e-7, float("nan"), float("inf"), "", "text", "it's", "new\nline \\ \"",
        "häßlich \U0001f600", [], [1], [1, 2], {}, {"k": None}, {"a": {"b": {"c": {"d": 1}}}}, deep,
        ["x" * 2000], ["word " * 400], list(range(1000)), {"k%d" % i: i for i in range(300)},
        [["a" * 500, "b" * 500, "c" * 500], 2], {"key": ["y" * 1020, {"z": 1}]}, [[1] * 340 + [[2, 3]], "end"],
        ["é" * 1100], [{"a" * 1100: 1}], ["a" * 1016, "b"], ["a" * 1018, "b"], [12345678] * 103,
    ]
    reprs = []
    for value in values:
        small = len(json.dumps(value)) < 500
        for limit in (100, 20, 5, 1) if small else (1024,):
            reprs.append({"value": value, "limit": limit, "repr": saferepr(value, limit)})
            if isinstance(value, list):
                reprs.append({"value": value, "limit": limit, "args": saferepr(tuple(value), limit)})
    exchange = TopicExchange.__new__(TopicExchange)
    keys = ["task.#", "#", "#.err", "a.*.c", "plain.key", "worker.*", "*", "a_b-c.#", "a.#.b", "*.*", "", "x.é.y"]
    routing = ["task", "task.a", "task.a.b", "task.", "err", "a.err", "a.b.c", "a.c", "a.b.b.c", "a..c", "plain.key",
               "plainxkey", "worker.x", "worker.x.y", "worker.", "", "a", ".", "a.b", "a_b-c.d", "a..b", "a.x.y.b", "x.é.y"]
    topics = []
    for key in keys:
        pattern = exchange.key_to_pattern(key)
        topics.append({"key": key, "pattern": pattern,
                       "matches": [word for word in routing if exchange._match(pattern, word)],
                       "misses": [word for word in routing if not exchange._match(pattern, word)]})
    times = []
    utc = datetime.timezone.utc
    epoch = datetime.datetime(1970, 1, 1, tzinfo=utc)
    # Celery 5.2 reads shorter fractions as microseconds; nobody relies on that.
    for text in ["2026-11-22T05:43:54.166995+00:00", "2026-11-22T05:43:54+00:00", "2026-11-22T05:43:54.166995",
                 "2026-11-22T05:43:54Z", "2026-11-22T14:43:54.500000+09:00", "2026-11-22T00:13:54-05:30"]:
        moment = maybe_iso8601(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=utc)
        times.append({"text": text, "micros": int((moment - epoch) / datetime.timedelta(microseconds=1))})
    body = json.dumps([[list(range(3000))], {}, None]).encode()
    packed = {"body": body.decode(),
              "application/x-gzip": base64.b64encode(zlib.compress(body)).decode(),
              "application/x-bz2": base64.b64encode(bz2.compress(body)).decode(),
              "application/x-lzma": base64.b64encode(lzma.compress(body)).decode()}
    return {"reprs": reprs, "topics": topics, "times": times, "compression": packed}


def write(name, data, replaced=()):
    text = json.dumps(data, indent=1, ensure_ascii=True) + "\n"
    for here, there in replaced:
        text = text.replace(here, there)
    (HERE / name).write_text(text)
    print(f"{name}: {len(text)} bytes")


def main():
    if os.environ.get("ERRAND_UPDATE_GOLDEN") != "1":
        sys.exit("would rewrite the golden vectors; set ERRAND_UPDATE_GOLDEN=1 to go ahead")
    folder = tempfile.mkdtemp(prefix="errand-golden-")
    redis = Redis(folder)
    try:
        source = APP + '\nif os.environ.get("GOLDEN_EXTENDED"):\n    app.conf.result_extended = True\n'
        (pathlib.Path(folder) / "golden_app.py").write_text(source)
        environment = dict(os.environ, GOLDEN_URL=redis.url, PYTHONPATH=folder)
        os.environ["GOLDEN_URL"] = redis.url
        sys.path.insert(0, folder)
        import golden_app
        neutral = [(folder, "/app"), ("@" + socket.gethostname(), "@host")]
        write("texts.json", texts())
        write("messages.json", messages(golden_app, redis.client), neutral)
        write("flows.json", flows(golden_app, redis, environment), neutral)
        write("results.json", results(golden_app, redis, environment), neutral)
    finally:
        gc.collect()
        redis.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
