"""packaging/errand.service is accepted by systemd, hardened (S43), and starts the program as it really is."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNIT = ROOT / "packaging/errand.service"
PROGRAM = os.environ.get("ERRAND", str(ROOT / "build/release/errand"))
EXPOSURE_LIMIT = 15  # S43: 1.5 of 10; a unit without any hardening has 9.2


def settings():
    found = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def seconds(text):
    return int(text.removesuffix("s"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None and os.environ.get("CI") != "true", reason="no systemd-analyze here")
def test_s43_the_unit_is_hardened():
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_LIMIT}", str(UNIT)],
                          capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Unknown" not in done.stderr, done.stderr


def test_the_unit_uses_options_that_the_worker_has():
    command = settings()["ExecStart"][0].split()
    assert command[:2] == ["/usr/bin/errand", "worker"]
    text = subprocess.run([PROGRAM, "worker", "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    for option in (word for word in command if word.startswith("-")):
        assert re.search(rf"(^|[ ,]){option}\b", text), f"errand worker has no {option}"


def test_a_stop_has_more_time_than_the_tasks_that_run():
    unit = settings()
    grace = re.search(r"--grace (\d+)s", unit["ExecStart"][0]).group(1)
    assert seconds(unit["TimeoutStopSec"][0]) > int(grace)


def test_a_wrong_configuration_is_not_started_again_and_again(tmp_path):
    done = subprocess.run([PROGRAM, "worker", "-b", "redsi://x"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert str(done.returncode) in settings()["RestartPreventExitStatus"][0].split()


def test_the_system_calls_that_bound_a_task_are_allowed():
    # @resources is taken away as a whole and holds these two; later lines win.
    lines = settings()["SystemCallFilter"]
    assert lines.index("~@privileged @resources") < lines.index("setrlimit prlimit64")
