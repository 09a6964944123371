"""Rules of the tree that a compiler does not check; `./dev check` and `./dev test tidy` run them.

  edges    a module includes only itself and the modules that src/CMakeLists.txt lets it use; no driver
           includes another driver; third-party headers stay in .cpp files of the folders named below;
           public headers include nothing but the standard library and each other
  text     #pragma once, no sleeping in tests, no coroutines, no paths of somebody's machine, file length
  headers  every public header compiles alone, without any dependency, warnings as errors
  format   clang-format-19 would change nothing

Prints `file:line: what is wrong; what to do` and exits 1 when there is anything.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SUFFIXES = (".hpp", ".cpp", ".ipp")
LENGTH_AIM, LENGTH_LIMIT = 400, 900

# Third-party header prefix -> folders that may include it, in .cpp files only ("": any .cpp of ours).
THIRD_PARTY = {
    "doctest/": ("tests/",),
    "toml++/": ("src/config/",),
    "toml.hpp": ("src/config/",),
    "openssl/": ("src/core/", "src/net/", "src/protocol/", "src/signing/", "src/testing/"),
    "hiredis/": ("bench/",),
    "sqlite3.h": ("src/wire/sqlite/", "bench/", "tests/conformance/"),
    "zlib.h": ("src/protocol/",),
    "bzlib.h": ("src/protocol/",),
    "lzma.h": ("src/protocol/",),
    "zstd.h": ("src/protocol/",),
    "zstd_errors.h": ("src/protocol/",),
    "brotli/": ("src/protocol/",),
}
# Headers of the C library and the kernel; everything with no dot and no slash is C++'s own.
SYSTEM = re.compile(
    r"^(sys|netinet|arpa|linux|net)/|^(unistd|fcntl|signal|poll|netdb|dlfcn|pthread|termios|errno|pwd|grp|spawn|sched|"
    r"time|dirent|stdio|stdlib|string|limits|syslog|execinfo|cxxabi|glob|fnmatch|getopt|endian|ucontext|langinfo|locale|elf|link|unwind)\.h$")
CXX_STANDARD = re.compile(r"^[a-z_]+$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')
SLEEP = re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep|time\.sleep|asyncio\.sleep)\s*\(|(?<![\w.])sleep\s*\(\d")
# A line that polls towards a deadline, or a task body under test whose work is to take time, says so.
SLEEP_ALLOWED = re.compile(r"(#|//).*\b(poll|polls|polling|work)\b")
COROUTINE = re.compile(r"\bco_(await|return|yield)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(work|root|home/[a-z]\w*|Users/\w+)/")


class Findings:
    def __init__(self):
        self.lines = []

    def add(self, path, line, text):
        self.lines.append(f"{path.relative_to(ROOT)}:{line}: {text}")


def tracked_files():
    """Every file of the tree that is ours: git's list, or a walk where there is no git (a tarball)."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                                capture_output=True, check=True).stdout.decode().split("\0")
        found = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        found = [pathlib.Path(folder) / name for folder, folders, names in os.walk(ROOT) for name in names
                 if not {"build", ".git", "demo-data"} & set(pathlib.Path(folder).relative_to(ROOT).parts)]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def modules():
    """Folder below src/ -> (module, every module it may use), read from the build itself."""
    text = re.sub(r"#.*", "", (ROOT / "src/CMakeLists.txt").read_text())
    folders, uses = {}, {}
    for name, body in re.findall(r"errand_module\(\s*(\w+)([^)]*)\)", text):
        words = body.split()
        section, folder, used = None, None, []
        for word in words:
            if word in ("DIR", "USES", "LIBS"):
                section = word
            elif section == "DIR":
                folder = word
            elif section == "USES":
                used.append(word)
        folders[folder] = name
        uses[name] = set(used)

    def closure(name, seen):
        for used in uses.get(name, ()):
            if used not in seen:
                seen.add(used)
                closure(used, seen)
        return seen

    return {folder: (name, closure(name, set())) for folder, name in folders.items()}


def module_of(path, folders):
    """The module folder a file below src/ belongs to, or None."""
    relative = path.relative_to(ROOT / "src").parent
    while str(relative) != ".":
        if str(relative) in folders:
            return str(relative)
        relative = relative.parent
    return None


def resolve(path, name):
    """The file of ours that an include names, or None."""
    for folder in (path.parent, ROOT / "src", ROOT / "include", ROOT / "tests"):
        if (folder / name).is_file():
            return (folder / name).resolve()
    return None


def check_edges(files, findings):
    folders = modules()
    source_root, public_root = ROOT / "src", ROOT / "include"
    for path in files:
        if path.suffix not in SUFFIXES:
            continue
        relative = str(path.relative_to(ROOT))
        public = path.is_relative_to(public_root)
        own = module_of(path, folders) if path.is_relative_to(source_root) else None
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            name = match.group(2)
            target = resolve(path, name)
            if target is not None:
                if public and not target.is_relative_to(public_root):
                    findings.add(path, number, f"public headers know nothing of src/, but this includes {name}")
                if own is not None and target.is_relative_to(source_root):
                    other = module_of(target, folders)
                    if other is None:
                        findings.add(path, number, f"{name} belongs to no module of src/CMakeLists.txt; add it there")
                    elif other != own and folders[other][0] not in folders[own][1]:
                        findings.add(path, number, f"{own} may not use {other} (src/CMakeLists.txt); turn the arrow or go through an interface")
                    elif other != own and is_driver(own) and is_driver(other):
                        findings.add(path, number, f"driver {own} includes driver {other}; share through protocol/ or wire/ instead")
                continue
            if CXX_STANDARD.match(name):
                continue
            if SYSTEM.search(name):
                if public:
                    findings.add(path, number, f"public headers use the C++ standard library only, not <{name}>")
                continue
            if name.endswith(".gen.hpp"):  # written by the build (cmake/embed_lua.cmake)
                continue
            rule = next((where for prefix, where in THIRD_PARTY.items() if name.startswith(prefix)), None)
            if rule is None:
                findings.add(path, number, f"unknown header {name}: missing file, or a new dependency that tools/tidy.py must name")
            elif path.suffix != ".cpp":
                findings.add(path, number, f"third-party header {name} in a header; put it into one .cpp behind an interface")
            elif not any(relative.startswith(where) for where in rule) and not relative.startswith(("tests/", "bench/")):
                findings.add(path, number, f"{name} is used in {' and '.join(rule)} only")


