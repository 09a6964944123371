"""Group D of the fault catalogue: the real worker and the real command line on a Redis server that misbehaves."""
import json
import os
import signal
import time

import pytest

from interop_support import Native, wait_for
from servers import Proxy, RedisServer

BACK_WITHIN = 35  # seconds: how soon a worker works again once its server does (invariant I15)


@pytest.fixture
def server(tmp_path):
    one = RedisServer(tmp_path / "redis")
    yield one
    one.stop()


@pytest.fixture
def proxy(server):
    one = Proxy(server.port)
    yield one
    one.stop()


@pytest.fixture
def native(server, tmp_path):
    one = Native(server.url, tmp_path)
    yield one
    one.stop()


def events(worker, *names):
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    return [line for line in lines if line["event"] in names]


def done(native, task_id):
    return native.result(task_id)["state"] == "SUCCESS"


def answered(native, within=BACK_WITHIN + 25):
    """The worker answers within the time that the catalogue gives it, plus what a busy test machine takes."""
    begin = time.monotonic()
    sent = wait_for(lambda: sent_or_none(native), "a task can be sent again", within)
    wait_for(lambda: done(native, sent), "the worker works again", within)
    return time.monotonic() - begin


def sent_or_none(native):
    done_ = native.run("send", "cpp.add", "[1, 2]", "--queue", "native", "-b", native.broker_url, "--json")
    return json.loads(done_.stdout)["id"] if done_.returncode == 0 else None


def start_slow(native, worker, seconds):
    sent = native.send("cpp.slow", [seconds], wait=False)
    wait_for(lambda: any(e.get("task_id") == sent["id"] for e in events(worker, "task.started")), "the task has begun")
    return sent["id"]


def assert_rests(server):
    """I14: nothing is held, and no key of a delivery is left."""
    wait_for(lambda: server.client.exists("unacked", "unacked_index", "errand:leases", "errand:lease-index", "errand:held") == 0,
             "no delivery is held")


def test_F042_after_a_server_was_killed_without_persistence_work_resumes_within_35_seconds(server, native):
    worker = native.worker()
    start_slow(native, worker, 0.5)
    server.kill()
    wait_for(lambda: events(worker, "worker.fetch", "worker.commit"), "the worker notices")
    server.start()
    assert answered(native) < BACK_WITHIN + 25
    assert worker.poll() is None
    assert_rests(server)
    # What Python sends by an exchange needs the bindings, which the server lost as well.
    wait_for(lambda: server.client.smembers("_kombu.binding.native"), "the bindings are there again", 30)
    assert len(events(worker, "worker.fetch")) <= 12, "no storm of lines"


def test_F043_with_an_append_only_file_a_killed_server_loses_nothing_that_is_older_than_a_second(tmp_path):
    server = RedisServer(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "everysec")
    native = Native(server.url, tmp_path)
    try:
        worker = native.worker("--lease", "5s")
        running = start_slow(native, worker, 6)
        waiting = [native.send("cpp.add", [1, i], wait=False)["id"] for i in range(3)]
        later = native.send("cpp.add", [5, 5], None, "--countdown", "2", wait=False)["id"]
        before = server.client.info("persistence")
        # The file is written once a second: wait until what was sent is in it.
        wait_for(lambda: server.client.info("persistence")["aof_pending_bio_fsync"] == 0 and
                 server.client.waitaof(1, 0, 0)[0] if hasattr(server.client, "waitaof") else older_than_a_second(server),
                 "the file is synchronised")
        assert before["aof_enabled"] == 1
        server.kill()
        server.start()
        for task_id in [running, *waiting, later]:
            wait_for(lambda: done(native, task_id), "everything that was accepted is done", BACK_WITHIN + 40)
        assert worker.poll() is None
        assert_rests(server)
    finally:
        native.stop()
        server.stop()


def older_than_a_second(server, seen={}):
    """A second after it was first asked, by the server's own clock."""
    now = server.client.time()[0]
    return now - seen.setdefault(server.port, now) > 1


def test_F044_a_full_server_is_a_typed_error_for_senders_and_no_outcome_is_lost(server, native):
    worker = native.worker()
    running = start_slow(native, worker, 1)
    server.client.config_set("maxmemory", "1")
    refused = native.run("send", "cpp.add", "[1, 2]", "--queue", "native", "-b", native.broker_url)
    assert refused.returncode == 1
    assert "OOM" in refused.stderr and "maxmemory" in refused.stderr
    wait_for(lambda: events(worker, "worker.commit"), "the outcome waits in the worker")
    assert server.client.hlen("unacked") == 1, "not acknowledged without its outcome"
    server.client.config_set("maxmemory", "0")
    wait_for(lambda: done(native, running), "the outcome is stored when there is room", BACK_WITHIN)
    assert answered(native)
    assert_rests(server)
    started = [e for e in events(worker, "task.started") if e["task_id"] == running]
    assert len(started) == 1, "and the task ran once"


