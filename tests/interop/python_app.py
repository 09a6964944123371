"""The Python side of the interop tests: an ordinary Celery application that knows nothing of Errand."""
import os
import time

from celery import Celery

app = Celery("python_app", broker=os.environ["INTEROP_BROKER"], backend=os.environ["INTEROP_BROKER"])
app.conf.update(
    task_default_queue="python",
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 60},
    worker_prefetch_multiplier=1,
    result_extended=True,
    task_routes={"cpp.*": {"queue": "native"}},
)


@app.task(name="py.add")
def add(x, y):
    return x + y


@app.task(name="py.echo")
def echo(value):
    return value


@app.task(name="py.fail")
def fail(text):
    raise ValueError(text, 42)


@app.task(name="py.flaky", bind=True, max_retries=5)
def flaky(self, times):
    if self.request.retries < times:
        raise self.retry(countdown=0, exc=KeyError("not yet"))
    return self.request.retries


@app.task(name="py.request", bind=True)
def request(self):
    info = self.request
    return {
        "id": info.id,
        "root_id": info.root_id,
        "parent_id": info.parent_id,
        "group": info.group,
        "retries": info.retries,
        "headers": info.headers,
        "expires": info.expires,
        "eta": info.eta,
        "timelimit": info.timelimit,
        "origin": info.origin,
        "argsrepr": info.argsrepr,
        "kwargsrepr": info.kwargsrepr,
        "labels": {"header": getattr(info, "related", None), "property": (info.properties or {}).get("related")},
        "priority": (info.delivery_info or {}).get("priority"),
        "queue": (info.delivery_info or {}).get("routing_key"),
    }


@app.task(name="py.kind")
def kind(value):
    return [type(value).__name__, repr(value)]


@app.task(name="py.sleep")
def sleep(seconds):
    time.sleep(seconds)  # the work itself


@app.task(name="py.note_error")
def note_error(failed_id):
    return failed_id


# The same name as a native task, for the tests where both kinds of worker share one queue.
@app.task(name="both.who")
def who():
    return "python"
