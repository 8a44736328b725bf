"""Vocabularies of teacher and student are trimmed to the texts, and fit the embeddings."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.deploy.folders import TAGGING, draw_params, make_folder, make_model, train_tokenizer
from tests.experiment.untrained_teacher import (
    BYTES,
    first,
    name_rows,
    write_teacher,
    write_teacher_of,
)
from tests.models.samples import DEBERTA, ROBERTA
from xdistil.config import Experiment, Stage, Student, Teacher
from xdistil.data.examples import Task
from xdistil.errors import InputError
from xdistil.experiment.build import build
from xdistil.experiment.model_overview import describe_start
from xdistil.models.families.bert import EncoderConfig
from xdistil.models.hf.folder import save_model
from xdistil.teacher.interface import Unit


@pytest.mark.parametrize("config", [BYTES, ROBERTA, DEBERTA], ids=["bytes", "unigram", "deberta"])
def test_a_students_vocabulary_of_every_kind_is_trimmed(config: EncoderConfig, tmp_path: Path):
    experiment = write_teacher_of(config, tmp_path)
    experiment.student.vocabulary = "seen"
    run = build(experiment, tmp_path / "cache")
    own, its = (texts["train"].subwords for texts in (run.texts, run.teacher_texts))
    np.testing.assert_array_equal(run.teacher.remap[own.tokens], its.tokens)
    before = name_rows(run.teacher.tokenizer, run.teacher.params)
    after = name_rows(run.student.tokenizer, run.student.checkpoint)
    assert after == {subword: before[subword] for subword in after}
    assert len(run.student.checkpoint["embeddings"]["word_embeddings"]["embedding"]) == len(after)
    shape = run.student.model.config
    assert shape.vocabulary_size == len(after)
    assert run.teacher.remap[shape.padding_id] == config.padding_id
    assert len(after) < len(before) or config is not BYTES


def test_a_students_rare_subwords_and_those_beyond_its_limit_go(tmp_path: Path):
    # "he" occurs 7 times, in each "teacher", and "▁the" 10 times.
    experiment = write_teacher_of(ROBERTA, tmp_path)
    experiment.student.vocabulary = "seen"
    left = []
    for fields in (
        {"min_count": 7},
        {"min_count": 8},
        {"vocabulary_size": 36, "vocabulary_cut": "frequent"},
        {"vocabulary_size": 36},  # characters that are not in the texts make room
    ):
        student = dataclasses.replace(experiment.student, **fields)
        changed = dataclasses.replace(experiment, student=student)
        vocabulary = build(changed, tmp_path / "cache").student.tokenizer.backend.get_vocab()
        left.append({"he", "▁the"} & set(vocabulary))
    assert left == [{"he", "▁the"}, {"▁the"}, {"▁the"}, {"he", "▁the"}]
    experiment.student.vocabulary_size = 30
    experiment.student.vocabulary_cut = "frequent"
    with pytest.raises(InputError, match=r"^student\.vocabulary_size is 30, but 35 subwords"):
        build(experiment, tmp_path / "cache")


CUT = {"vocabulary_size": 36, "vocabulary_cut": "frequent"}  # without "he"


@pytest.mark.parametrize("limit", [CUT, {"min_count": 8}, {"vocabulary_size": 36}, {}])
def test_a_teacher_reads_its_own_subwords_where_the_student_lacks_some(tmp_path: Path, limit):
    experiment = write_teacher(tmp_path, ROBERTA)
    experiment.plan = (Stage(name="logits", loss="logits", data="all"),)
    experiment.teacher.subwords = "own"
    experiment.student = dataclasses.replace(experiment.student, vocabulary="seen", **limit)
    run = build(experiment, tmp_path / "cache")
    read = {"student": run.texts["all"], "teacher": run.teacher_texts.get("all")}
    if "he" in run.student.tokenizer.backend.get_vocab():  # all that the texts have are kept
        assert (run.teacher.unit, read["teacher"]) == (Unit.SUBWORD, None)
        return
    assert (run.teacher.unit, run.teacher.remap) == (Unit.WORD, None)
    words = ["the", "large", "teacher"]  # the first transfer text
    encode = {"student": run.student.tokenizer, "teacher": run.teacher.tokenizer}
    ids = {
        name: each.backend.encode(words, is_pretokenized=True).ids for name, each in encode.items()
    }
    for name, texts in read.items():
        window = texts.subwords.tokens[: texts.subwords.start[1] - 1]
        assert window.tolist() == ids[name][: len(window)]
    assert len(ids["student"]) > len(ids["teacher"])
    told = "the teacher reads its own subwords, not the student's; losses on logits and hidden"
    assert any(line.startswith(told) for line in describe_start(run))
    # The rows of its subwords are the teacher's all the same.
    before = name_rows(run.teacher.tokenizer, run.teacher.params)
    table = run.teacher.params["embeddings"]["word_embeddings"]["embedding"]
    rows = run.student.embeddings.rows(table)
    for subword, id in run.student.tokenizer.backend.get_vocab().items():
        assert rows[id].tolist() == before[subword]

    experiment.teacher.subwords = "student"
    run = build(experiment, tmp_path / "cache")
    assert run.teacher.unit is Unit.SUBWORD
    own = run.texts["all"].subwords
    assert "all" not in run.teacher_texts
    names = [run.teacher.tokenizer.backend.id_to_token(id) for id in run.teacher.remap[own.tokens]]
    assert names == [run.student.tokenizer.backend.id_to_token(id) for id in own.tokens]


def test_losses_of_pairs_of_subwords_say_how_a_student_that_lacks_some_has_them(tmp_path: Path):
    experiment = write_teacher(tmp_path, ROBERTA)  # with the plan of v3
    experiment.student.vocabulary, experiment.student.min_count = "seen", 8
    experiment.teacher.subwords = "own"
    with pytest.raises(InputError, match=r"has attention, .* with teacher\.subwords=student where"):
        build(experiment, tmp_path / "cache")
    experiment.teacher.subwords = "student"
    assert build(experiment, tmp_path / "cache").teacher.unit is Unit.SUBWORD


@pytest.mark.parametrize("vocabulary", ["all", "seen"])
def test_a_teachers_vocabulary_is_trimmed(vocabulary: str, tmp_path: Path):
    experiment = write_teacher_of(BYTES, tmp_path)
    whole = build(experiment, tmp_path / "whole")
    experiment.teacher.vocabulary, experiment.student.vocabulary = "seen", vocabulary
    run = build(experiment, tmp_path / "cache")
    before = name_rows(whole.teacher.tokenizer, whole.teacher.params)
    after = name_rows(run.teacher.tokenizer, run.teacher.params)
    assert after == {subword: before[subword] for subword in after}
    assert run.teacher.model.config.vocabulary_size == len(after) < len(before)
    subwords = [each.teacher_texts["train"].subwords.tokens.tolist() for each in (whole, run)]
    named = [
        [each.teacher.tokenizer.backend.id_to_token(id) for id in ids]
        for each, ids in zip((whole, run), subwords, strict=True)
    ]
    assert named[0] == named[1]
    assert subwords[0] != subwords[1]
    assert name_rows(run.student.tokenizer, run.student.checkpoint) == after


def test_a_student_of_its_teachers_layers_keeps_the_subwords_that_occur(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(tmp_path / "tokenizer")
    make_folder(tmp_path / "teacher", "bert", TAGGING, tokenizer)
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text("Anna went to Berlin\tB-PER O O B-LOC\n")
    experiment = Experiment(
        dtype="float32",
        teacher=Teacher(model=str(tmp_path / "teacher")),
        student=Student(kind="transformer", keep_layers="last:1", vocabulary="seen"),
        plan=(Stage(name="logits", loss="logits", data="all"),),
    )
    experiment.data.folder, experiment.data.row_length = str(tmp_path), 16
    run = build(experiment, tmp_path / "cache")
    student = first(run, run.teacher.params)
    table = student["embeddings"]["word_embeddings"]["embedding"]
    teacher = run.teacher.params["embeddings"]["word_embeddings"]["embedding"]
    assert 0 < len(table) == run.student.model.config.vocabulary_size < len(teacher)
    np.testing.assert_array_equal(table, teacher[run.teacher.remap])
    shapes = jax.eval_shape(run.student.model.init_params, jax.random.key(0))
    assert jax.tree.map(np.shape, student) == jax.tree.map(np.shape, shapes)


@pytest.mark.parametrize("given", ["tokenizer", "checkpoint", "the teacher's"])
def test_a_student_reads_its_own_subwords_where_they_are_not_the_teachers(
    tmp_path: Path, given: str
) -> None:
    experiment = write_teacher(tmp_path, ROBERTA)
    experiment.plan = (Stage(name="logits", loss="logits"),)
    own = train_tokenizer(tmp_path / "own")
    if given == "checkpoint":
        task = Task("tagging", ("B-PER", "O"))
        experiment.student.checkpoint = str(make_folder(tmp_path / "student", "bert", task, own))
    else:
        name = "own" if given == "tokenizer" else "tokenizer"
        experiment.student.tokenizer = str(tmp_path / name)
    run = build(experiment, tmp_path / "cache")
    labelled = {"train", "dev", "test"}
    if given == "the teacher's":
        assert run.teacher.unit is Unit.SUBWORD
        assert run.student.tokenizer is run.teacher.tokenizer
        assert set(run.teacher_texts) == labelled
        return
    assert run.teacher.unit is Unit.WORD
    assert run.student.model.config.vocabulary_size == own.vocabulary_size
    assert set(run.teacher_texts) == {*labelled, "transfer"}
    for texts, tokenizer in (
        (run.texts["transfer"], own),
        (run.teacher_texts["transfer"], run.teacher.tokenizer),
    ):
        encoding = tokenizer.backend.encode(["the", "large", "teacher"], is_pretokenized=True)
        assert texts.subwords.tokens[: texts.subwords.start[1]].tolist() == encoding.ids


@pytest.mark.parametrize("short", ["teacher", "student"])
def test_a_model_with_fewer_rows_than_its_tokenizer_has_subwords_is_refused(tmp_path, short: str):
    # Beyond the table a look-up answers with what is no number, and nothing says so.
    tokenizer = train_tokenizer(tmp_path / "tokenizer")
    for name in ("teacher", "student"):
        make_folder(tmp_path / name, "bert", TAGGING, tokenizer)
    model = make_model("bert", TAGGING, tokenizer.vocabulary_size - 1)
    save_model(tmp_path / short, model, draw_params(model), TAGGING, tokenizer, {})
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text("Anna went to Berlin\tB-PER O O B-LOC\n")
    experiment = Experiment(
        dtype="float32",
        teacher=Teacher(model=str(tmp_path / "teacher")),
        student=Student(kind="transformer", checkpoint=str(tmp_path / "student")),
        plan=(Stage(name="logits", loss="logits", data="all"),),
    )
    experiment.data.folder, experiment.data.row_length = str(tmp_path), 16
    with pytest.raises(InputError, match=f"embeddings only .* rows: .* {short}\\."):
        build(experiment, tmp_path / "cache")
