"""Trackers get the numbers of a run, a run that resumes continues its curves, and none ends a run.

The packages are stand-ins that record the calls to them.
"""

import json
import logging
import math
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from xdistil.errors import InputError
from xdistil.runtime.run_log import RunLog
from xdistil.runtime.trackers import TRACKERS, check_trackers, open_trackers

LINE = {"plan": "student", "stage": "logits", "step": 1, "event": "train"}
CONFIG = {"seed": 3}


class Package:
    """A stand-in for wandb or trackio: what was called, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.fails = False

    def init(self, **arguments: Any) -> Any:
        self.calls.append(("init", arguments))

        def record(name: str) -> Any:
            def call(*given: Any, **named: Any) -> None:
                if self.fails:
                    raise ConnectionError("no network")
                self.calls.append((name, (*given, *named.values())))

            return call

        names = ("log", "define_metric", "finish")
        run = SimpleNamespace(**{name: record(name) for name in names})
        run.summary = SimpleNamespace(update=record("summary"))
        return run


@pytest.fixture
def package(monkeypatch) -> Package:
    found = Package()
    for name in TRACKERS:
        monkeypatch.setitem(sys.modules, name, found)
    return found


def track(name: str, workdir: Any, *lines: dict[str, Any], **summary: float) -> None:
    """A process of a run."""
    run_log = RunLog(workdir)
    run_log.add_trackers(open_trackers(name, "mine", workdir, CONFIG))
    for line in lines:
        run_log.write(line)
    if summary:
        run_log.summarise(summary)
    run_log.close()


def test_wandb_gets_each_stage_over_steps_of_its_own(package, tmp_path):
    """Its own step may not fall, as it would from one stage to the next."""
    lines = [{**LINE, "loss": 0.5, "lr": math.nan}, {**LINE, "step": 2, "loss": 0.25}]
    track("wandb", tmp_path, *lines, retention=0.9, compression=math.inf)
    (_, start), *calls = package.calls
    run = json.loads((tmp_path / "trackers.json").read_text())["run"]
    assert start == {
        "project": "mine",
        "id": run,
        "name": tmp_path.name,
        "dir": str(tmp_path),
        "config": CONFIG,
        "resume": "allow",
    }
    assert calls == [
        ("define_metric", ("student/logits/step",)),
        ("define_metric", ("student/logits/*", "student/logits/step")),
        ("log", ({"student/logits/step": 1, "student/logits/loss": 0.5},)),
        ("log", ({"student/logits/step": 2, "student/logits/loss": 0.25},)),
        ("summary", ({"retention": 0.9},)),
        ("finish", ()),
    ]


def test_trackio_gets_steps_and_a_name_that_is_its_own(package, tmp_path):
    track("trackio", tmp_path, {**LINE, "step": 7, "loss": 0.5}, retention=0.9)
    (_, start), *calls = package.calls
    run = json.loads((tmp_path / "trackers.json").read_text())["run"]
    assert start == {
        "project": "mine",
        "name": f"{tmp_path.name}-{run}",
        "config": CONFIG,
        "resume": "allow",
    }
    assert calls == [
        ("log", ({"student/logits/loss": 0.5}, 7)),
        ("log", ({"summary/retention": 0.9},)),
        ("finish", ()),
    ]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_run_that_resumes_continues_its_curves(package, tmp_path, name):
    workdirs = [tmp_path / "a", tmp_path / "a", tmp_path / "b"]
    for workdir in workdirs:
        workdir.mkdir(exist_ok=True)
        track(name, workdir, {**LINE, "loss": 0.5})
    first, again, other = (each for call, each in package.calls if call == "init")
    assert first == again
    assert first != other


def test_an_error_of_a_tracker_is_a_warning(package, tmp_path, caplog):
    run_log = RunLog(tmp_path)
    run_log.add_trackers(open_trackers("wandb, trackio", "mine", tmp_path, CONFIG))
    package.fails = True
    with caplog.at_level(logging.WARNING, "xdistil"):
        for step in (1, 2):
            run_log.write({**LINE, "step": step, "loss": 0.5})
        run_log.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"{name} failed and is left out from here on: no network" for name in ("wandb", "trackio")
    ]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_tracker_that_cannot_start_is_refused(package, tmp_path, monkeypatch):
    def refuse(**_: Any) -> None:
        raise RuntimeError("not logged in.\nmore")

    monkeypatch.setattr(package, "init", refuse)
    with pytest.raises(InputError) as caught:
        open_trackers("wandb", "mine", tmp_path, CONFIG)
    assert str(caught.value).startswith("trackers=wandb cannot start (not logged in): log in")


def test_names_and_packages_are_checked(package, monkeypatch):
    check_trackers("")
    check_trackers("wandb, trackio")
    with pytest.raises(InputError, match=r"no tracker 'wanb' \(did you mean wandb\?\)"):
        check_trackers("trackio,wanb")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"needs the package wandb .*'xdistil\[wandb\]'"):
        check_trackers("wandb")
