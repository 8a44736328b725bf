"""Where the parameters of a student start: its teacher's layers or embeddings, or text vectors."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.distill.small import same
from tests.experiment.untrained_teacher import first, name_rows, write_teacher
from tests.models.samples import BERT, DEBERTA, make_encoder, make_params
from xdistil.data.tokenizer import load_tokenizer
from xdistil.errors import InputError
from xdistil.experiment.build import build
from xdistil.experiment.dry_run import describe_plan
from xdistil.experiment.inputs import fingerprint_inputs
from xdistil.experiment.training import start_student
from xdistil.models.families.bert import EncoderConfig
from xdistil.student.design import with_dropout
from xdistil.student.embeddings import pca_embeddings, svd_embeddings
from xdistil.student.layer_selection import keep_layers


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


@pytest.mark.parametrize("start", ["finetuned", "pretrained"])
def test_the_embeddings_whose_projection_is_trained_are_those_that_it_starts_from(
    start: str, tmp_path: Path
) -> None:
    """Each subword has its row of the teacher, all scaled to a root mean square of 0.2."""
    experiment = write_teacher(tmp_path, BERT)
    experiment.student.train_embedding_projection, experiment.student.start = True, start
    experiment.student.vocabulary, experiment.student.vocabulary_size = "seen", 30
    run = build(experiment, tmp_path / "cache")
    trained = make_params(run.teacher.model, seed=5)
    origin = trained if start == "finetuned" else run.teacher.params
    found = start_student(run, dataclasses.replace(run.teacher, params=trained)).projected
    teachers = name_rows(load_tokenizer(experiment.teacher.tokenizer), origin)
    kept = run.student.tokenizer.backend.get_vocab()
    assert found is not None
    assert len(found) == len(kept) < len(teachers)
    rows = np.array([teachers[subword] for subword in sorted(kept, key=kept.__getitem__)])
    np.testing.assert_allclose(found, 0.2 * rows / np.sqrt(np.square(rows).mean()), rtol=1e-5)


def test_projected_states_stand_beside_the_word_embeddings(tmp_path: Path) -> None:
    """Without their mean, and scaled to a root mean square of 0.2 by themselves."""
    experiment = write_teacher(tmp_path, BERT)
    experiment.student.train_embedding_projection = experiment.student.project_states = True
    run = build(experiment, tmp_path / "cache")
    size = run.student.tokenizer.vocabulary_size
    states = np.random.default_rng(0).normal(3.0, 2.0, (size, 18)).astype(np.float32)
    alone = start_student(run, run.teacher).projected
    found = start_student(run, run.teacher, states=states).projected
    assert found is not None
    np.testing.assert_array_equal(found[:, :18], alone)
    rows = found[:, 18:]
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
    assert np.sqrt(np.square(rows).mean()) == pytest.approx(0.2, rel=1e-5)
    centred = states - states.mean(axis=0)
    np.testing.assert_allclose(rows / rows[0, 0], centred / centred[0, 0], rtol=1e-3)


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
