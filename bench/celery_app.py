"""The packaged Celery under measurement: a no-op task with a result, an ordinary application otherwise."""
import os
import sys

from celery import Celery

app = Celery("bench", broker=os.environ.get("BENCH_BROKER"), backend=os.environ.get("BENCH_BACKEND"))
app.conf.update(
    task_default_queue="bench",
    task_ignore_result=False,
    result_expires=86400,
    worker_prefetch_multiplier=64,  # not the default 4: fetching is not to be what limits it
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
)


@app.task(name="bench.noop")
def noop(x):
    return x


def fill(count):
    """Sends over one connection, as fast as apply_async does."""
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(count):
            noop.apply_async((number,), producer=producer)


if __name__ == "__main__":
    fill(int(sys.argv[1]))
