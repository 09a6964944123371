"""A program outside this repository builds against the installed library and does a task's whole way."""
import pathlib

from conftest import cached, run

OUTSIDE = pathlib.Path(__file__).resolve().parent / "outside"
# What outside/main.cpp prints after its task was sent, run and answered.
EXPECTED = "outside: outside.add(40, 2) = 42\n"


def test_find_package_builds_an_outside_program_that_runs(installed, compiler, tmp_path):
    program, flags = compiler
    run("cmake", "-S", OUTSIDE, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={installed.prefix}", f"-DCMAKE_CXX_COMPILER={program}",
        f"-DCMAKE_CXX_FLAGS={' '.join(flags)}", env=installed.environment())
    run("cmake", "--build", tmp_path / "build", env=installed.environment())
    assert run(tmp_path / "build/outside", cwd=tmp_path) == EXPECTED


def test_pkg_config_builds_the_same_program(installed, compiler, tmp_path):
    program, flags = compiler
    libraries = run("pkg-config", "--cflags", "--libs", "errand", env=installed.environment()).split()
    run(program, "-std=c++20", *flags, OUTSIDE / "main.cpp", "-o", tmp_path / "outside", *libraries, env=installed.environment())
    assert run(tmp_path / "outside", cwd=tmp_path) == EXPECTED


def test_pkg_config_and_cmake_agree_on_the_version(installed):
    version = run("pkg-config", "--modversion", "errand", env=installed.environment()).strip()
    assert version == cached("CMAKE_PROJECT_VERSION")
    assert version in run(installed.program, "version", env=installed.environment())


def test_nothing_installed_names_the_folder_it_was_built_in(installed):
    source = str(pathlib.Path(__file__).resolve().parents[2])
    for path in installed.prefix.rglob("*"):
        if path.is_file() and path.suffix in (".cmake", ".pc", ".hpp", ".ipp", ".md"):
            assert source not in path.read_text(), path


def test_the_program_comes_with_its_manual_and_completion(installed):
    assert (installed.prefix / "share/man/man1/errand.1").is_file()
    assert (installed.prefix / "share/bash-completion/completions/errand").is_file()
