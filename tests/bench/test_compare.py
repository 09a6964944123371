"""./dev bench at its smallest: who is measured has done all of the work, and the report says ratios. No speed is judged
here: what a busy machine of CI measures means nothing."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"  # Debian's, which sees Debian's Celery
TASKS, CELERY_TASKS = 500, 100
sys.path.insert(0, str(ROOT / "bench"))


def compare(*arguments):
    return subprocess.run([PYTHON, "bench/compare.py", *map(str, arguments)], cwd=ROOT, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    if shutil.which("redis-server") is None and os.environ.get("CI") != "true":
        pytest.skip("redis-server is not installed")
    folder = tmp_path_factory.mktemp("bench")
    done = compare("--quick", "--tasks", TASKS, "--celery-tasks", CELERY_TASKS, "--latency-tasks", 20, "--folder", folder,
                   "--build", os.environ["ERRAND_BUILD_DIR"], "--into", folder / "runs.json")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "runs.json", json.loads((folder / "runs.json").read_text()), done.stdout


def test_every_contestant_has_processed_all_its_tasks(measured):
    # A contestant that leaves a task, or a result, ends the run (contestants.finished); these are all of them.
    _, data, _ = measured
    found = {(one["store"], one["shape"], one["who"]): one["tasks"] for one in data["rates"]}
    everybody = {(store, shape, who): TASKS for store in ("redis", "sqlite") for shape in ("prefilled", "steady")
                 for who in ("raw", "errand prefork", "errand threads")}
    everybody.update({("redis", shape, "celery prefork"): CELERY_TASKS for shape in ("prefilled", "steady")})
    assert found == everybody
    assert all(one["rate"] > 0 for one in data["rates"])
    assert {one["store"] for one in data["latencies"]} == {"redis", "sqlite"}


def test_the_report_begins_with_the_ratios_and_can_be_made_again_from_the_file(measured):
    path, data, printed = measured
    import report

    page = report.as_markdown(data)
    assert page.index("## Ratios") < page.index("## Rates")
    again = compare("--report", path)
    assert again.returncode == 0, again.stderr
    for store, shape, who, of_raw, of_celery in report.ratio_rows(report.medians(data)):
        assert of_raw > 0 and (of_celery is None) == (store == "sqlite")
        assert f"| {report.TITLES[store]} | {shape} | {who.split()[1]} | {of_raw:.2f} |" in page
        line = f"{store:7} {shape:10} {who:16} {of_raw:8.2f}"
        assert line in printed and line in again.stdout
    assert report.as_svg(data).count("<rect") == 1 + len(report.medians(data))


def test_a_contestant_that_left_work_undone_is_no_number():
    import contestants

    class Store:
        name = "redis"

        def left(self):
            return 1

        def stored(self):
            return 9

    with pytest.raises(SystemExit, match="expected 10 results and nothing left, got 9 and 1"):
        contestants.finished(Store(), "raw", 10, 123.0)
