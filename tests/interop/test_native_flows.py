"""C++ programs send chains, callbacks, groups and typed bytes to stock Python workers over Redis."""
import json
import subprocess

import kombu
import pytest

from conftest import program


@pytest.fixture
def flow(broker_url, python_worker):
    python_worker()

    def run(name, *more, code=0):
        done = subprocess.run([program("native_flows"), broker_url, name, *more], capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr

    return run


def test_a_chain_over_the_border_and_back(flow, native):
    native.worker()
    told = flow("chain")
    assert told["result"] == 113
    assert [native.result(step)["result"] for step in told["before"]] == [13, 3]


def test_a_callback_of_a_python_task_gets_its_result(flow):
    assert flow("link")["callback"] == 42


def test_an_errback_of_a_python_task_gets_the_failed_id(flow):
    told = flow("link_error")
    assert told["callback"] == told["id"]


def test_a_group_is_collected_in_the_order_of_its_calls(flow):
    assert flow("group") == [2 * i for i in range(10)]


def test_many_calls_in_one_round_trip_all_come_back(flow):
    assert flow("send_many") == [2 * i for i in range(10)]


def test_pythons_exception_arrives_as_type_message_module_and_traceback(flow):
    told = flow("failure")
    assert (told["type"], told["module"]) == ("ValueError", "builtins")
    assert "deliberate" in told["message"] and "42" in told["message"]
    assert 'raise ValueError(text, 42)' in told["traceback"]


def test_bytes_are_refused_unless_the_python_side_can_read_them(flow):
    refused = flow("bytes", code=1)
    assert "typed_json" in refused
    # Only kombu 5.3 and newer decodes typed values; before, the task sees the object.
    new = tuple(int(part) for part in kombu.__version__.split(".")[:2]) >= (5, 3)
    assert flow("bytes", "typed") == (["bytes", "b'\\xff\\x00'"] if new else ["dict", "{'__type__': 'base64', '__value__': '/wA='}"])