def is_driver(folder):
    return folder.startswith(("brokers/", "backends/"))


def check_text(files, findings):
    long_files = []
    for path in files:
        relative = str(path.relative_to(ROOT))
        if path.suffix in (".png", ".svg", ".db", ".gz") or relative == "tools/tidy.py":
            continue
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue  # golden bytes
        if path.suffix == ".hpp" and "#pragma once" not in lines:
            findings.add(path, 1, "no #pragma once")
        in_tests = relative.startswith("tests/")
        for number, line in enumerate(lines, 1):
            if in_tests and path.suffix in (".cpp", ".hpp", ".py", ".sh") and SLEEP.search(line) and not SLEEP_ALLOWED.search(line):
                findings.add(path, number, "a test that sleeps is slow or flaky; wait for a condition with a deadline "
                             "(a poll loop or a task that takes time on purpose says so: '// polls', '// work')")
            if path.suffix in SUFFIXES and COROUTINE.search(line.split("//")[0]):
                findings.add(path, number, "GCC 12 destroys captures of temporaries in co_await twice; use threads")
            if MACHINE_PATH.search(line) and not relative.startswith("LICENSE"):
                findings.add(path, number, "a path of one machine; use a relative path or a temporary folder")
        if path.suffix in SUFFIXES:
            if len(lines) > LENGTH_LIMIT:
                findings.add(path, LENGTH_LIMIT, f"{len(lines)} lines; split it (limit {LENGTH_LIMIT}, aim {LENGTH_AIM})")
            elif len(lines) > LENGTH_AIM:
                long_files.append(f"{relative} ({len(lines)})")
    if long_files:
        print(f"note: above {LENGTH_AIM} lines: {', '.join(long_files)}")


def check_headers(files, findings):
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++-19")
    headers = [path for path in files if path.is_relative_to(ROOT / "include") and path.suffix == ".hpp"]
    # The folder is copied to where nothing else can be found by accident.
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "include", pathlib.Path(folder) / "include")

        def compile_one(path):
            source = pathlib.Path(folder) / (path.stem + ".cpp")
            name = path.relative_to(ROOT / "include")
            source.write_text(f"#include <{name}>\n#include <{name}>\n")
            return path, subprocess.run([compiler, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                                         "-I", f"{folder}/include", str(source)], capture_output=True, text=True, check=False)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, done in pool.map(compile_one, headers):
                if done.returncode != 0:
                    findings.add(path, 1, "does not compile alone:\n" + done.stderr.replace(folder + "/", ""))


def check_format(files, findings):
    tool = shutil.which("clang-format-19")
    if tool is None:
        findings.add(ROOT / ".clang-format", 1, "clang-format-19 is missing; ./dev setup test")
        return
    sources = [str(path) for path in files if path.suffix in SUFFIXES]
    chunks = [sources[at:at + 40] for at in range(0, len(sources), 40)]

    def check_chunk(chunk):
        return subprocess.run([tool, "--dry-run", "--Werror", *chunk], capture_output=True, text=True, check=False).stderr

    wrong = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for output in pool.map(check_chunk, chunks):
            for path, line in re.findall(r"^(\S+?):(\d+):\d+: error", output, re.MULTILINE):
                wrong.setdefault(path, set()).add(int(line))
    for path, numbers in sorted(wrong.items()):
        findings.add(pathlib.Path(path), min(numbers), f"not formatted from here on, {len(numbers)} lines; ./dev format")


def changed_files(files):
    """What differs from main, for clang-tidy: all of it takes half an hour."""
    names = set()
    for command in (["git", "diff", "--name-only", "HEAD"], ["git", "diff", "--name-only", "main...HEAD"],
                    ["git", "diff", "--name-only", "origin/main...HEAD"]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        names.update(done.stdout.split() if done.returncode == 0 else [])
    return [path for path in files if str(path.relative_to(ROOT)) in names]


CHECKS = {"edges": check_edges, "text": check_text, "headers": check_headers, "format": check_format}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=CHECKS, action="append", help="run this check (default: edges and text)")
    parser.add_argument("--list", choices=("changed", "all"), help="print the .cpp files clang-tidy should read, and stop")
    options = parser.parse_args()
    files = tracked_files()
    if options.list:
        chosen = files if options.list == "all" else changed_files(files)
        print("\n".join(str(path) for path in chosen if path.suffix == ".cpp" and path.is_relative_to(ROOT / "src")))
        return 0
    findings = Findings()
    for name in options.only or ("edges", "text"):
        CHECKS[name](files, findings)
    for line in findings.lines:
        print(line)
    print(f"tidy: {', '.join(options.only or ('edges', 'text'))}: {len(findings.lines) or 'no'} finding{'s' if len(findings.lines) != 1 else ''}")
    return 1 if findings.lines else 0


if __name__ == "__main__":
    sys.exit(main())
