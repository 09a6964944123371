"""The real program on real stores, as a user runs it. Shared with tests/interop: the same helpers."""
import importlib.util
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("interop_support", HERE.parent / "interop" / "conftest.py")
support = importlib.util.module_from_spec(_spec)
sys.modules["interop_support"] = support
_spec.loader.exec_module(support)

redis_server = support.redis_server


@pytest.fixture(params=["sqlite", "redis"])
def store(request, tmp_path):
    """A broker URL of each kind that has nothing in it yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/errand.db"
    port = request.getfixturevalue("redis_server")
    import redis

    database = abs(hash(request.node.nodeid)) % 15 + 1
    redis.Redis(port=port, db=database).flushdb()
    return f"redis://127.0.0.1:{port}/{database}"


@pytest.fixture
def native(store, tmp_path):
    one = support.Native(store, tmp_path)
    yield one
    one.stop()


@pytest.fixture
def errand(tmp_path):
    """The plain `errand` program in an empty directory."""

    def run(*arguments, timeout=30, env=None, stdin=None):
        import subprocess

        return subprocess.run([support.program("errand"), *arguments], capture_output=True, text=True, timeout=timeout,
                              cwd=tmp_path, env={**os.environ, **(env or {})}, input=stdin)

    run.folder = tmp_path
    return run
