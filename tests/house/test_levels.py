"""What tools/run_tests.py promises of a level: it ends, and its output is kept."""
import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run_tests():
    spec = importlib.util.spec_from_file_location("run_tests", ROOT / "tools/run_tests.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_command_that_hangs_without_a_word_is_ended_with_all_it_started(tmp_path, capfd):
    # The inner one holds the pipe open: reading its output to the end would never end.
    command = ["sh", "-c", "echo begun; tail -f /dev/null & exec tail -f /dev/null"]
    code, output = run_tests().run(command, tmp_path / "log", limit=1)
    assert code == 124
    assert output == "begun\nstopped after 1 s\n"
    assert "stopped after 1 s" in capfd.readouterr().out
    assert (tmp_path / "log").read_text() == "begun\n"


def test_a_command_that_ends_by_itself_keeps_its_code_and_its_output(tmp_path):
    code, output = run_tests().run(["sh", "-c", "echo out; echo err >&2; exit 3"], tmp_path / "log", limit=60, show=False)
    assert (code, output) == (3, "out\nerr\n")
