"""How fast a whole worker is, beside a raw client of the same store and beside the packaged Celery, in one run.

  ./dev bench                          three rounds of everything, then the report
  ./dev bench --quick                  one short round, to see that it works
  ./dev bench --write                  the report also becomes docs/benchmarks.md and docs/benchmarks.svg
  ./dev bench --into runs.json --rounds 1 --store redis     adds a round to what the file holds
  ./dev bench --report runs.json --write                    only the report
  ./dev bench memory | parked          resident memory over a million tasks; a million parked tasks (endurance.py);
                                       with --into they become part of the report

No-op tasks with stored results. prefilled: the queue is full before the worker comes. steady: a producer in another
process sends while the worker runs. raw: bench/raw.hpp, same fetch, results and acknowledgements, in batches of
--batch. celery: Debian's, prefork, as many processes, result backend on, fewer tasks. For SQLite there is no equal: the
nearest is kombu's experimental SQLAlchemy transport, which looks for messages once a second; it is not measured.

The contestants take turns in every round, and medians over the rounds count, so that what else the machine does
meets all of them alike.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

import contestants
import endurance
import report

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHAPES = ("prefilled", "steady")
POOLS = ("prefork", "threads")


def version_of(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()
    except OSError:
        return "missing"


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                if line.startswith("model name")), platform.machine())
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "kernel": platform.release().split("-")[0],
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "?"),
        "compiler": (version_of(["g++", "--version"]).splitlines() or ["?"])[0],
        "celery": version_of([contestants.PYTHON, "-c", "import celery, kombu; print(celery.__version__, kombu.__version__)"]),
        "commit": version_of(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]),
    }


def one_round(arguments, add):
    """Everybody once, in turn."""
    for name in arguments.store:
        with contestants.open_store(name, arguments.folder) as store:
            add.version(name, store.version)
            for shape in SHAPES:
                def note(who, tasks, rate):
                    add.rate(name, shape, who, tasks, rate)

                tasks, build = arguments.tasks, arguments.build
                note("raw", tasks, contestants.raw(build, store, shape, tasks, arguments.batch))
                for pool in POOLS:
                    note(f"errand {pool}", tasks,
                         contestants.errand(build, store, shape, tasks, pool, arguments.concurrency))
                if name == "redis" and arguments.celery_tasks > 0:
                    note("celery prefork", arguments.celery_tasks,
                         contestants.celery(store, shape, arguments.celery_tasks, arguments.concurrency))
            found = contestants.one_line(contestants.worker_command(
                build, "latency", store.fresh(), arguments.latency_tasks, "prefork", arguments.concurrency))
            add.latency(name, found)


class Runs:
    """What was measured, kept in a file after every number."""

    def __init__(self, path):
        self._path = path
        self.data = {"rates": [], "latencies": [], "versions": {}}
        if path is not None and path.exists():
            self.data = json.loads(path.read_text(encoding="utf-8"))

    def _save(self):
        if self._path is not None:
            self._path.write_text(json.dumps(self.data, indent=1), encoding="utf-8")

    def version(self, store, text):
        self.data["versions"][store] = text

    def rate(self, store, shape, who, tasks, rate):
        print(f"{store:7} {shape:10} {who:16} {rate:10.0f} per second", flush=True)
        self.data["rates"].append({"store": store, "shape": shape, "who": who, "tasks": tasks, "rate": rate})
        self._save()

    def latency(self, store, found):
        print(f"{store:7} idle       start p50 {found['start_p50_us']} us, result p50 {found['result_p50_us']} us", flush=True)
        self.data["latencies"].append({"store": store, **found})
        self._save()

    def note(self, kind, found):
        """Endurance: the last run of a store and size counts."""
        self.data[kind] = [one for one in self.data.get(kind, []) if one["store"] != found["store"]] + [found]
        self._save()

    def describe(self, arguments):
        self.data["machine"] = machine()
        self.data["date"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        self.data["batch"], self.data["concurrency"] = arguments.batch, arguments.concurrency
        self._save()


def parse():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["compare", "memory", "parked"], default="compare")
    parser.add_argument("--build", default=str(ROOT / "build" / "release"))
    parser.add_argument("--quick", action="store_true", help="one round with few tasks")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--celery-tasks", type=int)
    parser.add_argument("--latency-tasks", type=int)
    parser.add_argument("-c", "--concurrency", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128,
                        help="of the raw client (default: 128, as many short tasks as a worker hands to one process)")
    parser.add_argument("--store", action="append", choices=["redis", "sqlite"])
    parser.add_argument("--folder", help="where servers and files live, on a real disk (default: /var/tmp)")
    parser.add_argument("--into", type=pathlib.Path, help="file the numbers are added to")
    parser.add_argument("--report", type=pathlib.Path, help="measure nothing, report what this file holds")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and .svg")
    arguments = parser.parse_args()
    arguments.store = arguments.store or ["redis", "sqlite"]
    few = arguments.quick
    if few:
        arguments.rounds = 1
    if arguments.tasks is None:
        millions = arguments.what != "compare"
        arguments.tasks = (20_000 if few else 1_000_000) if millions else (2_000 if few else 100_000)
    if arguments.celery_tasks is None:
        arguments.celery_tasks = 300 if few else 10_000
    if arguments.latency_tasks is None:
        arguments.latency_tasks = 50 if few else 500
    return arguments


def main():
    arguments = parse()
    runs = Runs(arguments.report or arguments.into)
    if arguments.what != "compare":
        endurance.run(arguments, runs.note)
        return
    if arguments.report is None:
        for number in range(arguments.rounds):
            print(f"-- round {number + 1} of {arguments.rounds}", flush=True)
            one_round(arguments, runs)
        runs.describe(arguments)
    print(report.as_text(runs.data))
    if arguments.write:
        report.write(ROOT / "docs", runs.data)


if __name__ == "__main__":
    sys.exit(main())