def test_F045_after_a_flush_the_worker_goes_on_and_declares_its_queues_again(server, native):
    worker = native.worker()
    assert native.send("cpp.add", [1, 2])["result"] == 3
    assert server.client.smembers("_kombu.binding.native")
    server.client.flushall()
    wait_for(lambda: server.client.smembers("_kombu.binding.native"), "the binding is there again", 30)
    told = wait_for(lambda: events(worker, "redis.state"), "it says that the server lost state", 30)
    assert told[0]["severity"] == "WARNING" and told[0]["queue"] == "native"
    assert answered(native)
    assert_rests(server)


def test_F046_a_worker_follows_its_name_to_the_new_primary_and_decides_nothing_on_a_replica(tmp_path):
    first, second = RedisServer(tmp_path / "first"), RedisServer(tmp_path / "second", "--repl-diskless-sync-delay", "0")
    proxy = Proxy(first.port)  # stands for the name that a failover moves
    native = Native(proxy.url, tmp_path)
    try:
        second.client.replicaof("127.0.0.1", first.port)
        wait_for(lambda: second.client.info("replication")["master_link_status"] == "up", "the replica is in step", 30)
        worker = native.worker()
        assert native.send("cpp.add", [1, 2])["result"] == 3
        # The roles change; the worker's connections still lead to the old primary, which is a replica now.
        second.client.replicaof("no", "one")
        first.client.replicaof("127.0.0.1", second.port)
        proxy.target = second.port
        sent = wait_for(lambda: sent_or_none(native), "a task can be sent", BACK_WITHIN)
        wait_for(lambda: done(native, sent), "the worker has found the new primary", BACK_WITHIN + 25)
        assert worker.poll() is None
        # The primary dies before its replica has everything, and the name leads to the replica while that is one.
        first.client.replicaof("no", "one")
        first.client.flushall()
        first.client.replicaof("127.0.0.1", second.port)
        wait_for(lambda: first.client.info("replication")["master_link_status"] == "up", "in step again", 30)
        proxy.target = first.port
        second.kill()
        proxy.cut()
        wait_for(lambda: any("READONLY" in e["message"] or "refused" in e["message"] for e in events(worker, "worker.fetch")),
                 "the worker waits for a primary")
        assert native.run("send", "cpp.add", "[1, 2]", "--queue", "native", "-b", native.broker_url).returncode == 1
        first.client.replicaof("no", "one")
        assert answered(native)
        assert_rests(first)
    finally:
        native.stop()
        proxy.stop()
        first.stop()
        second.stop()


def test_F047_connections_that_are_silently_dead_are_noticed_and_made_anew_within_35_seconds(server, proxy, tmp_path):
    native = Native(proxy.url, tmp_path)
    try:
        worker = native.worker()
        assert native.send("cpp.add", [1, 2])["result"] == 3
        wait_for(lambda: server.client.pubsub_numpat() == 1, "remote control listens")
        begin = time.monotonic()
        assert proxy.hush() >= 2
        sent = native.send("cpp.add", [20, 22], wait=False)["id"]
        wait_for(lambda: done(native, sent), "the worker works again", BACK_WITHIN + 25)
        assert time.monotonic() - begin < BACK_WITHIN + 10
        # Its subscription as well: a command to it is answered.
        direct = Native(server.url, tmp_path)
        wait_for(lambda: server.client.pubsub_numpat() >= 2 or events(worker, "control.unavailable"), "remote control is back", 60)
        wait_for(lambda: revoked_before_start(direct), "a revoke arrives", 60)
        assert_rests(server)
    finally:
        native.stop()


def revoked_before_start(native):
    sent = native.send("cpp.add", [1, 1], None, "--countdown", "1", wait=False)["id"]
    native.run("revoke", sent, "-b", native.broker_url)
    return wait_for(lambda: (state := native.result(sent)["state"]) in ("REVOKED", "SUCCESS") and state, "it ends", 30) == "REVOKED"


