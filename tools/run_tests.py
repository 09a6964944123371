"""Runs every test level against one build folder and counts.

The last line is `N passed, N failed` (`, N skipped` when there were any): one number over doctest cases,
pytest cases and the checks of tools/tidy.py. The exit code is 0 only when nothing failed. Detailed output of
what failed goes to the screen, everything goes to BUILD/test-results/.

  ./dev test                      every level
  ./dev test unit install         some levels
  ./dev test unit -- -R unit.core more arguments for the level's own runner (ctest or pytest)
"""
import argparse
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"  # Debian's, which sees Debian's Celery
# Level -> folder below tests/ (None: ctest programs; "tidy": the checks of tools/tidy.py).
LEVELS = {
    "unit": None,
    "house": "house",
    "install": "install",
    "interop": "interop",
    "e2e": "e2e",
    "bench": "bench",
    "tidy": "tidy",
    "sanitized": None,  # a slice of ./dev sanitize, in a build folder of its own
}
# What that slice is: unit tests, conformance tables, the seeds of the fuzz targets.
SANITIZED = ["-R", r"^(unit\.|conformance|fuzz\.)"]
# A level that hangs is a failure, not a hung CI run. Seconds.
LEVEL_LIMIT = 2700
PROGRAM_LIMIT = 600
DOCTEST_SUMMARY = re.compile(r"\[doctest\] test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed \|")
# How a doctest case says that a server is missing; see tests/support.
DOCTEST_SKIPPED = re.compile(r"^\[skipped\]", re.MULTILINE)


class Count:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


def run(command, log, limit, show=True, **kwargs):
    """Runs with output to the screen and to a file. Returns (exit code, output); 124 after the limit, also when
    nothing was printed for hours: the limit ends the command and whatever it started."""
    with open(log, "w", encoding="utf-8", errors="replace") as sink:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, errors="replace", start_new_session=True, **kwargs)
        late = threading.Event()

        def end():
            late.set()
            with contextlib.suppress(ProcessLookupError):  # it ended in this moment
                os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit, end)
        timer.start()
        lines = []
        try:
            for line in process.stdout:
                sink.write(line)
                lines.append(line)
                if show:
                    sys.stdout.write(line)
                    sys.stdout.flush()
            code = process.wait()
        except BaseException:  # Ctrl-C reaches only us: the command is a group of its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            timer.cancel()
        if late.is_set():
            code = 124
            lines.append(f"stopped after {limit} s\n")
            print(lines[-1], end="", flush=True)
    return code, "".join(lines)


def run_programs(build, results, jobs, environment, extra):
    """CTest programs. A program that dies before its summary is one failure."""
    junit = results / "ctest.xml"
    junit.unlink(missing_ok=True)
    code, _ = run(["ctest", "--test-dir", str(build), "--parallel", str(jobs), "--output-junit", str(junit),
                   "--output-on-failure", "--timeout", str(PROGRAM_LIMIT),
                   "--test-output-size-passed", "10000000", "--test-output-size-failed", "10000000", *extra],
                  results / "ctest.log", LEVEL_LIMIT, env=environment)
    count = Count()
    if not junit.exists():
        print("ctest left no report")
        return Count(failed=1)
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        output = case.findtext("system-out") or ""
        summaries = DOCTEST_SUMMARY.findall(output)
        skipped = len(DOCTEST_SKIPPED.findall(output))
        failed_here = case.get("status") not in ("run", "disabled", "notrun") or case.find("failure") is not None
        if summaries:
            passed = sum(int(found[0]) for found in summaries)
            failed = sum(int(found[1]) for found in summaries)
            skipped = min(skipped, passed)
            # Exit code and summary must agree: a crash after the summary is a failure too.
            count.add(Count(passed - skipped, max(failed, 1) if failed_here else failed, skipped))
        elif case.find("skipped") is not None or case.get("status") == "notrun":
            # A program that was not built is a failure. CTest calls it "not run", as one that is disabled, or that has
            # itself said with its exit code that it cannot run here.
            reason = "" if case.find("skipped") is None else case.find("skipped").get("message", "")
            skipped_itself = case.get("status") == "disabled" or "SKIP_RETURN_CODE" in reason
            count.add(Count(skipped=1) if skipped_itself else Count(failed=1))
        else:
            count.add(Count(failed=1) if failed_here else Count(passed=1))
    if code != 0 and count.failed == 0:
        count.add(Count(failed=1))
    return count


