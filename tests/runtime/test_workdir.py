"""A workdir belongs to one config: another is refused, with the field that differs."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from xdistil.config import RENAMED, Baseline, Experiment, Student
from xdistil.errors import InputError
from xdistil.plans import d42
from xdistil.runtime.workdir import (
    check_workdir,
    choose_segmentation,
    claim_workdir,
    continue_begun,
    open_workdir,
)


def make() -> Experiment:
    return Experiment(
        plan=d42(), student=Student(embedding_size=16), baselines=(Baseline(),), batch_size=8
    )


def test_the_config_is_written_once_and_claimed_again(tmp_path):
    claim_workdir(tmp_path, make())
    path = tmp_path / "config.json"
    written = path.read_bytes()
    content = json.loads(written)
    assert content["plan"][1]["name"] == "logits"
    assert content["teacher"]["plan"][0]["lr"] == 5e-5
    claim_workdir(tmp_path, make())
    assert path.read_bytes() == written


def test_a_run_keeps_the_segmentation_that_it_began_with(tmp_path):
    new, old, damaged = (tmp_path / name for name in ("new", "old", "damaged"))
    for folder in (new, old, damaged):
        folder.mkdir()
    begun = make()
    assert begun.data.segmentation == "auto"
    assert choose_segmentation(begun) == choose_segmentation(begun, new) == "units"
    begun.data.segmentation = choose_segmentation(begun, new)
    claim_workdir(new, begun)
    assert choose_segmentation(make(), new) == "units"
    # An earlier version knew no such field, and split at white space.
    content = json.loads((new / "config.json").read_text())
    del content["data"]["segmentation"]
    (old / "config.json").write_text(json.dumps(content))
    resumed = make()
    resumed.data.segmentation = choose_segmentation(resumed, old)
    assert resumed.data.segmentation == "spaces"
    check_workdir(old, resumed)
    with pytest.raises(InputError, match=r"data\.segmentation='spaces', and this one has 'units'"):
        check_workdir(old, begun)
    (damaged / "config.json").write_text("[")
    assert choose_segmentation(make(), damaged) == "units"


def change(experiment: Experiment, path: str, value: object) -> None:
    part: Any = experiment
    *steps, last = path.replace("[", ".").replace("]", "").split(".")
    for step in steps:
        part = part[int(step)] if step.isdigit() else getattr(part, step)
    setattr(part, last, value)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("batch_size", 8, 9),
        ("seed", 0, 1),
        ("data.limit", 0, 100),
        ("data.repair", False, True),
        ("student.embedding_size", 16, 24),
        ("plan[2].lr", 5e-4, 1e-3),
        ("teacher.plan[0].epochs", 3.0, 4.0),
        ("baselines[0].lrs", "5e-4,1e-3,2e-3", "1e-3"),
    ],
)
def test_another_value_is_refused_with_the_name_of_its_field(tmp_path, path, old, new):
    claim_workdir(tmp_path, make())
    other = make()
    change(other, path, new)
    with pytest.raises(InputError) as caught:
        claim_workdir(tmp_path, other)
    sentence = str(caught.value)
    assert f"{path}={old!r}" in sentence
    assert repr(new) in sentence
    assert str(tmp_path) in sentence
    claim_workdir(tmp_path, make())


def test_a_longer_or_shorter_plan_is_refused(tmp_path):
    claim_workdir(tmp_path, make())
    for stages in (d42()[:2], (*d42(), replace(d42()[2], name="more"))):
        other = make()
        other.plan = stages
        with pytest.raises(InputError, match=r"plan\[[23]\]\."):
            claim_workdir(tmp_path, other)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("log_every", 7),
        ("speed_seconds", 0.0),
        ("data.folder", "elsewhere"),
        ("distributed", "auto"),
    ],
)
def test_what_changes_no_result_may_differ(tmp_path, path, value):
    claim_workdir(tmp_path, make())
    other = make()
    change(other, path, value)
    claim_workdir(tmp_path, other)


@pytest.mark.parametrize(
    ("path", "default", "other"),
    [
        ("seed", 0, 1),
        ("mesh", {"teacher_shards": 1}, None),
        ("teacher.vocabulary", "all", "seen"),
        ("student.tokenizer_pieces", 0, 500),
        ("plan[1].relation_heads", 0, 3),
        ("teacher.plan[0].clip", 1.0, 2.0),
        ("baselines[0].patience", 5, 4),
    ],
)
def test_a_field_that_an_older_config_lacks_has_its_default(tmp_path, path, default, other):
    claim_workdir(tmp_path, make())
    file = tmp_path / "config.json"
    content = part = json.loads(file.read_text())
    *steps, last = path.replace("[", ".").replace("]", "").split(".")
    for step in steps:
        part = part[int(step) if step.isdigit() else step]
    assert part.pop(last) == default
    file.write_text(json.dumps(content))
    claim_workdir(tmp_path, make())
    assert json.loads(file.read_text()) == content
    if other is not None:
        changed = make()
        change(changed, path, other)
        with pytest.raises(InputError) as caught:
            claim_workdir(tmp_path, changed)
        assert f"{path}={default!r}, and this one has {other!r}" in str(caught.value)


def test_a_renamed_field_counts_under_its_new_name(tmp_path):
    """A run of an earlier version resumes; a difference is told by the new name."""
    ours = make()
    ours.plan[0].hidden_map, ours.plan[1].logits_loss, ours.student.min_count = "2", "kl", 3
    claim_workdir(tmp_path, ours)
    file = tmp_path / "config.json"
    text = file.read_text()
    for names in RENAMED.values():
        for old, new in names.items():
            assert f'"{new}"' in text
            text = text.replace(f'"{new}"', f'"{old}"')
    file.write_text(text)
    claim_workdir(tmp_path, ours)
    assert file.read_text() == text
    for path, was, value in (
        ("plan[0].hidden_map", "2", "middle"),
        ("plan[1].unfreeze_epochs", 2.0, 1.0),
        ("student.min_count", 3, 1),
    ):
        other = copy.deepcopy(ours)
        change(other, path, value)
        with pytest.raises(InputError) as caught:
            claim_workdir(tmp_path, other)
        assert f"{path}={was!r}, and this one has {value!r}" in str(caught.value)
        assert f"set --config.{path} to the old value" in str(caught.value)


def test_a_field_that_only_a_newer_version_has_is_refused(tmp_path):
    claim_workdir(tmp_path, make())
    file = tmp_path / "config.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "data": {**content["data"], "novel": 3}}))
    with pytest.raises(InputError, match=r"data\.novel=3, and this one has None"):
        claim_workdir(tmp_path, make())


@pytest.mark.parametrize("text", ["[]", '{"plan": 3, "data": []}'])
def test_a_config_of_another_form_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match="holds a run with"):
        claim_workdir(tmp_path, make())


def test_a_damaged_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": ')
    with pytest.raises(InputError, match=r"config\.json"):
        claim_workdir(tmp_path, make())


def test_whole_numbers_and_numbers_of_the_same_value_are_the_same(tmp_path):
    """A config may say 2 where the command line says 2.0."""
    ours, theirs = make(), make()
    change(ours, "plan[0].epochs", 2)
    change(theirs, "plan[0].epochs", 2.0)
    claim_workdir(tmp_path, ours)
    claim_workdir(tmp_path, theirs)


def test_a_folder_is_created_with_its_parents_and_left_empty(tmp_path):
    open_workdir(tmp_path / "a" / "b")
    open_workdir(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_created_is_reported(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--workdir=.*file.* cannot be written to"):
        open_workdir(tmp_path / name)


def test_a_run_begun_before_keeps_its_sample_and_its_tag_scheme(tmp_path):
    assert continue_begun(tmp_path, make()) == make()
    claim_workdir(tmp_path, make())
    assert continue_begun(tmp_path, make()) == make()
    path = tmp_path / "config.json"
    before = json.loads(path.read_text())
    for name in ("task", "columns", "draw"):
        del before["data"][name]
    before["data"]["scheme"] = "bioes"
    path.write_text(json.dumps(before))
    experiment = continue_begun(tmp_path, make())
    assert (experiment.data.draw, experiment.data.scheme) == ("first", "bioes")
    claim_workdir(tmp_path, make())
    claim_workdir(tmp_path, experiment)
    change(experiment, "data.scheme", "iob1")
    with pytest.raises(InputError, match=r"data\.scheme='bioes', and this one has 'iob1'"):
        claim_workdir(tmp_path, experiment)


def test_a_run_begun_before_keeps_the_size_of_its_word_embeddings(tmp_path):
    claim_workdir(tmp_path, make())
    assert continue_begun(tmp_path, make()).student.embedding_scale == 1
    path = tmp_path / "config.json"
    before = json.loads(path.read_text())
    del before["student"]["embedding_scale"]
    path.write_text(json.dumps(before))
    experiment = continue_begun(tmp_path, make())
    assert experiment.student.embedding_scale == 0
    claim_workdir(tmp_path, make())
    change(experiment, "student.dropout", 0.5)
    with pytest.raises(InputError, match=r"student\.dropout"):
        claim_workdir(tmp_path, experiment)


def test_a_run_begun_before_keeps_its_vocabulary(tmp_path):
    claim_workdir(tmp_path, make())
    assert continue_begun(tmp_path, make()).student.vocabulary_cut == "even"
    path = tmp_path / "config.json"
    before = json.loads(path.read_text())
    del before["student"]["vocabulary_cut"]
    path.write_text(json.dumps(before))
    student = continue_begun(tmp_path, make()).student
    assert (student.vocabulary_cut, student.embedding_scale) == ("frequent", 1)
    claim_workdir(tmp_path, make())


def test_a_bilstm_begun_before_keeps_its_one_layer(tmp_path):
    deep = make()
    deep.student.layers = 3
    claim_workdir(tmp_path, deep)
    assert continue_begun(tmp_path, deep) == deep
    path = tmp_path / "config.json"
    before = json.loads(path.read_text())
    for stage in before["plan"]:
        del stage["mask"]
    path.write_text(json.dumps(before))
    assert continue_begun(tmp_path, deep).student.layers == 1
    for same in (deep, make()):  # as it was written, and what it was
        claim_workdir(tmp_path, same)
    change(deep, "student.layers", 2)
    with pytest.raises(InputError, match=r"student\.layers=1, and this one has 2"):
        claim_workdir(tmp_path, deep)
    before["student"]["kind"] = "transformer"
    path.write_text(json.dumps(before))
    change(deep, "student.layers", 3)
    change(deep, "student.kind", "transformer")
    assert continue_begun(tmp_path, deep).student.layers == 3


def test_a_tilde_of_an_earlier_version_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    before, now = make(), make()
    before.teacher.cache_folder, now.teacher.cache_folder = "~/cache", "/home/anna/cache"
    claim_workdir(tmp_path, before)
    claim_workdir(tmp_path, now)


def test_votes_that_an_earlier_version_combined_are_combined_so(tmp_path):
    assert make().teacher.votes == "auto"
    for votes, expected in (("learned", "learned"), (None, "auto")):
        folder = tmp_path / str(votes)
        folder.mkdir()
        claim_workdir(folder, make())
        content = json.loads((folder / "config.json").read_text())
        del content["teacher"]["min_agreement"], content["teacher"]["votes"]
        if votes:
            content["teacher"]["votes"] = votes
        (folder / "config.json").write_text(json.dumps(content))
        check_workdir(folder, make())
        assert continue_begun(folder, make()).teacher.votes == expected
    claim_workdir(tmp_path, make())
    assert continue_begun(tmp_path, make()).teacher.votes == "auto"
