"""Whole screens of the program, compared with files. ERRAND_UPDATE_GOLDEN=1 writes them anew; read the diff."""
import os
import pathlib
import re
import shlex

import pytest

GOLDEN = pathlib.Path(__file__).resolve().parent / "screens"
TASKS = """
[tasks."words.count"]
command = ["./count.sh"]
parameters = ["path", { name = "least", type = "integer", default = 1 }]
retry = "exp(1s, 10min) x5 jitter"
description = "counts words"

[tasks."words.fail"]
command = ["./fail.sh"]
queue = "slow"
"""
SCENES = {
    "help": ["--help", "help dead list", "send --help"],
    "wrong-use": ["", "wrok", "send", "send a b c", "send a --wiat", "send a -q", "dead", "purge celery", "status x",
                  "send words.count '[1]'", "send words.count '[\"x\", \"y\"]'", "send words.count '[\"x\"]' --kwargs '{\"lest\": 2}'",
                  "send a '{bad'", "send a --countdown soon", "send a --priority 12", "completion fish",
                  "result x --timeout 3s", "revoke", "dead drop celery"],
    "configuration": ["worker -b redsi://x", "worker --config misspelt.toml", "worker --config .", "worker --config none.toml",
                      "worker -Q 'a,\tb'", "send a --config misspelt.toml", "queues -b sqlite:///no/such/folder.db"],
    "nothing-yet": ["status --timeout 50ms", "queues", "dead list", "tasks", "config --diff", "result nobody",
                    "dead show celery 1", "dead requeue celery 1"],
    "a-life": ["send words.count '[\"poem.txt\"]' --id one", "send words.fail '[]' --id two",
               "send words.gone '[5]' --id three --queue slow", "send words.count '[\"poem.txt\"]' --id later --countdown 1h",
               "queues", "result one", "worker -Q celery,slow --stop-after 3 -l critical",
               "queues", "result one", "result two", "result one --wait", "dead list", "dead show slow 1",
               "result one --json", "dead requeue slow 1", "dead requeue slow 1", "queues",
               "purge celery", "purge celery --force", "purge slow --force --json", "result one --forget", "result one"],
}


def stable(text):
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "<time>", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", "<time>", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>", text)
    text = re.sub(r"\bgen\d+@[\w.-]+", "<origin>", text)
    text = re.sub(r"celery@[\w.-]+", "<node>", text)
    text = re.sub(r"\b(after|in) \d+\.\d+s\b", r"\1 <duration>", text)
    text = re.sub(r"^(bytes +)\d+$", r"\1<size>", text, flags=re.M)  # times of other lengths
    text = re.sub(r" {2,}\d+(\.\d+)?(ms|s)$", "  <age>", text, flags=re.M)
    text = re.sub(r"\(uid \d+\)", "(uid <uid>)", text)
    # Tasks that run beside each other end in any order.
    return re.sub(r"(^<time> .*\n)+", lambda lines: "".join(sorted(lines[0].splitlines(keepends=True))), text, flags=re.M)


@pytest.mark.parametrize("scene", SCENES)
def test_a_screen_is_as_it_was_read_and_approved(errand, scene):
    (errand.folder / "errand.toml").write_text(TASKS)
    (errand.folder / "misspelt.toml").write_text('broker_url = "sqlite:///x.db"\nworker_concurency = 4\n[tasks."a"]\ncomand = 1\n')
    (errand.folder / "poem.txt").write_text("two words\n")
    for name, body in {"count.sh": "echo '{\"words\": 2}'", "fail.sh": "echo 'no disk left' >&2; exit 3"}.items():
        (errand.folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (errand.folder / name).chmod(0o755)
    shown = ""
    for line in SCENES[scene]:
        done = errand(*shlex.split(line), env={"COLUMNS": "100", "LC_ALL": "C.UTF-8"})
        shown += f"$ errand {line}\n{done.stdout}{done.stderr}[exit {done.returncode}]\n\n"
    shown = stable(shown)
    path = GOLDEN / f"{scene}.txt"
    if os.environ.get("ERRAND_UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(shown)
    assert shown == path.read_text()
