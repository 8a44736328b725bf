"""What `build` makes before the first step: texts in subwords, the teacher and the student."""

import dataclasses
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.data.test_tokenizer import make_byte_bpe, make_unigram
from tests.deploy.folders import TAGGING, draw_params, make_folder, make_model, train_tokenizer
from tests.distill.small import same
from tests.models.samples import (
    BERT,
    DEBERTA,
    ROBERTA,
    make_encoder,
    make_params,
    make_tiny_tokenizer,
)
from xdistil.config import Experiment, Stage, Student, Teacher
from xdistil.data.examples import Task
from xdistil.data.streamed import JoinedExamples
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.errors import InputError
from xdistil.experiment.build import Run, build
from xdistil.experiment.dry_run import describe_data, describe_plan
from xdistil.experiment.inputs import fingerprint_inputs
from xdistil.experiment.shared_texts import find_packed, hold_packed
from xdistil.experiment.training import first_params
from xdistil.models.families.bert import EncoderConfig
from xdistil.models.hf.folder import load_model, save_model
from xdistil.models.types import Params
from xdistil.plans import v3
from xdistil.student.design import with_dropout
from xdistil.student.embeddings import pca_embeddings, svd_embeddings
from xdistil.student.layer_selection import keep_layers
from xdistil.teacher.interface import Unit

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


def write_teacher(folder: Path, config: EncoderConfig) -> Experiment:
    """Sentences of words, a teacher that was never trained, and v3's plan for a student of its
    number of heads."""
    tags = "\t".join(["the teacher reads the student", "B-PER O O O O"])
    for name in ("train", "dev", "test"):
        (folder / f"{name}.tsv").write_text(f"{tags}\n" * 3)
    (folder / "transfer.txt").write_text("the large teacher\n" * 4)
    task = Task("tagging", ("B-PER", "O"))
    model = make_encoder(config, "tagging", 2)
    save_model(folder / "model", model, make_params(model), task, make_tiny_tokenizer(), {})
    # The tokenizer in another folder, as Multilingual-MiniLM's is.
    kind = "deberta-v2" if config is DEBERTA else "xlm-roberta"
    make_unigram(kind).save_pretrained(folder / "tokenizer")
    (folder / "tokenizer" / "config.json").write_text(json.dumps({"model_type": kind}))
    experiment = Experiment(
        dtype="float32",
        teacher=Teacher(model=str(folder / "model"), tokenizer=str(folder / "tokenizer")),
        student=Student(
            kind="transformer", embedding_size=6, hidden_size=6 * config.heads, layers=1
        ),
        plan=v3(),
    )
    experiment.student.heads = config.heads
    experiment.data.folder, experiment.data.row_length = str(folder), 16
    return experiment


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


BYTES = dataclasses.replace(ROBERTA, model_type="roberta", vocabulary_size=330, padding_id=1)