def test_F048_resets_again_and_again_of_every_kind_of_connection_stop_neither_queue_nor_subscription(server, native):
    most = int(os.environ.get("ERRAND_TEST_RESETS", "200"))  # 1 000 take a minute
    workers = [native.worker("-l", "info", concurrency=1) for _ in range(4)]
    client = server.client
    resets, sent = 0, []
    while resets < most:
        # Fetching, sending and listening connections, as soon as they are there again.
        killed = sum(client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes") for kind in ("normal", "pubsub"))
        if resets // 20 != (resets + killed) // 20:
            sent.append(wait_for(lambda: sent_or_none(native), "a task can be sent"))
        resets += killed
        if killed == 0:
            wait_for(lambda: len(client.client_list()) > 1, "somebody connects", 40)
    for task_id in sent:
        wait_for(lambda: done(native, task_id), "every task is done", BACK_WITHIN + 25)
    assert len(sent) >= most // 40
    wait_for(lambda: revoked_before_start(native), "and is heard", 90)
    assert_rests(server)
    for worker in workers:
        assert worker.poll() is None
        assert len(events(worker, "worker.fetch")) < 30, "no storm of lines"


def test_F052_a_start_without_rights_exits_78_and_names_command_and_key(server, native):
    client = server.client
    for user, rules, named in [("poor", ["-lpush"], "lpush"), ("poorer", ["-evalsha", "-eval"], "evalsha"),
                               ("blind", ["resetkeys", "~other*"], "permissions to access"), ("mute", ["-zadd"], "zadd")]:
        client.execute_command("ACL", "SETUSER", user, "on", ">secret", "~*", "&*", "+@all", *rules)
        url = f"redis://{user}:secret@127.0.0.1:{server.port}/0"
        refused = native.run("worker", "-b", url, "-Q", "native")
        assert refused.returncode == 78, (user, refused.returncode, refused.stderr)
        assert named in refused.stderr and "secret" not in refused.stderr, refused.stderr
    for url in (f"redis://:wrong@127.0.0.1:{server.port}/0", f"redis://nobody:x@127.0.0.1:{server.port}/0"):
        refused = native.run("worker", "-b", url, "-Q", "native")
        assert refused.returncode == 78, refused.stderr
    wrong_database = native.run("worker", "-b", f"redis://127.0.0.1:{server.port}/99", "-Q", "native")
    assert wrong_database.returncode == 78 and "got 99" in wrong_database.stderr


def test_F052_rights_that_are_lost_at_run_time_are_waited_for_without_a_storm_of_lines(server, native):
    client = server.client
    client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
    native.broker_url = f"redis://app:secret@127.0.0.1:{server.port}/0"
    worker = native.worker()
    running = start_slow(native, worker, 1)
    client.execute_command("ACL", "SETUSER", "app", "-evalsha", "-eval")
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_for(lambda: any("NOPERM" in json.dumps(e) or "permission" in json.dumps(e) for e in events(worker, "worker.fetch", "worker.commit")),
             "the worker says what is missing", 30)
    # Enough rounds of its waiting that a line for each would show.
    seen = len(events(worker, "worker.fetch"))
    end = client.time()[0] + 3
    wait_for(lambda: client.time()[0] > end, "three seconds pass at the server")
    assert len(events(worker, "worker.fetch")) - seen <= 2
    assert worker.poll() is None
    client.execute_command("ACL", "SETUSER", "app", "+@all")
    wait_for(lambda: done(native, running), "the outcome that waited is stored, as it was", BACK_WITHIN + 25)
    assert answered(native)
    assert "secret" not in worker.log.read_text().replace("secret_", "")
    assert_rests(server)


def test_F053_a_server_that_answers_late_or_cannot_save_delays_work_and_loses_none(server, native):
    worker = native.worker()
    client = server.client
    running = start_slow(native, worker, 0.5)
    # Longer than any answer may take, so that connections are given up while the server sleeps.
    frozen = server.frozen()
    with frozen:
        wait_for(lambda: events(worker, "worker.fetch", "worker.commit"), "the worker has waited long enough", 30)
    wait_for(lambda: done(native, running), "it works again", BACK_WITHIN + 25)
    # Writes are refused while the last attempt to save has failed.
    (server.folder / "dump.rdb").mkdir()
    client.config_set("stop-writes-on-bgsave-error", "yes")
    client.config_set("save", "3600 1000000")
    client.bgsave()
    wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "saving has failed")
    refused = native.run("send", "cpp.add", "[1, 2]", "--queue", "native", "-b", native.broker_url)
    assert refused.returncode == 1 and "MISCONF" in refused.stderr
    assert worker.poll() is None
    (server.folder / "dump.rdb").rmdir()
    client.config_set("save", "")
    client.config_set("stop-writes-on-bgsave-error", "no")
    assert answered(native)
    assert_rests(server)


def test_F053_a_queue_whose_key_is_something_else_stops_no_other_queue(server, native):
    server.client.set("broken", "a text")
    worker = native.worker(queue="broken,native")
    assert native.send("cpp.add", [1, 2])["result"] == 3
    told = wait_for(lambda: events(worker, "redis.fetch"), "the worker says which key", 30)
    assert "broken" in told[0]["message"] and len(told) < 5
    refused = native.run("send", "cpp.add", "[1, 2]", "--queue", "broken", "-b", native.broker_url)
    assert refused.returncode == 1 and "WRONGTYPE" in refused.stderr
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
