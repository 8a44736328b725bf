"""The page while a run is in progress, without a run."""

import json
import logging
import time

import pytest

from xdistil.errors import StoppedError
from xdistil.experiment import live_page
from xdistil.experiment.live_page import showing, try_to_write


def write_step(workdir, step):
    line = {"plan": "student", "stage": "logits", "step": step, "event": "train", "loss_logits": 1}
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def wait_for(workdir, text):
    end = time.monotonic() + 10
    path = workdir / "report.html"
    while not (path.exists() and text in path.read_text(encoding="utf-8")):
        assert time.monotonic() < end, text
        time.sleep(0.01)


def test_the_page_follows_the_run_and_is_left_alone_in_between(tmp_path, monkeypatch):
    monkeypatch.setattr(live_page, "SECONDS", 0.01)
    monkeypatch.setattr(live_page, "_SHARE", 1.0)
    with showing(tmp_path, writes=True):
        wait_for(tmp_path, "The run has not ended.")
        write_step(tmp_path, 7)
        wait_for(tmp_path, "The last logged step is 7")
        before = (tmp_path / "report.html").stat().st_ino
        time.sleep(0.1)
        assert (tmp_path / "report.html").stat().st_ino == before  # it was not written again
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "report.html"]


def test_a_stopped_run_leaves_a_page_of_its_last_step(tmp_path):
    def run_and_stop():
        with showing(tmp_path, writes=True):
            wait_for(tmp_path, "The run has not ended.")
            write_step(tmp_path, 9)
            raise StoppedError("SIGTERM")

    with pytest.raises(StoppedError):
        run_and_stop()
    assert "The last logged step is 9" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_processes_that_do_not_write_show_nothing(tmp_path):
    with showing(tmp_path, writes=False):
        pass
    assert not list(tmp_path.iterdir())


def test_no_run_ends_for_its_page(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("xdistil"), "propagate", True)
    (tmp_path / "results.json").write_text('{"task": "tagging"}')
    try_to_write(tmp_path)
    assert "report.html could not be written: KeyError" in caplog.text
    assert not (tmp_path / "report.html").exists()
