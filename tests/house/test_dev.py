"""./dev answers without doing anything big: help, mistakes, any folder; and the files a project owes its users."""
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def dev(*arguments, cwd=ROOT):
    return subprocess.run([str(ROOT / "dev"), *arguments], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["setup", "build", "demo", "test", "sanitize", "check", "bench", "format"])
def test_help_names_every_command(command):
    done = dev("help")
    assert done.returncode == 0
    assert re.search(rf"^  {command}\b", done.stdout, re.MULTILINE)


def test_an_unknown_command_is_used_wrongly():
    done = dev("biuld")
    assert done.returncode == 2
    assert "unknown command 'biuld'" in done.stderr and "usage:" in done.stderr


def test_setup_has_nothing_to_do_where_everything_is_installed(tmp_path):
    # From another folder, and without calling apt: the tests run because the packages are here.
    done = dev("setup", "build", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "installing" not in done.stdout


def test_a_level_that_does_not_exist_is_named():
    done = subprocess.run(["/usr/bin/python3", "tools/run_tests.py", "uint"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no level named uint" in done.stderr


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "LICENSE", "docs/internals.md"])
def test_the_file_is_there_and_says_something(name):
    assert len((ROOT / name).read_text()) > 500


def test_the_security_policy_names_its_deadlines():
    # S52: acknowledge in 48 hours, triage in 7 days, fix in 14 days.
    policy = (ROOT / "SECURITY.md").read_text()
    for deadline in ("48 hours", "7 days", "14 days"):
        assert deadline in policy


def documents():
    return sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_files_and_links_that_exist(path):
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        assert (path.parent / target).exists(), f"{path.name} links {target}"
    for name in re.findall(r"`((?:src|include|tests|tools|cmake|examples|apps|docs|bench|packaging)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), f"{path.name} names {name}"
