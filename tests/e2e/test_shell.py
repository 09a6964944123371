"""What shells and people's terminals see: completion, the manual page, colours."""
import json
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from interop_support import missing, program, wait_for


class Typist:
    """A program on a terminal of its own."""

    def __init__(self, command, cwd, env):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(command[0], command, env)
        self.seen = ""

    def type(self, text):
        self.seen = ""
        os.write(self.terminal, text.encode())

    def read(self, seconds=0.0):
        if select.select([self.terminal], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.terminal, 65536).decode(errors="replace")
            except OSError:  # the other side has ended
                return False
        return True

    def expect(self, text, seconds=30):
        end = time.monotonic() + seconds
        while text not in self.seen:
            if not self.read(0.1) or time.monotonic() > end:
                assert text in self.seen, self.seen
        return self.seen

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


@pytest.fixture
def bash(tmp_path):
    folder = os.path.dirname(program("errand"))
    one = Typist(["bash", "--norc", "--noprofile", "-i"], tmp_path,
                 {"PATH": f"{folder}:{os.environ['PATH']}", "PS1": "ready> ", "TERM": "dumb", "HOME": str(tmp_path)})
    one.expect("ready> ")
    one.type("bind 'set bell-style none'; source <(errand completion bash); echo loa''ded\n")
    one.expect("loaded\r\n")
    yield one
    one.type("\x03")
    one.type("exit\n")
    one.close()


@pytest.mark.parametrize("typed, completed", [
    ("errand wor\t", "errand worker "),
    ("errand worker --po\t", "errand worker --pool "),
    ("errand worker -P th\t", "errand worker -P threads "),
    ("errand worker --pool=so\t", "errand worker --pool=solo "),
    ("errand dead req\t", "errand dead requeue "),
    ("errand check cat\t", "errand check catalogue "),
    ("errand -b redis://localhost/0 stat\t", "errand -b redis://localhost/0 status "),
    ("errand -b redis://localhost/0 worker --conc\t", "errand -b redis://localhost/0 worker --concurrency "),
])
def test_bash_completes_commands_options_and_values(bash, typed, completed):
    bash.type(typed)
    bash.expect(completed)


def test_the_manual_page_is_one_that_man_and_mandoc_read_without_complaint(errand, tmp_path):
    page = tmp_path / "errand.1"
    page.write_text(errand("man").stdout)
    if shutil.which("mandoc") is None:
        missing("mandoc")
    lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True).stdout
    assert [line for line in lint.splitlines() if "missing date" not in line] == []
    shown = subprocess.run(["mandoc", "-Tutf8", page], capture_output=True, text=True, check=True).stdout
    shown = re.sub(r".\x08", "", shown)
    for words in ("errand worker [OPTIONS]", "--max-tasks-per-child", "ERRAND_BROKER_URL", "EXIT STATUS"):
        assert words in shown


def test_logs_have_colours_on_a_terminal_and_nowhere_else(errand):
    on_terminal = Typist([program("errand"), "worker", "--burst", "-b", "sqlite:///a.db"], errand.folder,
                         {**os.environ, "TERM": "xterm"})
    seen = on_terminal.expect("worker stopped")
    on_terminal.close()
    assert "\x1b[" in seen
    piped = errand("worker", "--burst", "-b", "sqlite:///a.db")
    assert "worker stopped" in piped.stderr and "\x1b[" not in piped.stderr
    asked = errand("worker", "--burst", "-b", "sqlite:///a.db", "--log-json")
    assert [json.loads(line)["event"] for line in asked.stderr.splitlines()][-1] == "worker.stopped"


def test_up_runs_the_tasks_of_the_file_and_says_how_to_send(errand):
    (errand.folder / "errand.toml").write_text('[tasks."greet"]\ncommand = ["sh", "-c", "echo \'\\"hello\\"\'"]\n')
    screen = errand.folder / "screen"
    with screen.open("w") as out:
        up = subprocess.Popen([program("errand"), "up"], cwd=errand.folder, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: "worker ready" in screen.read_text(), "it is up")
        assert "greet(...)" in screen.read_text() and "errand send NAME" in screen.read_text()
        done = errand("send", "greet", "--wait")
        assert (done.returncode, done.stdout.strip()) == (0, '"hello"')
        workers = json.loads(errand("status", "--json").stdout)["workers"]
        assert len(workers) == 1
    finally:
        up.terminate()
        assert up.wait(20) == 0
    refused = errand("up", "-b", "redis://127.0.0.1/0")
    assert refused.returncode == 2 and "errand worker" in refused.stderr
