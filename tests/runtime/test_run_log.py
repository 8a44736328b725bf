"""The files of the run log are complete, and every number in them is finite."""

import json
import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from xdistil.runtime import run_log as run_log_module
from xdistil.runtime.environment import describe_device, describe_environment
from xdistil.runtime.run_log import RunLog, open_log

LINE = {"plan": "student", "stage": "logits", "step": 1}


@pytest.fixture
def run_log(tmp_path) -> Any:
    opened = RunLog(tmp_path)
    yield opened
    opened.close()


def read(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_is_on_disk_as_soon_as_it_is_recorded(run_log, tmp_path):
    run_log.write({**LINE, "loss_logits": 0.25, "dev_macro_f1": math.nan})
    assert read(tmp_path) == [{**LINE, "loss_logits": 0.25, "dev_macro_f1": None}]


def test_lines_are_appended_by_the_next_process(run_log, tmp_path):
    run_log.write(LINE)
    run_log.close()
    again = RunLog(tmp_path)
    again.write({**LINE, "step": 2})
    again.close()
    assert [line["step"] for line in read(tmp_path)] == [1, 2]


def test_truncating_removes_later_lines(run_log, tmp_path):
    run_log.write({**LINE, "text": "übermäßig"})
    position = run_log.position()
    assert position == (tmp_path / "metrics.jsonl").stat().st_size
    run_log.write({**LINE, "step": 2})
    run_log.write({**LINE, "step": 3})
    run_log.truncate(position)
    assert [line["step"] for line in read(tmp_path)] == [1]
    run_log.write({**LINE, "step": 4})
    assert [line["step"] for line in read(tmp_path)] == [1, 4]
    run_log.truncate(10**9)
    assert [line["step"] for line in read(tmp_path)] == [1, 4]


def test_truncating_works_in_the_next_process(run_log, tmp_path):
    run_log.write(LINE)
    position = run_log.position()
    run_log.write({**LINE, "step": 2})
    run_log.close()
    again = RunLog(tmp_path)
    again.truncate(position)
    again.write({**LINE, "step": 3})
    again.close()
    assert [line["step"] for line in read(tmp_path)] == [1, 3]


def test_a_plan_that_restarts_loses_its_lines_and_no_others(run_log, tmp_path):
    run_log.write({**LINE, "plan": "teacher"})
    run_log.write(LINE)
    run_log.write({**LINE, "step": 2})
    run_log.drop_plan("baseline-0-0")
    assert len(read(tmp_path)) == 3
    run_log.drop_plan("student")
    assert [line["plan"] for line in read(tmp_path)] == ["teacher"]
    run_log.write({**LINE, "step": 5})
    assert [line["step"] for line in read(tmp_path)] == [1, 5]


def test_a_last_line_that_was_cut_off_goes_with_them(run_log, tmp_path):
    run_log.write({**LINE, "plan": "teacher"})
    run_log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"plan": "stu')
    again = RunLog(tmp_path)
    again.drop_plan("student")
    again.close()
    assert [line["plan"] for line in read(tmp_path)] == ["teacher"]


def test_finite_numbers_reach_tensorboard(run_log, tmp_path, monkeypatch):
    scalars = []
    monkeypatch.setattr(
        run_log._trackers[0]._board, "add_scalar", lambda *given: scalars.append(given)
    )
    run_log.write({**LINE, "step": 7, "loss": 0.5, "lr": math.nan, "event": "train"})
    assert scalars == [("student/logits/loss", 0.5, 7)]
    assert list((tmp_path / "tensorboard").iterdir())


def test_progress_is_one_line_on_a_terminal_and_rare_lines_elsewhere(
    run_log, monkeypatch, capsys, caplog
):
    monkeypatch.setattr(logging.getLogger("xdistil"), "propagate", True)
    clock = iter([100.0, 110.0, 131.0, 132.0, 133.0])
    # In place of the module: TensorBoard's thread reads the real clock.
    monkeypatch.setattr(run_log_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with caplog.at_level(logging.INFO, "xdistil"):
        for text in ("first", "second", "third"):
            run_log.progress(text)
    assert [record.message for record in caplog.records] == ["first", "third"]
    monkeypatch.setattr(run_log, "_terminal", True)
    run_log.progress("fourth")
    run_log.progress("fifth")
    assert capsys.readouterr().err == "\r\x1b[2Kfourth\r\x1b[2Kfifth"


def test_a_line_that_does_not_fit_on_the_disk_is_on_the_console(tmp_path, capsys, caplog):
    (tmp_path / "train.log").symlink_to("/dev/full")
    with open_log(tmp_path):
        logging.getLogger("xdistil").info("step 50")
    assert capsys.readouterr().err == "step 50\n"


def test_messages_go_to_console_and_file_while_the_log_is_open(tmp_path, capsys, caplog):
    log = logging.getLogger("xdistil")
    before = list(log.handlers), log.level, log.propagate
    with open_log(tmp_path):
        log.info("100%% of %s", "naïve")
    assert not caplog.records  # the root's handlers would print it twice
    log.info("not any more")
    assert (list(log.handlers), log.level, log.propagate) == before
    assert capsys.readouterr().err == "100% of naïve\n"
    (line,) = (tmp_path / "train.log").read_text(encoding="utf-8").splitlines()
    assert line.endswith("INFO 100% of naïve")


@pytest.mark.parametrize(("gpu", "told"), [(True, True), (False, False)])
def test_an_unused_gpu_is_reported_with_the_command_to_install(monkeypatch, gpu, told):
    monkeypatch.setattr(run_log_module.Path, "exists", lambda path: gpu and "nvidia" in str(path))
    text = describe_device("float32")
    assert ("pip install 'xdistil[cuda]'" in text) == told
    assert f"{jax.device_count()} x" in text
    assert "\n" not in text


def test_the_environment_names_versions_command_and_data():
    found = describe_environment(["train.py", "--workdir=a b"], {"train": "0123"})
    assert found["command"] == "train.py '--workdir=a b'"
    assert found["data"] == {"train": "0123"}
    assert found["packages"]["jax"] == jax.__version__
    assert found["python"]
    assert found["devices"] == [device.device_kind for device in jax.devices()]
    json.dumps(found)
