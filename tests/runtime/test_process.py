"""The start of a program: large arrays use huge pages, and nothing else changes."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from xdistil.runtime import process

PROGRAM = """
import os, sys
started = os.environ.get("STARTED", "")
os.environ["STARTED"] = started + f"{os.getpid()} "
from xdistil.runtime.process import request_huge_pages
request_huge_pages()
import numpy as np
ones = np.ones(64 << 20, np.uint8)
with open("/proc/self/smaps_rollup") as lines:
    huge = next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))
print(os.environ["STARTED"].strip(), huge >> 10, sys.argv[1:], sys.stdin.read())
"""


@pytest.mark.skipif(
    not process._MODE.exists() or "[madvise]" not in process._MODE.read_text(),
    reason="this system gives huge pages always or never",
)
def test_a_program_is_replaced_once_by_itself_with_huge_pages(tmp_path):
    script = tmp_path / "a program.py"
    script.write_text(PROGRAM)
    arguments = ["--x=a b", "", "ü*"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("GLIBC_TUNABLES", None)
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env=environment,
        input="text",
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    first, second, huge, rest = done.stdout.split(" ", 3)
    assert first == second  # one process, which began twice
    assert int(huge) >= 60  # MiB of the 64
    assert rest == f"{arguments} text\n"


@pytest.mark.parametrize(
    ("mode", "before", "after"),
    [
        ("always [madvise] never", None, "glibc.malloc.hugetlb=1"),
        (
            "always [madvise] never",
            "glibc.malloc.check=3",
            "glibc.malloc.check=3:glibc.malloc.hugetlb=1",
        ),
        ("always [madvise] never", "glibc.malloc.hugetlb=0", "as it was"),
        ("[always] madvise never", None, "as it was"),
        ("always madvise [never]", None, "as it was"),
        (None, None, "as it was"),
    ],
)
def test_only_a_system_that_gives_them_on_request_is_asked(
    mode, before, after, tmp_path, monkeypatch
):
    replaced = []
    file = tmp_path / "enabled"
    if mode:
        file.write_text(mode)
    monkeypatch.setattr(process, "_MODE", file)
    monkeypatch.setattr(os, "execv", lambda path, arguments: replaced.append((path, arguments)))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if before:
        monkeypatch.setenv("GLIBC_TUNABLES", before)
    process.request_huge_pages()
    if after == "as it was":
        assert (os.environ.get("GLIBC_TUNABLES"), replaced) == (before, [])
        return
    assert os.environ["GLIBC_TUNABLES"] == after
    assert replaced == [(sys.executable, [sys.executable, *sys.orig_argv[1:]])]


@pytest.mark.parametrize(
    ("program", "arguments", "asks"),
    [
        ("train.py", ["--help"], True),
        ("predict.py", ["--help"], False),
        ("xdistil/__main__.py", ["train", "--help"], True),
        ("xdistil/__main__.py", ["predict", "--help"], False),
        ("xdistil/__main__.py", [], False),
    ],
)
def test_training_asks_and_predicting_does_not_wait(program, arguments, asks, monkeypatch):
    asked = []
    monkeypatch.setattr(process, "request_huge_pages", lambda: asked.append(True))
    monkeypatch.delitem(sys.modules, "xdistil.cli.main", raising=False)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(Path(__file__).parents[2] / program), run_name="__main__")
    assert not ended.value.code
    assert asked == [True] * asks


@pytest.mark.parametrize(("given", "expected"), [(None, "error"), ("info", "info")])
def test_transformers_is_silent_unless_the_user_says_otherwise(monkeypatch, given, expected):
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    if given is not None:
        monkeypatch.setenv("TRANSFORMERS_VERBOSITY", given)
    process.silence_transformers()
    assert os.environ["TRANSFORMERS_VERBOSITY"] == expected
