"""The README is true: its program is compiled against the installed library, and its commands run as they stand."""
import re
import subprocess

from conftest import BLOCK, ROOT, play

README = (ROOT / "README.md").read_text()


def blocks(language):
    """`cpp NAME` and `toml NAME` are files, `sh` runs, `sh skip=REASON` does not."""
    return [(rest.strip(), body) for kind, rest, body in BLOCK.findall(README) if kind == language]


def test_the_example_is_short_enough_to_read():
    (name, body), = blocks("cpp")
    code = [line for line in body.splitlines() if line.strip()]
    assert name == "thumbs.cpp"
    assert len(code) <= 24, f"{len(code)} lines"


def test_every_command_of_the_readme_runs(installed, compiler, tmp_path):
    for name, body in [*blocks("cpp"), *blocks("toml")]:
        (tmp_path / name).write_text(body)
    # `./dev` of a reader's clone; the build that is under test already.
    (tmp_path / "dev").symlink_to(ROOT / "dev")
    scripts = [body for rest, body in blocks("sh") if not rest.startswith("skip=")]
    assert scripts
    text = play("\n".join(scripts), tmp_path, installed.environment(), compiler)
    assert "cat.png at 200 pixels" in text
    assert "dog.png at 64 pixels" in text


def test_the_command_task_of_the_readme_runs(installed, tmp_path):
    for name, body in blocks("toml"):
        (tmp_path / name).write_text(body)
    environment = installed.environment()
    send = subprocess.run([installed.program, "send", "text.count", '["hello"]'], cwd=tmp_path, env=environment, capture_output=True,
                          text=True, check=False, timeout=60)
    assert send.returncode == 0, send.stderr
    worker = subprocess.run([installed.program, "worker", "--burst"], cwd=tmp_path, env=environment, capture_output=True, text=True,
                            check=False, timeout=60)
    assert worker.returncode == 0, worker.stderr
    result = subprocess.run([installed.program, "result", re.search(r"[0-9a-f-]{36}", send.stdout).group(0)], cwd=tmp_path,
                            env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    # wc counts the JSON it was given, so the answer is a number above that of the argument alone.
    assert int(re.search(r"\d+\s*$", result.stdout).group(0)) > len("hello")


