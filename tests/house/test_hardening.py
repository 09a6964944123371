"""What is shipped is hardened (S45) and links only what tools/packages.txt names (S50)."""
import os
import pathlib
import platform
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("ERRAND", str(ROOT / "build/release/errand"))


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def cached(name):
    cache = (pathlib.Path(PROGRAM).parent / "CMakeCache.txt").read_text()
    found = re.search(rf"^{name}:\w+=(.*)$", cache, re.MULTILINE)
    return found.group(1) if found else ""


@pytest.fixture(scope="module", autouse=True)
def release_build():
    if cached("CMAKE_BUILD_TYPE") == "Debug" or cached("ERRAND_SANITIZE"):
        pytest.skip("hardening belongs to release builds")


def test_the_program_is_position_independent():
    assert "Type:                              DYN" in output("readelf", "-h", PROGRAM)


def test_relocations_are_read_only_and_bound_at_start():
    assert "GNU_RELRO" in output("readelf", "-lW", PROGRAM)
    assert re.search(r"BIND_NOW|FLAGS.*\bNOW\b", output("readelf", "-dW", PROGRAM))


def test_the_stack_is_not_executable():
    stack = next(line for line in output("readelf", "-lW", PROGRAM).splitlines() if "GNU_STACK" in line)
    assert " RW " in stack and "RWE" not in stack


def test_stack_protector_and_checked_library_calls_are_used():
    symbols = output("readelf", "-sW", "--dyn-syms", PROGRAM)
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__\w+_chk@", symbols.replace("__stack_chk_fail", "")), "no fortified call in the whole program"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="control-flow enforcement is an x86 feature")
def test_every_object_was_compiled_for_control_flow_enforcement():
    # The linker keeps the mark only if every object has it, and the start files of Debian's C library (crti.o) have not:
    # so the members of our library are asked, one by one.
    notes = output("readelf", "-nW", pathlib.Path(PROGRAM).parent / "src/liberrand.a")
    members = re.findall(r"^File: \S*\((.*)\)$(.*?)(?=^File: |\Z)", notes, re.MULTILINE | re.DOTALL)
    assert members
    assert [name for name, text in members if not re.search(r"x86 feature:.*IBT.*SHSTK", text)] == []


def test_library_assertions_are_on():
    commands = (pathlib.Path(PROGRAM).parent / "compile_commands.json").read_text()
    ours = [line for line in commands.splitlines() if '"command"' in line and "/src/" in line and "-c" in line]
    assert ours
    for line in ours:
        for flag in ("_GLIBCXX_ASSERTIONS", "_FORTIFY_SOURCE=3", "-fstack-clash-protection", "-ftrivial-auto-var-init=zero"):
            assert flag in line, f"{flag} is missing in: {line[:200]}"


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="asks Debian which package owns a library")
def test_every_linked_library_comes_from_a_listed_package():
    # The sources of the listed -dev packages, plus what every C++ program on Debian links.
    listed = [line.split()[1] for line in (ROOT / "tools/packages.txt").read_text().splitlines() if line.startswith("build ")]
    allowed = {source_of(package) for package in listed} | {"glibc", "gcc-12", "gcc-14", "gcc-13", "gcc-15"}
    needed = re.findall(r"\(NEEDED\).*\[(.*?)\]", output("readelf", "-dW", PROGRAM))
    assert needed
    paths = dict(re.findall(r"^\s*(\S+) => (/\S+)", output("ldd", PROGRAM), re.MULTILINE))
    for library in needed:
        if library.startswith("ld-linux"):
            continue
        assert owner(paths[library]) in allowed, f"{library} belongs to no package of tools/packages.txt"


def source_of(package):
    return output("dpkg-query", "-W", "-f=${source:Package}\\n", package).splitlines()[0]


def owner(path):
    # With merged /usr, dpkg may know the file by the other name.
    for candidate in (path, os.path.realpath(path), re.sub("^/usr", "", os.path.realpath(path)), "/usr" + path):
        done = subprocess.run(["dpkg-query", "-S", candidate], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return source_of(done.stdout.split(": ")[0].split(",")[0])
    raise AssertionError(f"no package owns {path}")
