"""Files are written whole or not at all, and JSON holds no NaN and no infinity."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xdistil.runtime.json_io import finite, write_atomically, write_json, write_text

KILLED = """
import os, signal, sys
from pathlib import Path
from xdistil.runtime.json_io import write_atomically
with write_atomically(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of the new co")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old\r\n\u0b95")

    def fail() -> None:
        with write_atomically(path) as temporary:
            temporary.write_text("half")
            raise ValueError("fails")

    with pytest.raises(ValueError, match="fails"):
        fail()
    assert path.read_bytes() == "old\r\n\u0b95".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_killed_process_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(os.listdir(tmp_path)) == 2
    write_text(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_is_missing_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "gone" / "a.txt", "new")


def test_what_is_undefined_is_null_at_any_depth():
    content = {"a": [1.5, math.nan, {"b": -math.inf}], "c": (math.inf, 2), "d": "nan", "e": None}
    expected = {"a": [1.5, None, {"b": None}], "c": [None, 2], "d": "nan", "e": None}
    assert finite(content) == expected
    assert finite({"x": np.float64("nan"), "y": np.float64(0.5)}) == {"x": None, "y": 0.5}


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"f1": math.nan, "language": "தமிழ்"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"f1": None, "language": "தமிழ்"}
    with pytest.raises(TypeError):
        write_json(path, {"f1": 0.5, "bad": object()})
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]
    assert json.loads(path.read_text(encoding="utf-8"))["f1"] is None
    write_json(path, {"f1": 0.5})
    assert json.loads(path.read_text(encoding="utf-8")) == {"f1": 0.5}
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_a_disk_that_fills_up_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_json(path, {"f1": 0.5})

    def write_half(target: Path, text: str, **settings: Any) -> None:
        target.write_bytes(text.encode()[: len(text) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"f1": 0.75})
    assert json.loads(path.read_text(encoding="utf-8")) == {"f1": 0.5}