def run_pytest(level, folder, results, environment, extra):
    junit = results / f"{level}.xml"
    junit.unlink(missing_ok=True)
    code, _ = run([PYTHON, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", f"--junitxml={junit}", str(folder), *extra],
                  results / f"{level}.log", LEVEL_LIMIT, env=environment, cwd=ROOT)
    if code == 5:  # nothing collected
        return Count()
    if not junit.exists():
        return Count(failed=1)
    count = Count()
    for suite in ElementTree.parse(junit).getroot().iter("testsuite"):
        total, bad = int(suite.get("tests")), int(suite.get("failures")) + int(suite.get("errors"))
        skipped = int(suite.get("skipped"))
        count.add(Count(total - bad - skipped, bad, skipped))
    if code != 0 and count.failed == 0:
        count.add(Count(failed=1))
    return count


def run_tidy(results):
    count = Count()
    for check in ("edges", "text", "headers", "format"):
        code, _ = run([PYTHON, "tools/tidy.py", "--only", check], results / f"tidy-{check}.log", 600, cwd=ROOT)
        count.add(Count(passed=1) if code == 0 else Count(failed=1))
    return count


def sanitizers(build):
    """What the build folder was compiled with: 'address,undefined', 'thread' or ''."""
    cache = build / "CMakeCache.txt"
    found = re.search(r"^ERRAND_SANITIZE:\w+=(.*)$", cache.read_text(), re.MULTILINE) if cache.exists() else None
    return found.group(1) if found else ""


def sanitizer_environment(reports):
    """Reports go to files: the one of a child process whose output nobody reads is found as well. Signals are left to
    the program, whose tasks crash on purpose and whose own handlers write down why. A task of a test may ask for more
    memory than there is: it gets a null pointer, as without a sanitizer."""
    reports.mkdir(parents=True, exist_ok=True)
    for old in reports.iterdir():
        old.unlink()
    common = f"log_path={reports}/report:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0"
    return {"ASAN_OPTIONS": f"{common}:detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1",
            "UBSAN_OPTIONS": f"{common}:print_stacktrace=1",
            "TSAN_OPTIONS": f"{common}:suppressions={ROOT}/tests/support/tsan.supp:halt_on_error=0:second_deadlock_stack=1:die_after_fork=0",
            "LSAN_OPTIONS": "print_suppressions=0"}


# What AddressSanitizer says of every program that has fibers. The simulator tells it of each switch.
NO_REPORT = "ASan doesn't fully support makecontext/swapcontext functions"


def sanitizer_reports(reports):
    """Each report is a failure. Prints the first lines of each, and where the rest is."""
    found = sorted(path for path in reports.iterdir()
                   if any(line.strip() and NO_REPORT not in line for line in path.read_text(errors="replace").splitlines()))
    for path in found:
        text = path.read_text(errors="replace").splitlines()
        print("\n".join(text[:40]), f"\n... {path}" if len(text) > 40 else "")
    return Count(failed=len(found)) if found else Count(passed=1)


def run_sanitized(build, jobs, environment):
    results = build / "test-results"
    reports = results / "sanitizer"
    settings = dict(environment, ERRAND_SANITIZE=sanitizers(build), **sanitizer_environment(reports))
    count = run_programs(build, results, jobs, settings, SANITIZED)
    count.add(sanitizer_reports(reports))
    return count


def main():
    parser = argparse.ArgumentParser(prog="./dev test", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("levels", nargs="*", metavar="LEVEL", help=", ".join(LEVELS))
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--sanitized", type=pathlib.Path, help="build folder of the level 'sanitized'; without it, none is run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true", help="print the levels")
    arguments = sys.argv[1:]
    extra = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, extra = arguments[:at], arguments[at + 1:]
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(LEVELS))
        return 0
    unknown = [level for level in options.levels if level not in LEVELS]
    if unknown:
        parser.error(f"no level named {unknown[0]}; expected one of {', '.join(LEVELS)}")
    build = options.build.resolve()
    results = build / "test-results"
    results.mkdir(parents=True, exist_ok=True)
    # Tests find the program by ERRAND; PATH comes second so that no installed one is tested by mistake.
    environment = dict(os.environ, ERRAND=str(build / "errand"), ERRAND_PROGRAM=str(build / "errand"),
                       ERRAND_BUILD_DIR=str(build),
                       PATH=f"{build}{os.pathsep}{os.environ['PATH']}", PYTHONDONTWRITEBYTECODE="1")
    reports = results / "sanitizer"
    levels = {level: folder for level, folder in LEVELS.items() if level != "sanitized" or options.sanitized}
    if sanitizers(build):
        environment.update(sanitizer_environment(reports), ERRAND_SANITIZE=sanitizers(build))
    total = Count()
    lines = []
    for level, folder in levels.items():
        if options.levels and level not in options.levels:
            continue
        begin = time.monotonic()
        print(f"\n-- {level}", flush=True)
        if level == "unit":
            count = run_programs(build, results, options.jobs, environment, extra)
        elif level == "tidy":
            count = run_tidy(results)
        elif level == "sanitized":
            count = run_sanitized(options.sanitized.resolve(), options.jobs, environment)
        elif (ROOT / "tests" / folder).is_dir():
            count = run_pytest(level, ROOT / "tests" / folder, results, environment, extra)
        else:
            continue
        lines.append(f"{level:8} {count} ({time.monotonic() - begin:.0f} s)")
        total.add(count)
    if sanitizers(build):
        count = sanitizer_reports(reports)
        lines.append(f"{'reports':8} {count.failed or 'no'} of {sanitizers(build)}")
        total.add(count)
    print("\n" + "\n".join(lines))
    if total.passed + total.failed == 0:
        print("no test was run")
        total.failed += 1
    print(total, flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
