"""F124 on the real worker: a queue that anybody may write to, and what is run from it all the same."""
import json
import os
import sqlite3
import subprocess
import sys

import pytest

from bad_messages import envelope
from interop_support import HERE as INTEROP, program, wait_for
from test_faults_messages import Queue, events


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)


def make_key(folder, name, algorithm=("-algorithm", "ed25519")):
    openssl("genpkey", *algorithm, "-out", folder / f"{name}.pem")
    openssl("pkey", "-in", folder / f"{name}.pem", "-pubout", "-out", folder / f"{name}.pub")


def configuration(folder, key, policy="require", more=""):
    return f"""
[signing]
key = "{key}"
key_file = "{folder}/{key}.pem"
trusted = {{ web = "{folder}/web.pub", ops = "{folder}/ops.pub" }}
policy = "{policy}"
{more}
"""


@pytest.fixture
def site(native):
    """The worker and its senders have `errand.toml`; `nobody.toml` is how somebody sends who has no key."""
    make_key(native.folder, "web", ("-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048"))
    make_key(native.folder, "ops")
    make_key(native.folder, "mallory")
    (native.folder / "errand.toml").write_text(configuration(native.folder, "web"))
    (native.folder / "nobody.toml").write_text("")
    (native.folder / "mallory.toml").write_text(
        configuration(native.folder, "mallory", "off").replace('key = "mallory"', 'key = "web"'))
    native.run("status", "-b", native.broker_url)  # makes the file
    native.queue = Queue(native)
    return native


def ended(native, task_id):
    return wait_for(lambda: (r := native.result(task_id))["state"] in ("SUCCESS", "FAILURE", "REVOKED") and r, "it has ended")


def recorded(native):
    """What lies in the queue, as whoever may read it could copy it; it stays there."""
    if native.queue.is_redis:
        return native.queue.client.lrange("native", 0, -1)
    with sqlite3.connect(native.queue.path, timeout=30) as database:
        return [(meta.encode(), body) for meta, body in database.execute("SELECT meta, body FROM message")]


def reasons(native, count):
    letters = wait_for(lambda: len(found := native.queue.dead()) >= count and found, f"{count} dead letters")
    return [letter["reason"] for letter in letters]


def starts(worker, task_id):
    return [e for e in events(worker) if e["event"] == "task.started" and e.get("task_id") == task_id]


def test_F124_signed_tasks_run_with_their_retries_crashes_and_parked_copies(site):
    site.worker()
    assert site.send("cpp.add", [1, 2])["result"] == 3
    assert site.send("cpp.add", [1, 2], None, "--countdown", "1s")["result"] == 3
    assert site.send("cpp.flaky", [2])["result"] == 2  # two retries, each a message of the worker's own
    crashed = site.send("cpp.crash", timeout=60)
    assert crashed["state"] == "FAILURE" and crashed["error"]["type"] == "WorkerLostError"
    assert reasons(site, 1) == ["CRASH_LIMIT"]


def test_F124_what_nobody_signed_or_somebody_else_did_is_dead_with_its_bytes_and_ends_no_task_of_that_id(site):
    worker = site.worker()
    real = site.send("cpp.add", [1, 2])["id"]
    forged = site.send("cpp.add", [5, 5], None, "--config", "nobody.toml", "--id", real, wait=False)
    pretended = site.send("cpp.add", [6, 6], None, "--config", "mallory.toml", wait=False)
    raw = site.queue.put(envelope())
    assert sorted(reasons(site, 3)) == ["SIGNATURE_INVALID", "SIGNATURE_MISSING", "SIGNATURE_MISSING"]
    assert raw[0] in [letter["raw"] for letter in site.queue.dead()]
    assert forged["id"] == real and site.result(real)["result"] == 3
    assert site.result(pretended["id"])["state"] == "PENDING"
    assert len(starts(worker, real)) == 1 and not starts(worker, pretended["id"])
    assert site.send("cpp.add", [2, 2])["result"] == 4


@pytest.mark.parametrize("call", [("cpp.add", [1, 2]), ("cpp.fail", ["no"])], ids=["success", "failure"])
def test_F124_a_recorded_message_runs_once_in_this_worker_and_in_the_next(site, call):
    task_id = site.send(*call, wait=False)["id"]
    copies = recorded(site)
    assert len(copies) == 1
    first = site.worker()
    ended(site, task_id)
    site.queue.put_raw(copies)
    assert reasons(site, 1) == ["SIGNATURE_REPLAYED"]
    first.terminate()
    assert first.wait(20) == 0
    second = site.worker()
    site.queue.put_raw(copies)
    assert reasons(site, 2) == ["SIGNATURE_REPLAYED"] * 2
    assert not starts(second, task_id) and len(starts(first, task_id)) == 1


def test_F124_a_header_that_was_changed_on_the_way_is_refused(site):
    site.send("cpp.add", [1, 2], wait=False)
    (copy,) = recorded(site)
    if site.queue.is_redis:
        site.queue.client.delete("native")
        changed = json.loads(copy)
        changed["headers"]["retries"] = 3
        site.queue.put_raw([json.dumps(changed).encode()])
    else:
        with sqlite3.connect(site.queue.path, timeout=30) as database:
            database.execute("UPDATE message SET body = CAST(replace(CAST(body AS TEXT), '1', '7') AS BLOB)")
    site.worker()
    assert reasons(site, 1) == ["SIGNATURE_INVALID"]


