"""Every type of a task's signature: called from Python by place and by name, and told as JSON Schema."""
import json

import pytest

from conftest import program

jsonschema = pytest.importorskip("jsonschema")

NAMES = ["flag", "small", "large", "number", "text", "data", "maybe", "list", "table", "pair", "paper", "wait", "when", "box",
         "anything"]
TYPED = {"__type__": "base64", "__value__": "YWI="}
GOOD = [True, 255, -(2**63), 1, "žluť ☃", TYPED, None, [1, 2], {"a": 1}, [7, "x"], "letter", 1.5, "2030-01-02T03:04:05+00:00",
        {"width": 3}, {"k": [None]}]
BACK = [True, 255, -(2**63), 1.0, "žluť ☃", "ab", None, [1, 2], {"a": 1}, [7, "x"], "letter", 1.5,
        "2030-01-02T03:04:05+00:00", {"width": 3, "label": None}, {"k": [None]}]
# One argument at a time is replaced; what is refused, by its name.
WRONG = {"flag": [1, "true", None], "small": [256, -1, 1.5, "1"], "large": [2**63, 0.5, True], "number": ["1", True, None],
         "text": [1, None, ["x"]], "maybe": [1], "list": ["12", [1, "x"], {"a": 1}, None], "table": [[1], {"a": "x"}],
         "pair": [[1], [1, "x", 2], ["x", 1]], "paper": ["a5", 0, None], "wait": ["soon", None], "when": [None, [1]],
         "box": [{}, {"width": "3"}, {"width": 3, "height": 1}, [3]]}


def same_moment(value):
    return [v.replace("Z", "+00:00").replace(".000000", "") if isinstance(v, str) else v for v in value]


@pytest.mark.parametrize("by_place", [0, 7, len(NAMES)])
def test_python_passes_every_type_by_place_and_by_name(celery_app, native, by_place):
    native.worker()
    sent = celery_app.send_task("cpp.types", args=GOOD[:by_place], kwargs=dict(list(zip(NAMES, GOOD))[by_place:]))
    assert same_moment(sent.get(timeout=20)) == BACK


def test_a_parameter_with_a_default_may_be_left_out(celery_app, native):
    native.worker()
    assert celery_app.send_task("cpp.types", args=GOOD[:-1]).get(timeout=20)[-1] == "default"


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    import subprocess

    shown = subprocess.run([program("interop_worker"), "tasks", "--json"], capture_output=True, text=True, timeout=30,
                           cwd=tmp_path_factory.mktemp("catalogue"))
    return json.loads(shown.stdout)


def test_CP_3_every_signature_of_the_catalogue_is_a_valid_json_schema(catalogue):
    assert catalogue["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    assert len(catalogue["tasks"]) > 20
    for task in catalogue["tasks"].values():
        jsonschema.Draft202012Validator.check_schema(task["parameters"])
        jsonschema.Draft202012Validator.check_schema(task["result"])
        assert len(task["version"]) == 16


def test_CP_2_the_schema_and_the_program_refuse_the_same_calls(catalogue, native):
    check = jsonschema.Draft202012Validator(catalogue["tasks"]["cpp.types"]["parameters"])
    good = dict(zip(NAMES, GOOD))
    assert check.is_valid({**good, "data": "YWI="})  # bytes stand in the schema as the text that they are encoded to
    for name, values in WRONG.items():
        for value in values:
            kwargs = {**good, name: value}
            assert not check.is_valid({**kwargs, "data": "YWI="}), (name, value)
            done = native.run("send", "cpp.types", "[]", "--kwargs", json.dumps(kwargs), "-b", native.broker_url)
            assert done.returncode == 2 and name in done.stderr, (name, value, done.stderr)
