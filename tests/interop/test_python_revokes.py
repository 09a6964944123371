"""Python's remote control and native workers: a revoke that Celery broadcasts holds for the native side, and for longer."""
import signal

from conftest import wait_for


def test_a_revoke_of_Python_reaches_a_native_worker_and_outlives_it(native, celery_app):
    worker = native.worker(concurrency=1)
    busy = celery_app.send_task("cpp.slow", [3.0], queue="native")
    wait_for(lambda: "task.started" in worker.log.read_text(), "the worker is busy")
    waiting = celery_app.send_task("cpp.add", [1, 2], queue="native")
    answers = celery_app.control.revoke(waiting.id, reply=True, timeout=10, limit=1)
    assert any("flagged as revoked" in str(answer) for answer in answers), answers
    worker.send_signal(signal.SIGKILL)
    worker.wait(10)
    native.worker("--lease", "2s", concurrency=1)
    wait_for(lambda: waiting.state == "REVOKED", "another worker, which never heard the broadcast, revokes it", 30)
    celery_app.control.revoke(busy.id, terminate=True)
    assert waiting.state == "REVOKED"


def test_a_task_that_Python_terminates_ends_as_revoked(native, celery_app):
    worker = native.worker(concurrency=1)
    busy = celery_app.send_task("cpp.slow", [60.0], queue="native")
    wait_for(lambda: "task.started" in worker.log.read_text(), "it runs")
    celery_app.control.revoke(busy.id, terminate=True)
    wait_for(lambda: busy.state == "REVOKED", "it was stopped", 30)
    assert "terminated" in str(busy.result)