def test_F124_a_dead_letter_that_an_operator_puts_back_may_run(site):
    site.worker()
    sent = site.send("cpp.reject", ["not now", False], wait=False)["id"]
    assert reasons(site, 1) == ["REJECTED"]
    assert site.run("dead", "requeue", "native", "--task-id", sent, "-b", site.broker_url).returncode == 0
    assert reasons(site, 1) == ["REJECTED"]
    wait_for(lambda: len([w for w in site.workers for _ in starts(w, sent)]) == 2, "it ran again")


def test_F124_only_the_keys_that_may_send_a_task_can(site):
    (site.folder / "errand.toml").write_text(configuration(site.folder, "web", "accept", 'allow = { "cpp.a*" = ["ops"] }'))
    (site.folder / "ops.toml").write_text(configuration(site.folder, "ops", "off"))
    site.worker()
    site.send("cpp.add", [1, 2], wait=False)
    assert reasons(site, 1) == ["SIGNATURE_NOT_ALLOWED"]
    assert site.send("cpp.add", [1, 2], None, "--config", "ops.toml")["result"] == 3
    assert site.send("cpp.echo", ["x"], None, "--config", "nobody.toml")["result"] == "x"


def test_F124_a_callback_that_an_unsigned_message_names_gets_no_signature_from_the_worker(site):
    (site.folder / "errand.toml").write_text(configuration(site.folder, "web", "require", 'queues = { native = "accept" }'))
    worker = site.worker("-Q", "native,safe")

    def with_link(marker):
        call = {"task": "cpp.echo", "args": [marker], "kwargs": {}, "options": {"queue": "safe", "task_id": marker},
                "subtask_type": None, "immutable": True}
        return json.dumps([[1, 2], {}, {"callbacks": [call], "errbacks": None, "chain": None, "chord": None}]).encode()

    outer = envelope(body=with_link("stolen"), task="cpp.add")
    site.queue.put(outer)
    assert ended(site, outer["headers"]["id"])["result"] == 3
    letters = wait_for(lambda: json.loads(site.run("dead", "list", "safe", "-b", site.broker_url, "--json").stdout), "it is dead")
    assert [letter["reason"] for letter in letters] == ["SIGNATURE_MISSING"]
    assert not starts(worker, "stolen")
    linked = site.send("cpp.add", [1, 2], None, "--queue", "safe", "--id", "honest")
    assert linked["result"] == 3


def test_F126_commands_without_a_signature_are_not_obeyed(site):
    if not site.queue.is_redis:
        pytest.skip("this broker has no broadcasts")
    worker = site.worker()
    running = site.send("cpp.slow", [30], wait=False)["id"]
    wait_for(lambda: starts(worker, running), "it runs")
    site.run("revoke", running, "--terminate", "-b", site.broker_url, "--config", "nobody.toml")
    wait_for(lambda: [e for e in events(worker) if e["event"] == "control.refused"], "it was refused")
    assert site.result(running)["state"] == "PENDING"
    assert site.run("revoke", running, "--terminate", "-b", site.broker_url).returncode == 0
    assert ended(site, running)["state"] == "REVOKED"


@pytest.mark.parametrize("change, complaint", [
    (lambda folder, text: text.replace("web.pem", "gone.pem"), "gone.pem: cannot be read: No such file"),
    (lambda folder, text: text.replace("web.pub", "web.pem"), "expected a public key in PEM, got a private one"),
    (lambda folder, text: text.replace('"require"', '"always"'), "policy: expected one of"),
    (lambda folder, text: text.replace("trusted =", "trust ="), 'unknown key "trust"; did you mean trusted?'),
    (lambda folder, text: text.replace(f'key_file = "{folder}/web.pem"\n', ""), "expected key_file beside key"),
    (lambda folder, text: "".join(line for line in text.splitlines(True) if not line.startswith("key")), "expected a key to sign with"),
], ids=["no file", "private", "policy", "typo", "half a key", "no key"])
def test_a_worker_with_wrong_signing_ends_with_78_and_says_what_to_do(site, change, complaint):
    path = site.folder / "errand.toml"
    path.write_text(change(site.folder, path.read_text()))
    done = site.run("worker", "-b", site.broker_url, "-Q", "native", timeout=30)
    assert done.returncode == 78, done.stderr
    assert complaint in done.stderr and "PRIVATE" not in done.stderr


def test_python_workers_run_signed_tasks_and_python_senders_are_let_in_where_signatures_are_only_accepted(site):
    if not site.queue.is_redis:
        pytest.skip("Celery does not read this broker")
    sent = site.send("py.add", [20, 22], None, "--queue", "python", wait=False)
    log = (site.folder / "python.log").open("w")
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "python_app", "worker", "-Q", "python", "-c", "1", "--without-gossip",
         "--without-mingle"], cwd=INTEROP, stdout=log, stderr=subprocess.STDOUT,
        env={**os.environ, "INTEROP_BROKER": site.broker_url, "PYTHONDONTWRITEBYTECODE": "1"})
    try:
        assert ended(site, sent["id"])["result"] == 42
    finally:
        worker.terminate()
        worker.wait(20)
    script = "import python_app, sys; print(python_app.app.send_task('cpp.add', args=[1, 2]).id)"
    environment = {**os.environ, "INTEROP_BROKER": site.broker_url, "PYTHONDONTWRITEBYTECODE": "1"}

    def from_python():
        return subprocess.run([sys.executable, "-c", script], cwd=INTEROP, env=environment, capture_output=True, text=True,
                              timeout=30, check=True).stdout.strip()

    first = site.worker()
    from_python()
    assert reasons(site, 1) == ["SIGNATURE_MISSING"]
    first.terminate()
    assert first.wait(20) == 0
    (site.folder / "errand.toml").write_text(configuration(site.folder, "web", "accept"))
    site.worker()
    assert ended(site, from_python())["result"] == 3
