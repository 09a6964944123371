"""What must not grow: the supervisor's memory over a million tasks, and everything over a million parked ones.

  ./dev bench memory [--tasks 1000000] [--store redis]    resident memory of the worker while it runs them
  ./dev bench parked [--tasks 1000000] [--store sqlite]   the same with a million tasks waiting for tomorrow, and how
                                                          fast it runs others beside them
On SQLite the sender parks what is not due yet. On Redis it may not, for Python may read the queue: there the worker
finds each of them in its queue and parks it, and its memory is watched while it does.
"""
import subprocess
import time

import contestants

EVERY = 0.25  # seconds between two looks at the memory
SHOWN = 8  # looks printed, spread over the run


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


class Watched:
    """A process whose resident memory is looked at until it ends, or `until` says that it has done enough."""

    def __init__(self, command, until=None):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        begin, self.looks = time.monotonic(), []
        while process.poll() is None:
            try:
                self.looks.append(resident_kib(process.pid))
            except OSError:
                break
            if until is not None and until():
                process.terminate()
                break
            time.sleep(EVERY)
        process.wait()
        self.seconds = time.monotonic() - begin
        self.output = process.stdout.read()
        self.looks = [look for look in self.looks if look > 0]

    def shown(self):
        """A few looks in MiB, spread over the run, and the highest."""
        step = max(1, len(self.looks) // SHOWN)
        return [round(look / 1024, 1) for look in self.looks[::step]], round(max(self.looks) / 1024, 1)

    def line(self):
        looks, highest = self.shown()
        return " ".join(f"{look:.1f}" for look in looks) + f" MiB, highest {highest:.1f}"


def memory(arguments, store, note):
    url = store.fresh()
    fill = contestants.worker_command(arguments.build, "fill", url, arguments.tasks)
    subprocess.run(fill, check=True, stdout=subprocess.DEVNULL)
    run = Watched(contestants.worker_command(arguments.build, "drain", url, arguments.tasks, "prefork", arguments.concurrency))
    print(f"{store.name}: {arguments.tasks} tasks, {run.output.strip()}")
    print(f"{store.name}: resident memory of the worker over the run: {run.line()}", flush=True)
    looks, highest = run.shown()
    note("memory", {"store": store.name, "tasks": arguments.tasks, "mib": looks, "highest_mib": highest})


def parked_count(store, url):
    if store.name == "redis":
        import redis

        return redis.Redis.from_url(url).zcard("errand:parked:bench")
    import sqlite3

    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        return connection.execute("SELECT count(*) FROM parked").fetchone()[0]
    finally:
        connection.close()


def parked(arguments, store, note):
    some = max(1_000, arguments.tasks // 20)

    def drain(url):
        contestants.one_line(contestants.worker_command(arguments.build, "fill", url, some))
        return contestants.one_line(contestants.worker_command(
            arguments.build, "drain", url, some, "prefork", arguments.concurrency))["per_second"]

    alone = drain(store.fresh())
    url = store.fresh()
    begin = time.monotonic()
    subprocess.run(contestants.worker_command(arguments.build, "park", url, arguments.tasks), check=True,
                   stdout=subprocess.DEVNULL)
    print(f"{store.name}: {arguments.tasks} tasks due tomorrow sent in {time.monotonic() - begin:.1f} s", flush=True)
    if store.name == "redis":
        run = Watched(contestants.worker_command(arguments.build, "drain", url, arguments.tasks, "prefork",
                                                 arguments.concurrency))
        print(f"{store.name}: found and parked by the worker: {run.output.strip()}; resident: {run.line()}", flush=True)
    beside = drain(url)
    left = parked_count(store, url)
    print(f"{store.name}: {some} tasks alone {alone:.0f} per second, beside {left} parked ones {beside:.0f} per second "
          f"(ratio {beside / alone:.2f})", flush=True)
    # An idle worker with all of them parked: what does it hold?
    idle = contestants.worker_command(arguments.build, "drain", url, 1, "prefork", arguments.concurrency)
    start = time.monotonic()
    run = Watched(idle, until=lambda: time.monotonic() - start > 5.0)
    print(f"{store.name}: idle beside {left} parked ones: {run.line()}", flush=True)
    note("parked", {"store": store.name, "parked": left, "tasks": some, "alone": alone, "beside": beside,
                    "idle_mib": run.shown()[1]})


def run(arguments, note):
    """`note(kind, found)` keeps what was found for the report."""
    for name in arguments.store:
        with contestants.open_store(name, arguments.folder) as store:
            (memory if arguments.what == "memory" else parked)(arguments, store, note)
