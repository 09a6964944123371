"""The ledger that tasks write with O_APPEND, and workers whose tasks write it (ledger_worker.cpp).

What a test says about executions comes from here: the workers' own logs and results are what is judged."""
import collections
import json
import os
import signal
import subprocess

from interop_support import Native, program, wait_for

Line = collections.namedtuple("Line", "event what id retries pid time")


class Ledger(Native):
    def __init__(self, broker_url, folder):
        super().__init__(broker_url, folder)
        self.file = folder / "ledger"

    # Workers and commands

    def worker(self, *arguments, concurrency=2, name=None, extra_env=None, ready=True):
        log = self.folder / f"worker-{len(self.workers)}.log"
        process = subprocess.Popen(
            [program("ledger_worker"), "worker", "-b", self.broker_url, "-Q", "ledger", "-c", str(concurrency),
             "-n", name or f"w{len(self.workers)}@test", "--log-json", "-l", "debug", *arguments],
            stdout=log.open("w"), stderr=subprocess.STDOUT, cwd=self.folder, env={**os.environ, **(extra_env or {})},
        )
        process.log = log
        self.workers.append(process)
        if ready:
            wait_for(lambda: "worker.ready" in log.read_text() or process.poll() is not None, "the worker is ready", 60)
            assert process.poll() is None, log.read_text()
        return process

    def run(self, *arguments, timeout=60):
        return subprocess.run([program("ledger_worker"), *arguments], capture_output=True, text=True, timeout=timeout,
                              cwd=self.folder)

    def command(self, *arguments):
        """A command on this broker that must succeed; its JSON answer."""
        done = self.run(*arguments, "-b", self.broker_url, "--json")
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return json.loads(done.stdout)

    def send(self, task, *arguments, options=()):
        """Sends ledger.<task>(file, ...); returns its id."""
        sent = self.command("send", f"ledger.{task}", json.dumps([str(self.file), *arguments]), "--queue", "ledger", *options)
        return sent["id"]

    def result(self, task_id):
        return json.loads(self.run("result", task_id, "-b", self.broker_url, "--json").stdout)

    def queue(self):
        for queue in self.command("queues"):
            if queue["name"] == "ledger":
                return queue
        return {"ready": 0, "parked": 0, "leased": 0, "dead": 0}

    def configure(self, **settings):
        """Settings for every command and worker of this test, in the configuration file."""
        (self.folder / "errand.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))

    # What happened

    def lines(self, event=None, what=None):
        if not self.file.exists():
            return []
        out = []
        for text in self.file.read_text().splitlines():
            parts = text.split(" ")
            line = Line(parts[0], parts[1], parts[2], int(parts[3]), int(parts[4]), int(parts[5]) / 1e6)
            if event in (None, line.event) and what in (None, line.what):
                out.append(line)
        return out

    def counts(self, event):
        return collections.Counter(line.what for line in self.lines(event))

    def wait_begun(self, what=None, count=1, seconds=60):
        return wait_for(lambda: (found := self.lines("begin", what)) and len(found) >= count and found,
                        f"{count} of {what or 'all'} begun", seconds)

    def wait_ended(self, what=None, count=1, seconds=60):
        return wait_for(lambda: (found := self.lines("end", what)) and len(found) >= count and found,
                        f"{count} of {what or 'all'} ended", seconds)

    def wait_state(self, task_id, *states, seconds=60):
        return wait_for(lambda: (found := self.result(task_id))["state"] in states and found, f"{task_id} is {states}", seconds)

    def wait_drained(self, seconds=60):
        """Nothing ready, parked or handed out."""
        def empty():
            queue = self.queue()
            return queue["ready"] + queue["parked"] + queue["leased"] == 0
        wait_for(empty, "the queue is drained", seconds)

    @staticmethod
    def events(worker, event):
        """The worker's log lines of this kind."""
        out = []
        for text in worker.log.read_text().splitlines():
            if f'"{event}"' in text:
                line = json.loads(text)
                if line.get("event") == event:
                    out.append(line)
        return out


def family(pid):
    """The process and everything below it."""
    pids = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children") as children:
                for child in children.read().split():
                    pids += family(int(child))
        except FileNotFoundError:
            pass
    return pids


def pause(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def wake(pids):
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
