"""What `build` makes before the first step: texts in subwords, the teacher and the student."""

import dataclasses
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.experiment.untrained_teacher import write_teacher
from tests.models.samples import BERT, DEBERTA, ROBERTA, make_encoder, make_params
from xdistil.config import Baseline, Experiment, Stage, Student, Teacher
from xdistil.data.examples import Task
from xdistil.data.streamed import JoinedExamples
from xdistil.data.tokenizer import load_tokenizer
from xdistil.errors import InputError
from xdistil.experiment.build import Run, build
from xdistil.experiment.dry_run import describe_data, describe_plan
from xdistil.experiment.shared_texts import find_packed, hold_packed
from xdistil.models.families.bert import EncoderConfig
from xdistil.models.hf.folder import save_model

WORDS = ["apple", "river", "stone", "cloud", "green", "quiet", "seven", "light", "paper", "music"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Run:
    """Pairs cut to 13 subwords of text: `zebra` ends the first text and is always cut away.

    Whole it leaves the second text the longer one, which keeps the odd subword; fallen apart into
    letters it would make the first text the longer.
    """
    folder = tmp_path_factory.mktemp("pairs")
    draw = random.Random(0)

    def make(count: int, labelled: bool) -> str:
        lines = []
        for _ in range(count):
            first = [draw.choice(WORDS) for _ in range(8)]
            second = [draw.choice(WORDS) for _ in range(10)]
            text = f"{' '.join(first)} zebra\t{' '.join(second)}"
            lines.append(f"{text}\t{draw.choice(['yes', 'no'])}" if labelled else text)
        return "\n".join(lines) + "\n"

    for name, count in (("train", 30), ("dev", 6), ("test", 6)):
        (folder / f"{name}.tsv").write_text(make(count, True))
    (folder / "transfer.txt").write_text(make(20, False))
    (folder / "labels.tsv").write_text("yes\nno\n")
    experiment = Experiment(
        dtype="float32",
        teacher=Teacher(hidden_size=8, layers=1, heads=2, vocabulary_size=200),
        student=Student(embedding_size=4, hidden_size=6, vocabulary="seen"),
        plan=(Stage(name="logits", loss="logits", data="all"),),
    )
    experiment.data.folder, experiment.data.row_length = str(folder), 16
    return build(experiment, tmp_path_factory.mktemp("cache"))


def test_random_word_embeddings_start_smaller_than_a_teachers(pairs: Run, tmp_path):
    sizes = {}
    for kind in ("svd", "random"):
        student = replace(pairs.experiment.student, embeddings=kind)
        run = build(replace(pairs.experiment, student=student), tmp_path / "cache")
        params = run.student.params(pairs.teacher.params, seed=0)
        table = params["embeddings"]["word_embeddings"]["embedding"]
        sizes[kind] = np.sqrt(np.mean(np.square(table)))
    assert sizes == pytest.approx({"svd": 1.0, "random": 0.5})  # 1/sqrt(4)


@pytest.mark.parametrize(
    ("fields", "width", "baseline"),
    [
        ({}, 0, 0),
        ({"train_embedding_projection": True}, 8, 8),
        ({"train_embedding_projection": True, "project_states": True}, 16, 8),
    ],
)
def test_a_projection_is_trained_where_word_embeddings_are(
    pairs: Run, tmp_path, fields, width, baseline
):
    """Of the teacher's width, 8, in the last stage run, and in that of the baseline, which does
    not see the states, which are as wide."""
    experiment = replace(
        pairs.experiment,
        student=replace(pairs.experiment.student, **fields),
        plan=(replace(pairs.experiment.plan[0], unfreeze="gradual"),),
        baselines=(Baseline(lrs="1e-3"),),
    )
    run = build(experiment, tmp_path / "cache")
    assert run.stages[-1].trainable[-1] == "embeddings"
    runs = (*run.stages, *run.baselines[0].stages)
    assert [each.step.projected_width for each in runs] == [0, 0, 0, width, baseline]
    told = describe_plan(run)
    assert ("and the projection is trained" in told) == bool(width)


@pytest.mark.parametrize("kind", ["random", "contextual"])
def test_what_is_no_projection_of_the_teachers_embeddings_is_refused(pairs: Run, tmp_path, kind):
    student = replace(pairs.experiment.student, embeddings=kind, train_embedding_projection=True)
    with pytest.raises(InputError, match=f"they start from student.embeddings={kind}. Set"):
        build(replace(pairs.experiment, student=student), tmp_path / "cache")


def test_packed_texts_are_shared_by_runs_that_would_pack_the_same(pairs: Run, tmp_path):
    """Whatever changes subwords or rows is in the name of their folder."""
    experiment, task = pairs.experiment, pairs.corpus.task
    experiment = replace(
        experiment, teacher=replace(experiment.teacher, shared_folder=str(tmp_path))
    )
    tokenizer, other = pairs.student.tokenizer, pairs.teacher.tokenizer
    texts = pairs.corpus.train

    def find(
        learnt: bool = True,
        texts: Any = texts,
        tokenizer: Any = tokenizer,
        grouped: bool = False,
        **fields: Any,
    ):
        changed = replace(experiment, data=replace(experiment.data, **fields.pop("data", {})))
        return find_packed(replace(changed, **fields), task, tokenizer, texts, learnt, grouped)

    found = [
        find(),
        find(learnt=False),
        find(texts=texts[1:]),
        find(texts=JoinedExamples(texts, texts[:1])),
        find(texts=[replace(each, language="de") for each in texts]),
        find(texts=[replace(each, labels=None) for each in texts]),
        find(tokenizer=other),
        find(seed=1),
        find(grouped=True),
        *(find(data={name: value}) for name, value in (("row_length", 20), ("max_length", 9))),
        find(data={"temperature": 2.0}),
        find(
            data={"segmentation": "spaces" if experiment.data.segmentation == "units" else "units"}
        ),
    ]
    assert len(set(found)) == len(found)
    assert find(learnt=False, data={"temperature": 2.0}) == find(learnt=False)
    assert find(grouped=True, data={"temperature": 2.0}) == find(data={"temperature": 2.0})
    assert find(batch_size=3, plan=()) == find()
    with hold_packed(find()) as missing:
        assert missing
        find().mkdir()
    with hold_packed(find()) as missing:
        assert not missing


def test_a_run_reads_what_another_has_packed(pairs: Run, tmp_path, monkeypatch):
    teacher = replace(pairs.experiment.teacher, shared_folder=str(tmp_path / "shared"))
    experiment = replace(pairs.experiment, teacher=teacher)
    build(experiment, tmp_path / "a", weights=False)
    monkeypatch.setattr("xdistil.experiment.packer.save_packed", None)  # whose call would fail
    second = build(experiment, tmp_path / "b", weights=False)
    for name, texts in pairs.texts.items():
        for own, alone in ((second.texts[name].subwords, texts.subwords),
                           (second.texts[name].rows, texts.rows)):  # fmt: skip
            for field, values in vars(alone).items():
                assert np.array_equal(getattr(own, field), values)


@pytest.mark.parametrize("split", ["train", "transfer"])
def test_a_trimmed_vocabulary_cuts_texts_where_the_teachers_does(pairs: Run, split: str):
    student = pairs.texts[split].subwords
    assert set(np.diff(student.start)) == {16}
    examples = pairs.texts[split].examples
    whole = pairs.teacher.tokenizer.backend.encode_batch(
        [example.inputs for example in examples], add_special_tokens=False
    )
    subwords = student.tokens.reshape(len(examples), 16)
    for row, encoding in zip(pairs.teacher.remap[subwords], whole, strict=True):
        assert len(encoding.ids) == 19
        first, second = encoding.ids[:9], encoding.ids[9:]
        assert row[1:7].tolist() == first[:6]
        assert row[8:15].tolist() == second[:7]


def test_all_texts_are_transfer_and_train_without_labels(pairs: Run):
    texts = {name: pairs.texts[name] for name in ("transfer", "train", "all")}
    tokens = [texts[name].subwords.tokens for name in ("transfer", "train")]
    np.testing.assert_array_equal(texts["all"].subwords.tokens, np.concatenate(tokens))
    assert all(example.labels is None for example in texts["all"].examples)
    lines = describe_data(pairs).splitlines()
    assert lines[0].startswith("task: classification of pairs of texts")
    (header,) = (line for line in lines if line.startswith("language "))
    assert header.split()[:6] == ["language", "train", "dev", "test", "transfer", "subwords"]


@pytest.mark.parametrize("config", [BERT, ROBERTA, DEBERTA], ids=lambda c: c.model_type)
def test_a_teacher_of_every_family_is_made_ready(config: EncoderConfig, tmp_path: Path) -> None:
    run = build(write_teacher(tmp_path, config), tmp_path / "cache")
    assert run.teacher.model == make_encoder(config, "tagging", 2)
    begin, pad = ("[CLS]", "[PAD]") if config is DEBERTA else ("<s>", "<pad>")
    tokenizer = run.teacher.tokenizer
    assert tokenizer.pad == tokenizer.backend.token_to_id(pad)
    subwords = run.teacher_texts["train"].subwords
    assert set(subwords.tokens[subwords.start[:-1]]) == {tokenizer.backend.token_to_id(begin)}
    assert subwords.word[:8].tolist() == [-1, 0, 1, -1, -1, -1, -1, -1]  # ▁the ▁ t e a c h
    student = run.student.model.config
    assert (student.model_type, student.positions, student.padding_id) == (
        "electra",
        16,
        tokenizer.pad,
    )
    assert student.token_types == (config.token_types or 2)
    groups = ("head", "layer 1", "layer 0", "positions", "embeddings")
    assert run.finetuning[0].trainable == groups
    assert run.stages[0].step.losses.attention_map == ((1, 2),)


@pytest.mark.parametrize("of", ["teacher", "student"])
def test_a_row_has_no_more_subwords_than_a_roberta_has_positions(of: str, tmp_path: Path) -> None:
    experiment = write_teacher(tmp_path, ROBERTA)
    short = dataclasses.replace(ROBERTA, positions=15)
    model, task = make_encoder(short, "tagging", 2), Task("tagging", ("B-PER", "O"))
    tokenizer = load_tokenizer(experiment.teacher.tokenizer)
    save_model(tmp_path / "short", model, make_params(model), task, tokenizer, {})
    if of == "teacher":
        experiment.teacher.model = str(tmp_path / "short")
    else:
        experiment.student.checkpoint = str(tmp_path / "short")
    with pytest.raises(InputError, match=f"the {of}.* has only 15 positions"):
        build(experiment, tmp_path / "cache")
