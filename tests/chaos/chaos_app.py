"""The Python worker of the soak: an ordinary Celery application that shares its queue with native workers and keeps the
same ledger. acks_late, because a Celery worker that acknowledges before it runs loses what it ran when it is killed."""
import os
import time

from celery import Celery

app = Celery("chaos_app", broker=os.environ["CHAOS_BROKER"], backend=os.environ["CHAOS_BROKER"])
app.conf.update(
    task_default_queue="chaos",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": float(os.environ["CHAOS_VISIBILITY"])},
)
BOOK = os.open(os.environ["CHAOS_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
NAME = os.environ["CHAOS_NAME"]


def book(request, step):
    os.write(BOOK, f"{request.id} {request.retries} {step} {time.time_ns() // 1000} {os.getpid()} {NAME}\n".encode())


@app.task(name="chaos.noop", bind=True)
def noop(self, x):
    book(self.request, "b")
    return x


@app.task(name="chaos.nap", bind=True)
def nap(self, python_ms, native_ms):
    book(self.request, "b")
    time.sleep(python_ms / 1000)  # the work itself
    book(self.request, "e")
    return native_ms
