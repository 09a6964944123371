"""The checker of the tree finds what it promises to find: each rule is broken once in a small copy of a tree."""
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/tidy.py", tmp_path / "tools")
    write(tmp_path, "src/CMakeLists.txt", """
errand_module(core DIR core)
errand_module(protocol DIR protocol USES core)
errand_module(wire_redis DIR wire/redis USES core)
errand_module(brokers_a DIR brokers/a USES protocol)
errand_module(brokers_b DIR brokers/b USES protocol brokers_a)
""")
    write(tmp_path, "include/errand/value.hpp", "#pragma once\n#include <string>\n")
    write(tmp_path, "src/core/text.hpp", "#pragma once\n")
    write(tmp_path, "src/protocol/message.hpp", '#pragma once\n#include "core/text.hpp"\n')
    write(tmp_path, "src/brokers/a/broker.hpp", '#pragma once\n#include "core/text.hpp"\n#include <errand/value.hpp>\n')
    return tmp_path


def write(tree, name, text):
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def tidy(tree, *arguments):
    done = subprocess.run(["/usr/bin/python3", "tools/tidy.py", *arguments], cwd=tree, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_tree_that_keeps_the_rules_passes(tree):
    code, text = tidy(tree)
    assert code == 0, text


BREACHES = [
    ("src/core/bad.cpp", '#include "protocol/message.hpp"\n', "core may not use protocol"),
    ("src/brokers/b/bad.cpp", '#include "brokers/a/broker.hpp"\n', "includes driver"),
    ("src/brokers/a/bad.cpp", '#include "wire/redis/client.hpp"\n', "unknown header"),
    ("src/core/bad.hpp", "#pragma once\n#include <zlib.h>\n", "third-party header"),
    ("src/wire/redis/bad.cpp", "#include <hiredis/hiredis.h>\n", "used in bench/ only"),
    ("src/protocol/bad.cpp", "#include <boost/any.hpp>\n", "unknown header"),
    ("include/errand/bad.hpp", '#pragma once\n#include "core/text.hpp"\n', "know nothing of src/"),
    ("include/errand/bad.hpp", "#pragma once\n#include <unistd.h>\n", "standard library only"),
    ("src/stray/bad.cpp", '#include "stray/bad.hpp"\n', "unknown header"),
    ("src/core/bad.hpp", "#include <string>\n", "#pragma once"),
    ("tests/unit/core/bad.cpp", "std::this_thread::sleep_for(1s);\n", "sleeps"),  # work: the breach itself
    ("src/core/bad.cpp", "co_await thing;\n", "co_await"),
    ("docs/bad.md", "see /ro" + "ot/notes\n", "path of one machine"),
    ("src/core/bad.cpp", "int x;\n" * 1000, "split it"),
]


@pytest.mark.parametrize("name, text, finding", BREACHES, ids=[f"{breach[2]}:{breach[0]}" for breach in BREACHES])
def test_a_breach_is_found(tree, name, text, finding):
    write(tree, name, text)
    code, output = tidy(tree)
    assert code == 1
    assert f"{name}:" in output and finding in output


def test_a_header_that_leans_on_others_is_found(tree):
    write(tree, "include/errand/bad.hpp", "#pragma once\ninline std::string text() { return {}; }\n")
    code, output = tidy(tree, "--only", "headers")
    assert code == 1
    assert "include/errand/bad.hpp:1: does not compile alone" in output
