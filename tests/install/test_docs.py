"""The pages for newcomers are true: their files are built and their commands run as they stand."""
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

from conftest import BLOCK, ROOT, play


def play_page(page, folder, installed, compiler, replace=()):
    """Writes the page's files, runs its commands in order, returns what they print. `cpp NAME`, `cmake NAME`, `python
    NAME`, `toml NAME` are files; `sh` runs; `sh fails=N` ends with N."""
    text = (ROOT / "docs" / page).read_text()
    for old, new in replace:
        text = text.replace(old, new)
    program, flags = compiler
    script = ""
    for language, rest, body in BLOCK.findall(text):
        rest = rest.strip()
        if language == "sh":
            fails = re.fullmatch(r"fails=(\d+)", rest)
            script += f"code=0; (\n{body}) || code=$?; test $code = {fails.group(1)}\n" if fails else body
        elif rest:
            (folder / rest).write_text(body)
    environment = installed.environment(
        CXX=program, CXXFLAGS=" ".join(flags), PYTHONDONTWRITEBYTECODE="1",
        CMAKE_PREFIX_PATH=str(installed.prefix), ERRAND_LOG_LEVEL="warning")
    return play(script, folder, environment, compiler)


def test_the_page_for_cpp_is_true(installed, compiler, tmp_path):
    printed = play_page("start-cpp.md", tmp_path, installed, compiler)
    for line in ("total 749", "ann paid 749", "ValueError: that is too much for bob", '"eve paid 5"',
                 "shop.charge(customer: text, cents: integer = 100) -> text", "cents: expected integer, got text",
                 "UNKNOWN_TASK", "requeued 1 of 1"):
        assert line in printed, printed


def test_the_page_for_operations_is_true(installed, compiler, tmp_path):
    printed = play_page("operations.md", tmp_path, installed, compiler)
    for line in ('"built"', "revoked 1 task", '"reason": "UNKNOWN_TASK"', "dropped 1"):
        assert line in printed, printed


def test_the_page_about_signing_is_true(installed, compiler, tmp_path):
    printed = play_page("signing.md", tmp_path, installed, compiler)
    for line in ("true", "SIGNATURE_MISSING", "dropped 1"):
        assert line in printed, printed


@pytest.fixture
def redis_port(tmp_path):
    pytest.importorskip("celery")
    if shutil.which("redis-server") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is missing, and CI must have it")
        pytest.skip("redis-server is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
                              stdout=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True, check=False).returncode != 0:
        assert time.monotonic() < end, "redis-server does not answer"
    yield port
    server.terminate()
    server.wait(10)


def test_the_page_for_users_of_celery_is_true(installed, compiler, tmp_path, redis_port):
    printed = play_page("start-celery.md", tmp_path, installed, compiler,
                        [("redis://localhost/0", f"redis://127.0.0.1:{redis_port}/0"), ("python3 ", "/usr/bin/python3 ")])
    for line in ("cat.png at 64 pixels SUCCESS", "ValueError: no such width", "TypeError: ", "receipt for order 8",
                 "worker_prefetch_multiplier", "worker_max_tasks_per_child"):
        assert line in printed, printed


def test_every_page_is_found_from_the_index_and_every_link_leads_somewhere():
    index = (ROOT / "docs/README.md").read_text()
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    linked = set(re.findall(r"\]\(([^)#]+)\)", index))
    assert {page for page in pages if "/" not in page} - {"README.md"} <= linked
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)\)", prose):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
