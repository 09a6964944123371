"""Installs the build under test into a folder of its own, as a package would be, and hands out its places."""
import os
import pathlib
import re
import signal
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ERRAND_BUILD_DIR", ROOT / "build/release"))
# ```language rest-of-line ... ```: what of a page is a file or a command, tests/install/test_*.py say.
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLAY_LIMIT = 300


class Installed:
    def __init__(self, prefix, libdir):
        self.prefix, self.libdir = prefix, libdir
        self.program = prefix / "bin/errand"

    def environment(self, **more):
        """What a user sets who installed into a folder of his own. Nothing of the source tree is in it."""
        return dict(os.environ, PATH=f"{self.prefix}/bin:/usr/bin:/bin", PKG_CONFIG_PATH=f"{self.prefix}/{self.libdir}/pkgconfig", **more)


def cached(name):
    found = re.search(rf"^{name}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE)
    return found.group(1) if found else ""


def run(*command, **kwargs):
    """Runs, and returns what went to standard output."""
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors="replace", check=False, **{"timeout": 300, **kwargs})
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def play(script, folder, environment, compiler):
    """Runs a reader's commands in his folder, with the compiler of the build under test; returns what they print."""
    program, flags = compiler
    script = re.sub(r"^g\+\+ ", f"{program} {' '.join(flags)} ", script, flags=re.MULTILINE)
    with open(folder / "output", "w+", encoding="utf-8") as output:
        process = subprocess.Popen(["bash", "-c", "set -euxo pipefail\n" + script], cwd=folder, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(timeout=PLAY_LIMIT)
        finally:
            # What the reader starts in the background ends with his session.
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        output.seek(0)
        printed = output.read()
    assert code == 0, printed
    return printed


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    # Below a DESTDIR first and moved then: no file may remember where it was installed to.
    stage = tmp_path_factory.mktemp("stage")
    run("cmake", "--install", BUILD, "--prefix", "/opt/errand", env=dict(os.environ, DESTDIR=str(stage)))
    prefix = tmp_path_factory.mktemp("installed") / "errand"
    (stage / "opt/errand").rename(prefix)
    return Installed(prefix, cached("CMAKE_INSTALL_LIBDIR") or "lib")


@pytest.fixture(scope="session")
def compiler():
    """The compiler of the build under test; flags too, so that a sanitizer build links."""
    sanitize = cached("ERRAND_SANITIZE")
    return cached("CMAKE_CXX_COMPILER"), [f"-fsanitize={sanitize}"] if sanitize else []