def write_teacher_of(config: EncoderConfig, folder: Path) -> Experiment:
    """The same, the student being a copy of the teacher, and BYTES with RoBERTa's tokenizer."""
    experiment = write_teacher(folder, config)
    if config is BYTES:
        make_byte_bpe("roberta").save_pretrained(folder / "tokenizer")
        (folder / "tokenizer" / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    loaded, tokenizer = load_model(str(folder / "model")), load_tokenizer(str(folder / "tokenizer"))
    save_model(folder / "own", loaded.model, loaded.params, loaded.task, tokenizer, {})
    experiment.student.checkpoint = str(folder / "own")
    return experiment


def name_rows(tokenizer: Tokenizer, params: Params) -> dict[str, list[float]]:
    """The word embedding of every subword."""
    table = params["embeddings"]["word_embeddings"]["embedding"]
    return {subword: table[id].tolist() for subword, id in tokenizer.backend.get_vocab().items()}


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


def first(run: Run, trained: Params) -> Params:
    """The student's first parameters where fine-tuning made those of the teacher `trained`."""
    return first_params(run, dataclasses.replace(run.teacher, params=trained))


@pytest.mark.parametrize("start", ["finetuned", "pretrained"])
@pytest.mark.parametrize("config", [BERT, DEBERTA], ids=lambda c: c.model_type)
def test_a_student_of_its_teachers_layers_is_a_shallower_teacher(
    config: EncoderConfig, start: str, tmp_path: Path
) -> None:
    experiment = write_teacher(tmp_path, config)
    experiment.student.embedding_size = 0
    experiment.student.keep_layers, experiment.student.start = "1", start
    run = build(experiment, tmp_path / "cache")
    shape = dataclasses.replace(config, layers=1)
    assert run.student.model == with_dropout(make_encoder(shape, "tagging", 2), 0.2)
    pretrained = run.teacher.params
    trained = make_params(run.teacher.model, seed=5)
    origin = trained if start == "finetuned" else pretrained
    student = first(run, trained)
    assert same(student, keep_layers(origin, (1,)))
    told = describe_plan(run)
    word = {"finetuned": "fine-tuned", "pretrained": "pre-trained"}[start]
    assert f"student layers: 1 (counted from 0) of the 2 of the {word} teacher" in told


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


@pytest.mark.parametrize("start", ["finetuned", "pretrained"])
def test_word_embeddings_start_as_the_pca_of_either_teacher(start: str, tmp_path: Path) -> None:
    experiment = write_teacher(tmp_path, BERT)
    experiment.student.embeddings, experiment.student.start = "pca", start
    run = build(experiment, tmp_path / "cache")
    trained = make_params(run.teacher.model, seed=5)
    origin = trained if start == "finetuned" else run.teacher.params
    rows = origin["embeddings"]["word_embeddings"]["embedding"]
    table = first(run, trained)["embeddings"]["word_embeddings"]["embedding"]
    np.testing.assert_array_equal(table, pca_embeddings(rows[: len(table)], 6))


@pytest.mark.parametrize("width", [6, 20])
def test_subwords_without_a_text_vector_start_from_the_teacher_or_at_random(
    width: int, tmp_path: Path
) -> None:
    """As rows of the SVD, in the size of the vectors, where the teacher is wide enough (18);
    otherwise at random and smaller by sqrt(width)."""
    experiment = write_teacher(tmp_path, BERT)
    student = experiment.student
    student.embeddings, student.embedding_size = "vectors", width
    student.vectors = str(tmp_path / "text.vec")
    numbers = " ".join(str(3.0 + i) for i in range(width))
    (tmp_path / "text.vec").write_text(f"2 {width}\nthe {numbers}\nteacher {numbers}\n")
    run = build(experiment, tmp_path / "cache")
    subword = run.student.tokenizer.backend.token_to_id("▁the")
    start = first(run, run.teacher.params)
    table = start["embeddings"]["word_embeddings"]["embedding"]
    np.testing.assert_array_equal(table[subword], np.arange(3.0, 3.0 + width))
    others = np.delete(table, subword, axis=0)
    assert np.isfinite(others).all()
    size = np.sqrt((np.arange(3.0, 3.0 + width) ** 2).mean())
    if width > 18:
        size /= np.sqrt(width)
    assert np.sqrt((others**2).mean()) == pytest.approx(size, rel=0.2)
    if width == 6:
        rows = run.teacher.params["embeddings"]["word_embeddings"]["embedding"]
        svd = np.delete(svd_embeddings(rows[: len(table)], width), subword, axis=0)
        np.testing.assert_allclose(others / others[0, 0], svd / svd[0, 0], rtol=1e-4)
    told = " ".join(describe_plan(run).split())
    assert f"1 of {len(table)} subwords" in told
    assert "the 2 words of" in told
    assert ("from the SVD of the fine-tuned" in told) == (width == 6)


def test_text_vectors_of_another_width_are_refused_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    experiment = write_teacher(tmp_path, BERT)
    experiment.student.embeddings = "vectors"
    experiment.student.vectors = str(tmp_path / "text.vec")
    (tmp_path / "text.vec").write_text("the 1 2 3 4\n")
    with pytest.raises(InputError, match=r"text\.vec:1: the vectors are 4 wide .* embeddings 6"):
        build(experiment, tmp_path / "cache")


def test_a_change_of_the_text_vectors_is_a_change_of_the_run(tmp_path: Path) -> None:
    experiment = write_teacher(tmp_path, BERT)
    experiment.student.embeddings, experiment.student.embedding_size = "vectors", 2
    experiment.student.vectors = str(tmp_path / "text.vec")
    found = []
    for number in (1, 2):
        (tmp_path / "text.vec").write_text(f"the 1 {number}\n")
        run = build(experiment, tmp_path / "cache")
        found.append(fingerprint_inputs(run, tmp_path / "cache"))
    assert {name for name in found[0] if found[0][name] != found[1][name]} == {"student.vectors"}


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
