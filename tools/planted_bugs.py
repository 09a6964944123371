"""Plants each bug of tests/sim/bugs in the product and requires that the simulator finds it.

A simulator that finds nothing may also look at nothing. Each patch is one mistake that somebody could make: its first
line says which. For each, the changed sources are compiled anew with the flags of the build (nothing else is), linked
with the rest of it, and `errand-sim` has to name a broken promise within SEEDS seeds.

  tools/planted_bugs.py --build build/release               all of them
  tools/planted_bugs.py --build build/release no_jitter     some

Prints one line each, then `N of N found`; exits 1 when one was not. A patch that no longer applies is a failure as
well: whoever changes the code it plants a bug in writes it anew.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUGS = ROOT / "tests/sim/bugs"
SEEDS = 2_000
LIMIT = 240  # seconds, of one step of one bug


def commands_of(build):
    """The commands with which the build compiles the product's sources and links the simulator."""
    text = subprocess.run(["ninja", "-C", str(build), "-t", "commands", "tests/errand-sim"], capture_output=True,
                          text=True, check=True).stdout.splitlines()
    compiles, link = {}, None
    for line in text:
        found = re.search(r" -c (\S+\.cpp)\b", line)
        if found:
            compiles[str(pathlib.Path(found.group(1)).resolve())] = line
        elif "-o tests/errand-sim " in line:
            link = line
    if link is None:
        sys.exit("planted_bugs: the build has no simulator; build the target errand_sim first")
    return compiles, link


def plain(command):
    """The compiler's own words: no launcher, no dependency file, no output."""
    words = shlex.split(command.split("&&")[0])
    words = words[next(i for i, word in enumerate(words) if re.search(r"(g\+\+|clang\+\+|c\+\+)[-\d.]*$", word)):]
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in ("-MF", "-MT", "-o", "-c"):
            skip = True
        elif word != "-MD":
            kept.append(word)
    return kept


class Bug:
    def __init__(self, patch):
        self.patch, self.name = patch, patch.stem
        self.why = patch.read_text().splitlines()[0]
        self.files = re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(), re.MULTILINE)


def run(command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False, **kwargs)


def hunt(bug, build, compiles, link, seeds):
    """Returns (found, what to say)."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        folder = pathlib.Path(folder)
        # The changed files alone, in a tree of their own that is looked into first.
        for name in bug.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        applied = run(["patch", "-p1", "--fuzz=2", "--no-backup-if-mismatch", "-i", str(bug.patch)], cwd=folder)
        if applied.returncode != 0:
            return False, "the patch no longer applies: " + applied.stdout.strip().replace("\n", " ")
        objects = []
        for name in bug.files:
            command = compiles.get(str((ROOT / name).resolve()))
            if command is None:
                return False, f"{name} is not part of the simulator"
            out = folder / (name.replace("/", "_") + ".o")
            done = run([*plain(command), "-I" + str(ROOT / pathlib.Path(name).parent), "-O1", "-g0", "-Wno-error", "-w", "-c",
                        str(folder / name), "-o", str(out)], cwd=build)
            if done.returncode != 0:
                return False, "it does not compile:\n" + done.stderr[-2000:]
            objects.append(str(out))
        # Before the libraries, so that their own object of the same name is not taken.
        program = folder / "errand-sim"
        words = plain(link)
        words += ["-o", str(program)]
        at = next(i for i, word in enumerate(words) if word.endswith(".a"))
        done = run([*words[:at], *objects, *words[at:]], cwd=build)
        if done.returncode != 0:
            return False, "it does not link:\n" + done.stderr[-2000:]
        begin = time.monotonic()
        try:
            done = run([str(program), "--seeds", f"1..{seeds}", "--stop-at-first"])
        except subprocess.TimeoutExpired:
            return False, f"no seed of {seeds} found it within {LIMIT} s"
        found = re.search(r"^FAILED seed (\d+): (.*)", done.stdout, re.MULTILINE)
        if not found:
            return False, f"no seed of {seeds} found it"
        return True, f"seed {found.group(1)} in {time.monotonic() - begin:.1f} s: {found.group(2)[:100]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="BUG")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    bugs = [Bug(patch) for patch in sorted(BUGS.glob("*.patch"))]
    if options.names:
        bugs = [bug for bug in bugs if bug.name in options.names]
    build = options.build.resolve()
    compiles, link = commands_of(build)
    found = 0
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        hunts = {pool.submit(hunt, bug, build, compiles, link, options.seeds): bug for bug in bugs}
        for done in concurrent.futures.as_completed(hunts):
            bug = hunts[done]
            well, text = done.result()
            found += well
            print(f"{'found' if well else 'MISSED'} {bug.name} ({bug.why}): {text}", flush=True)
    print(f"{found} of {len(bugs)} found in {time.monotonic() - begin:.0f} s")
    return 0 if bugs and found == len(bugs) else 1


if __name__ == "__main__":
    sys.exit(main())
