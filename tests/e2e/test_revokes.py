"""Revoked tasks and dead letters, as an operator sees them."""
import json
import signal

import pytest

from interop_support import wait_for
from ledger import Ledger


@pytest.fixture
def ledger(store, tmp_path):
    one = Ledger(store, tmp_path)
    yield one
    one.stop()


def test_I21_a_revoke_outlives_every_worker_and_is_checked_when_the_message_is_taken(ledger):
    kept = ledger.send("note", "kept", 0.0)
    tasks = [ledger.send("note", f"n{i}", 0.0) for i in range(3)]
    answer = ledger.command("revoke", *tasks)
    assert answer["kept"] is True and answer["workers"] == {}
    worker = ledger.worker()
    ledger.wait_state(kept, "SUCCESS")
    for task in tasks:
        assert ledger.wait_state(task, "REVOKED")["error"]["message"] == "revoked"
    # And the next worker, for what comes again.
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    ledger.worker()
    ledger.wait_drained()
    assert ledger.counts("begin") == {"kept": 1}


def test_F133_a_running_worker_answers_when_a_revoke_is_done_and_starts_nothing_after_that(ledger):
    ledger.worker(name="one@test", concurrency=1)
    ledger.send("until", "runs", str(ledger.folder / "go"))
    ledger.wait_begun("runs")
    waiting = [ledger.send("note", f"n{i}", 0.0) for i in range(4)]
    answer = ledger.command("revoke", *waiting)
    assert list(answer["workers"]) == ["one@test"], answer
    (ledger.folder / "go").touch()
    for task in waiting:
        ledger.wait_state(task, "REVOKED")
    ledger.wait_drained()
    assert ledger.counts("begin") == {"runs": 1}


def test_F123_a_parked_task_that_is_revoked_does_not_start_when_its_time_comes(ledger):
    task = ledger.send("note", "later", 0.0, options=["--countdown", "3s"])
    ledger.command("revoke", task)
    ledger.worker()
    assert ledger.wait_state(task, "REVOKED")["state"] == "REVOKED"
    ledger.wait_drained()
    assert ledger.lines() == []


@pytest.mark.parametrize("task, arguments, how", [
    ("polite", (60.0,), "stopped when asked"),
    ("pressed", (60.0,), "stopped as by its soft limit"),
    ("note", (60.0,), "killed"),
])
def test_F133_a_running_task_is_asked_then_pressed_then_killed_and_its_record_says_what_worked(ledger, task, arguments, how):
    if task == "note" and ledger.broker_url.startswith("sqlite"):
        pytest.skip("the steps do not depend on the store; ten seconds are enough once")
    worker = ledger.worker(concurrency=1)
    sent = ledger.send(task, "n", *arguments)
    ledger.wait_begun("n")
    ledger.command("revoke", sent, "--terminate")
    found = ledger.wait_state(sent, "REVOKED")
    assert how in json.dumps(found), found
    revoked = wait_for(lambda: ledger.events(worker, "task.revoked"), "the log says it")
    assert how in revoked[-1]["detail"]
    assert ledger.counts("end") == {}
    ledger.send("note", "after", 0.0)
    ledger.wait_ended("after")
    assert worker.poll() is None


def test_I26_dead_letters_are_listed_shown_chosen_requeued_with_the_same_bytes_and_dropped(ledger):
    worker = ledger.worker(name="old@test")
    sent = [ledger.command("send", f"ledger.unknown{i % 2}", json.dumps(["é", i]), "--queue", "ledger")["id"] for i in range(4)]
    letters = wait_for(lambda: (found := ledger.command("dead", "list", "ledger")) and len(found) == 4 and found, "they are dead")
    assert [letter["task_id"] for letter in letters] == sent
    for letter in letters:
        assert letter["reason"] == "UNKNOWN_TASK" and letter["deliveries"] == 1
        assert letter["first_seen"] <= letter["last_seen"]
    shown = ledger.command("dead", "show", "ledger", letters[0]["id"])
    assert sent[0] in shown["raw"]
    # Choices.
    assert len(ledger.command("dead", "list", "ledger", "--task", "ledger.unknown1")) == 2
    assert len(ledger.command("dead", "list", "ledger", "--task-id", sent[3])) == 1
    assert ledger.command("dead", "list", "ledger", "--reason", "REJECTED") == []
    assert ledger.command("dead", "list", "ledger", "--older-than", "1h") == []
    refused = ledger.run("dead", "drop", "ledger", "-b", ledger.broker_url)
    assert refused.returncode == 2 and "--all" in refused.stderr
    both = ledger.run("dead", "drop", "ledger", letters[0]["id"], "--all", "-b", ledger.broker_url)
    assert both.returncode == 2
    # Requeued, they die again, with the same bytes.
    assert ledger.command("dead", "requeue", "ledger", "--task", "ledger.unknown0")["requeued"] == 2
    again = wait_for(lambda: (found := ledger.command("dead", "list", "ledger", "--task-id", sent[0])) and found, "it is dead again")
    assert ledger.command("dead", "show", "ledger", again[0]["id"])["raw"] == shown["raw"]
    wait_for(lambda: len(ledger.command("dead", "list", "ledger")) == 4, "all are back")
    assert ledger.command("dead", "drop", "ledger", "--task-id", sent[1])["dropped"] == 1
    assert ledger.command("dead", "drop", "ledger", "--all")["dropped"] == 3
    assert ledger.command("dead", "list", "ledger") == []
    assert worker.poll() is None


def test_beyond_max_dead_letters_nothing_is_dropped_and_the_log_says_what_to_do(ledger):
    ledger.configure(max_dead_letters=2)
    worker = ledger.worker()
    for i in range(4):
        ledger.command("send", "ledger.unknown", json.dumps([i]), "--queue", "ledger")
    queue = wait_for(lambda: (q := ledger.queue())["dead"] == 2 and q["parked"] == 2 and q, "two are dead and two wait")
    assert queue["ready"] + queue["leased"] == 0
    assert "max_dead_letters" in worker.log.read_text()
