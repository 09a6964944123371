"""Plants each bug of tests/sim/bugs in the product and requires that the simulator finds it.

A simulator that finds nothing may also look at nothing. Each file is one mistake that somebody could make: its first
line says which. The changed sources are compiled anew with the flags of the build (nothing else is), linked with the
rest of it, and `errand-sim` has to name a broken promise within SEEDS seeds.

  tools/planted_bugs.py --build build/release               all of them
  tools/planted_bugs.py --build build/release no_jitter     some

Prints one line each, then `N/N found`; exits 1 when one was not. A bug that no longer applies is a failure as well:
whoever changes the code it is planted in writes it anew.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
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
    # Objects that do not fit the headers would break in ways of their own.
    subprocess.run(["ninja", "-C", str(build), "tests/errand-sim"], check=True, stdout=subprocess.DEVNULL)
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
    words = shlex.split(command)
    words = words[next(i for i, word in enumerate(words) if re.search(r"(g\+\+|clang\+\+|c\+\+)[-\d.]*$", word)):]
    words = words[: words.index("&&")] if "&&" in words else words
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in ("-MF", "-MT", "-o", "-c"):
            skip = True
        elif word != "-MD":
            kept.append(word)
    return kept


class Broken(Exception):
    """What keeps a bug from being planted."""


class Bug:
    """First line: what goes wrong. Second: "Caught by" and the promises that it breaks, and the seed that is tried
    before the others when the bug is a rare one ("Caught by I5, say in seed 4711."). Then for each file, after "--- FILE",
    blocks of lines that begin with - and stand exactly once in it, whatever the white space between their
    words, each followed by the lines with + that take their place."""

    def __init__(self, path):
        self.path, self.name = path, path.stem
        lines = path.read_text().splitlines()
        self.why = lines[0]
        self.caught_by = re.findall(r"[IF]\d+", lines[1])
        self.rare = re.findall(r"seed (\d+)", lines[1])
        self.changes = []  # (file, old words, new text)
        file, old, new = None, [], []
        for line in [*lines[2:], ""]:
            if line.startswith("--- "):
                file = line[4:]
            elif line.startswith("-"):
                old.append(line[1:])
            elif line.startswith("+"):
                new.append(line[1:])
            elif old:
                self.changes.append((file, " ".join(old).split(), "\n".join(new)))
                old, new = [], []
        if not self.caught_by or not self.changes or any(file is None for file, _, _ in self.changes):
            sys.exit(f"planted_bugs: {path} is not written as a bug is")

    def planted(self):
        """The changed sources by name; throws Broken when the code is no longer what the bug was written for."""
        sources = {}
        for file, words, new in self.changes:
            path = ROOT / file
            text = sources.get(file) or (path.read_text() if path.is_file() else "")
            found = list(re.finditer(r"\s+".join(re.escape(word) for word in words), text))
            if len(found) != 1:
                raise Broken(f"it no longer applies: {file} has {len(found)} times: {' '.join(words)}")
            sources[file] = text[: found[0].start()] + new + text[found[0].end() :]
        return sources


def run(command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False, **kwargs)


def hunt(bug, build, compiles, link, seeds):
    """Returns what to say of the seed that found it, or throws Broken."""
    sources = bug.planted()
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        folder = pathlib.Path(folder)
        objects = []
        for name, text in sources.items():
            command = compiles.get(str((ROOT / name).resolve()))
            if command is None:
                raise Broken(f"{name} is not part of the simulator")
            source = folder / name.replace("/", "_")
            source.write_text(text)
            out = source.with_suffix(".o")
            done = run([*plain(command), "-I" + str(ROOT / pathlib.Path(name).parent), "-O1", "-g0", "-w", "-c",
                        str(source), "-o", str(out)], cwd=build)
            if done.returncode != 0:
                raise Broken("it does not compile:\n" + done.stderr[-2000:])
            objects.append(str(out))
        # Before the libraries, so that their own object of the same name is not taken.
        program = folder / "errand-sim"
        words = [*plain(link), "-o", str(program)]
        at = next(i for i, word in enumerate(words) if word.endswith(".a"))
        done = run([*words[:at], *objects, *words[at:]], cwd=build)
        if done.returncode != 0:
            raise Broken("it does not link:\n" + done.stderr[-2000:])
        begin = time.monotonic()
        found = None
        for first, last in [(seed, seed) for seed in bug.rare] + [(1, seeds)]:
            try:
                done = run([str(program), "--seeds", f"{first}..{last}", "--stop-at-first"])
            except subprocess.TimeoutExpired as late:
                raise Broken(f"no seed of {seeds} found it within {LIMIT} s") from late
            found = re.search(r"^FAILED seed (\d+): ((\w+).*)", done.stdout, re.MULTILINE)
            if found:
                break
        if not found:
            raise Broken(f"no seed of {seeds} found it")
        took = time.monotonic() - begin
        other = "" if found.group(3) in bug.caught_by else f" (expected {' or '.join(bug.caught_by)})"
        return f"seed {found.group(1)} in {took:.1f} s: {found.group(2)[:90]}{other}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="BUG")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    bugs = [Bug(path) for path in sorted(BUGS.glob("*.bug"))]
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
            try:
                print(f"found  {bug.name}: {bug.why}\n       {done.result()}", flush=True)
                found += 1
            except Broken as why:
                print(f"MISSED {bug.name}: {bug.why}\n       {why}", flush=True)
    print(f"{found}/{len(bugs)} found in {time.monotonic() - begin:.0f} s")
    return 0 if bugs and found == len(bugs) else 1


if __name__ == "__main__":
    sys.exit(main())
