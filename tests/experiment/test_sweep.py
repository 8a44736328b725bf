"""The runs of a sweep: their settings, their names, and which of them are done."""

import json

import pytest

from tests.evaluation.test_report import RESULTS
from xdistil.config import Experiment
from xdistil.errors import InputError
from xdistil.experiment.inspection import inspect_folder
from xdistil.experiment.sweep import (
    PlannedRun,
    combine_settings,
    describe_sweep,
    name_run,
    read_manifest,
)
from xdistil.models.hf.hub import find_folder


def test_a_sweep_is_no_run_and_no_model(tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(InputError, match="is the workdir of a sweep: name one of its runs"):
        inspect_folder(tmp_path)
    with pytest.raises(InputError, match=r"is no model folder: it has no config.json"):
        find_folder(str(tmp_path))


def test_settings_are_all_combinations_and_an_axis_replaces_its_field():
    configured = [{"plan": "d1", "seed": "7"}, {"plan": "d1", "seed": "8"}, {"plan": "d2"}]
    assert combine_settings(configured, {"seed": ["0", "1"]}) == [
        {"plan": "d1", "seed": "0"},
        {"plan": "d1", "seed": "1"},
        {"plan": "d2", "seed": "0"},
        {"plan": "d2", "seed": "1"},
    ]
    assert combine_settings(configured, {}) == configured
    assert combine_settings([], {"a": ["1"], "b": ["2", "3"]}) == [
        {"a": "1", "b": "2"},
        {"a": "1", "b": "3"},
    ]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"seed": "0", "plan": "d4.2"}, "seed=0,plan=d4.2"),
        ({"plan[0].lr": "1e-3"}, "plan.0.lr=1e-3"),
        ({"teacher.model": "a/b"}, "teacher.model=a_b-e0a357"),
        ({"data.folder": "../dänisch"}, "data.folder=.._d_nisch-f43042"),
    ],
)
def test_names_are_those_of_folders(settings, name):
    assert name_run(settings) == name


def test_different_settings_have_different_names():
    long = [{"teacher.model": f"{'x' * 200}{end}"} for end in "ab"]
    others = [{"teacher.model": value} for value in ("a/b", "a_b", "a b")]
    names = [name_run(each) for each in (*long, *others)]
    assert len(set(names)) == 5
    assert max(map(len, names)) < 140


def test_what_is_left_is_estimated_by_runs_of_other_seeds(tmp_path):
    runs = [
        PlannedRun(f"plan={plan},seed={seed}", {"plan": plan, "seed": seed}, Experiment(), ())
        for plan in ("d1", "d2", "d3.1")
        for seed in ("0", "1")
    ]
    for name, seconds in (("plan=d1,seed=0", 60), ("plan=d2,seed=1", 7200)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(bytes(4000 - seconds // 2))
        (tmp_path / name / "results.json").write_text(
            json.dumps({**RESULTS, "timing": {"total": seconds}}).ljust(9000)
        )
    (tmp_path / "plan=d1,seed=1").mkdir()
    (tmp_path / "plan=d1,seed=1/config.json").write_text("{}")
    rows = describe_sweep(tmp_path, runs, ["plan=d1,seed=0", "plan=d2,seed=1"])
    assert [row[1:3] for row in rows] == [
        ["state", "time"],
        ["done", "1.0 min"],
        ["begun", "about 1.0 min"],
        ["to do", "about 2.0 h"],
        ["done", "2.0 h"],
        ["to do", "about 1.0 h"],  # no other seed of it is done: the mean of all
        ["to do", "about 1.0 h"],
        ["4 to do", "about 6.0 h"],
    ]
    assert rows[1][3] == "13.0 kB"


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no sweep\.json: name the --workdir of an xdistil"):
        read_manifest(tmp_path)
    path = tmp_path / "sweep.json"
    for text in ('{"runs": [3]}', "{}", '{"runs": [{"name": "a", "settings": ["seed"]}]}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"sweep\.json is damaged: remove it, and run"):
            read_manifest(tmp_path)
    path.write_text('{"runs": []}')
    with pytest.raises(InputError, match=r"sweep\.json lists no runs: remove it, and run"):
        read_manifest(tmp_path)
