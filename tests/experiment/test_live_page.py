"""The page while a run is in progress, without a run."""

import json
import logging
import time

import pytest

from tests.evaluation.page.parsing import parse, read_tables
from tests.evaluation.test_report import RESULTS
from tests.evaluation.test_sweep_table import make
from xdistil.errors import StoppedError
from xdistil.experiment import live_page
from xdistil.experiment.live_page import show_run, show_sweep, showing


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
    (tmp_path / "results.json").write_text(json.dumps({**RESULTS, "seed": {}, "timing": {}}))
    show_run(tmp_path)
    assert "report.html could not be written: KeyError" in caplog.text
    assert not (tmp_path / "report.html").exists()


def test_the_page_of_a_sweep_leads_to_those_of_its_runs(tmp_path):
    names = {"a=1": 0.8, "a=2": 0.9}
    listed = [{"name": name, "settings": {"a": name[-1]}} for name in names]
    (tmp_path / "sweep.json").write_text(json.dumps({"format": 1, "runs": listed}))
    for name, score in names.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.html").touch()
        (tmp_path / name / "results.json").write_text(json.dumps(make(score)))
    show_sweep(tmp_path)
    page = parse((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert [row[0] for row in read_tables(page)["Systems"]] == ["a", "1", "2"]
    (section,) = page.find("section", id="runs")
    assert [each.attributes["href"] for each in section.find("a")] == [
        "a%3D1/report.html",
        "a%3D2/report.html",
    ]
