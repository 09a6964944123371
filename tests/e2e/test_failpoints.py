"""The environment variable ERRAND_FAILPOINT, in the command line built with fail points."""
import os
import pathlib
import signal
import subprocess

import pytest
from interop_support import BUILD, wait_for

PROGRAM = BUILD / "tests/chaos/errand_chaos"


def environment(tmp_path, text):
    return {**os.environ, "ERRAND_FAILPOINT": text, "ERRAND_FAILPOINT_LOG": str(tmp_path / "fired")}


def start(tmp_path, text):
    (tmp_path / "errand.toml").write_text('log_level = "info"\n')
    log = tmp_path / "worker.log"
    process = subprocess.Popen([str(PROGRAM), "errand", "worker", "-b", f"sqlite:///{tmp_path}/errand.db", "-c", "1"],
                               cwd=tmp_path, env=environment(tmp_path, text), stdout=log.open("w"), stderr=subprocess.STDOUT)
    process.log = log
    return process


@pytest.mark.parametrize("text, words", [
    ("claim.aftre:kill", ["claim.aftre", "did you mean claim.after?", "pub.before_send", "reload.parse"]),
    ("claim.after:kil", ["'kil'", "did you mean kill?", "pause=<duration>", "error=<kind>"]),
    ("claim.after", ["name:action[:hit]"]),
    ("claim.after:pause=soon", ["pause=2s", "pause=soon"]),
    ("claim.after:error=unavailabel", ["did you mean unavailable?", "in_doubt"]),
    ("claim.after:kill:0", ["a hit from 1 on", "'0'"]),
    ("claim.after:kill,claim.after:exit", ["named twice"]),
])
def test_a_misspelt_fail_point_is_refused_at_the_start_and_names_the_valid_ones(tmp_path, text, words):
    done = subprocess.run([str(PROGRAM), "errand", "worker", "-b", f"sqlite:///{tmp_path}/errand.db"], cwd=tmp_path,
                          env=environment(tmp_path, text), capture_output=True, text=True, timeout=30)
    assert done.returncode == 78
    for word in ["ERRAND_FAILPOINT", *words]:
        assert word in done.stderr, done.stderr


# F144: whatever happens while the new configuration is read, the old one stays and the worker goes on.
def test_F144_an_error_while_the_configuration_is_read_again_changes_nothing(tmp_path):
    worker = start(tmp_path, "reload.parse:error=unavailable")
    try:
        wait_for(lambda: "worker ready" in worker.log.read_text(), "ready", 30)
        worker.send_signal(signal.SIGHUP)
        wait_for(lambda: "configuration not changed" in worker.log.read_text(), "the error is told", 30)
        worker.send_signal(signal.SIGHUP)
        wait_for(lambda: "configuration read again" in worker.log.read_text(), "the next one is read", 30)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.parametrize("action, status", [("kill", -signal.SIGKILL), ("exit", 70)])
def test_a_fail_point_ends_the_process_and_says_so_in_its_log(tmp_path, action, status):
    worker = start(tmp_path, f"reload.parse:{action}:2")
    try:
        wait_for(lambda: "worker ready" in worker.log.read_text(), "ready", 30)
        worker.send_signal(signal.SIGHUP)
        wait_for(lambda: "configuration read again" in worker.log.read_text(), "the first one passes", 30)
        assert worker.poll() is None
        worker.send_signal(signal.SIGHUP)
        assert worker.wait(30) == status
        assert (tmp_path / "fired").read_text() == f"reload.parse {action} {worker.pid}\n"
    finally:
        worker.kill()
        worker.wait()
