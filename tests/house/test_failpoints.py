"""Fail points: the table in the code, the table in the documentation and the places in the sources are the same list,
and the program that is shipped has none of them."""
import os
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("ERRAND", str(ROOT / "build/release/errand")))


def names_in_code():
    return re.findall(r'string_view\{"([\w.]+)"\}', (ROOT / "src/core/failpoint.hpp").read_text())


def test_every_fail_point_is_documented_and_every_documented_one_exists():
    documented = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", (ROOT / "docs/failpoints.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(names_in_code())


def test_every_fail_point_has_its_place_in_the_code():
    placed = set()
    for path in (ROOT / "src").rglob("*.cpp"):
        placed |= set(re.findall(r'ERRAND_FAILPOINT(?:_IF|_DURING)?\((?:[^"]*, )?"([\w.]+)"\)', path.read_text()))
    assert placed == set(names_in_code())


def test_every_fail_point_is_run_by_the_scenarios():
    # reload.parse belongs to the command line, whose tests are tests/e2e.
    scenarios = "".join((ROOT / name).read_text() for name in ("tests/chaos/scenarios_test.cpp", "tests/e2e/test_failpoints.py"))
    missing = [name for name in names_in_code() if f'"{name}' not in scenarios]
    assert missing == []


def test_the_program_contains_no_fail_point():
    cache = (PROGRAM.parent / "CMakeCache.txt").read_text()
    if "ERRAND_FAILPOINTS:BOOL=ON" in cache:
        pytest.skip("this build has them on purpose")
    content = PROGRAM.read_bytes()
    found = [name for name in [*names_in_code(), "ERRAND_FAILPOINT"] if name.encode() in content]
    assert found == []
