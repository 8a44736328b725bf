"""The `xdistil` command: it reaches every command, and every mistake is one sentence."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xdistil.cli.main import COMMANDS, main
from xdistil.runtime.process import leave


def test_each_command_is_listed_and_has_its_own_help(capsys):
    assert main([]) == 0
    told = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command} " in told
        with contextlib.suppress(SystemExit):  # argparse leaves by itself
            assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        assert f"xdistil {command}" in text or "--config=" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trian"], "xdistil: 'trian' is not a command (did you mean train?)."),
        (["jump"], "xdistil: 'jump' is not a command (there is train, sweep, table"),
        (["train", "--workdir=x"], "xdistil train: --config is missing"),
        (
            ["predict", "--modle=x"],
            "xdistil predict: '--modle' is not an option of xdistil predict",
        ),
        (["evaluate", "--model=x"], "xdistil evaluate: --evaluate is missing"),
        (["export", "--dev=x"], "xdistil export: The following arguments are required: --model"),
        (["inspect", "/nowhere"], "xdistil inspect: /nowhere: no such folder."),
        (["inspect", "a", "b"], "xdistil inspect: 'b' is one argument too many"),
    ],
)
def test_a_mistake_is_reported_in_the_name_of_its_command(arguments, sentence, capsys):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(sentence)
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_a_damaged_config_is_reported_in_one_sentence(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"plan": [')
    assert main(["inspect", str(tmp_path)]) == 2
    assert "config.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], *([command, "--help"] for command in COMMANDS)])
def test_a_closed_pipe_ends_a_command_quietly(arguments, monkeypatch, capfd):
    left, closed = os.pipe()
    os.close(left)
    with open(closed, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as ended:
            leave(main(arguments))
        assert ended.value.code in (0, None)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 0, ""),
        (
            ["predict", "--model=/nowhere", "--backend=onnx"],
            2,
            "xdistil predict: '/nowhere': no such folder",
        ),
        (["train", "--config=x"], 2, "xdistil train: it needs absl, which is not installed"),
        (["inspect", "."], 2, "xdistil inspect: it needs "),
    ],
)
def test_what_needs_jax_says_so_where_it_is_not_installed(arguments, code, told, tmp_path):
    missing = ["absl", "flax", "grain", "jax", "matplotlib", "ml_collections", "transformers"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({missing}));"
        f"from xdistil.cli.main import run; sys.argv = ['xdistil', *{arguments}]; run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == (code > 0)
