"""A student of some of its teacher's layers: which they are, and that they are the teacher's."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.models.samples import (
    ALBERT,
    BERT,
    DEBERTA,
    MODERNBERT,
    make_encoder,
    make_params,
    make_segments,
    run,
)
from xdistil.errors import InputError
from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.models.types import Params
from xdistil.student.layer_selection import choose_layers, cut_layers, keep_layers


@pytest.mark.parametrize(
    ("text", "layers", "kept"),
    [
        ("0,5", 6, (0, 5)),
        (" 0, 2 ,4", 6, (0, 2, 4)),
        ("3", 6, (3,)),
        ("last:2", 6, (4, 5)),
        ("last:6", 6, (0, 1, 2, 3, 4, 5)),
        ("every:2", 6, (1, 3, 5)),
        ("every:3", 12, (2, 5, 8, 11)),
        ("every:4", 6, (3,)),
        ("every:1", 3, (0, 1, 2)),
    ],
)
def test_layers_are_named_from_0(text: str, layers: int, kept: tuple[int, ...]) -> None:
    assert choose_layers(text, layers) == kept


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,6", "0 to 5, each once"),
        ("5,0", "ascending"),
        ("2,2", "each once"),
        ("last:7", "6 layers: choose a number from 1 to 6"),
        ("every:0", "from 1 to 6"),
        ("first:2", "last:N, every:N"),
        ("last:", "last:N"),
        ("last:two", "last:N"),
        ("0,,5", "such as 0,5"),
        ("-1", "such as 0,5"),
        ("0-5", "such as 0,5"),
    ],
)
def test_layers_that_are_not_there_are_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=r"^student\.keep_layers is ") as caught:
        choose_layers(text, 6)
    assert repr(text) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("config", [BERT, DEBERTA], ids=lambda c: c.model_type)
def test_kept_layers_are_the_teachers_in_their_order(config: EncoderConfig) -> None:
    """With the layers between them turned off by hand, the teacher says what the student says."""
    teacher = make_encoder(dataclasses.replace(config, layers=4), "tagging", 3)
    params = make_params(teacher)
    student = cut_layers(teacher, (1, 3))
    assert student == make_encoder(dataclasses.replace(config, layers=2), "tagging", 3)
    kept = keep_layers(params, (1, 3))
    layers = params["encoder"]["layer"]
    by_hand = {**params["encoder"], "layer": {"0": layers["1"], "1": layers["3"]}}
    batch = make_segments()[2]
    ours = run(student, kept, batch)
    theirs = run(student, {**params, "encoder": by_hand}, batch)
    np.testing.assert_array_equal(ours.logits, theirs.logits)
    first = run(teacher, params, batch).hidden
    np.testing.assert_array_equal(ours.hidden[0], first[0])
    lowest = run(cut_layers(teacher, (0,)), keep_layers(params, (0,)), batch)
    np.testing.assert_allclose(lowest.hidden[1], first[1], atol=1e-6)


def test_what_is_kept_is_not_copied_and_the_rest_stays() -> None:
    params = make_params(make_encoder(BERT, "classification", 3))
    kept = keep_layers(params, (1,))
    theirs, ours = params["encoder"]["layer"]["1"], kept["encoder"]["layer"]["0"]
    assert jax.tree.structure(theirs) == jax.tree.structure(ours)
    assert all(a is b for a, b in zip(*map(jax.tree.leaves, (theirs, ours)), strict=True))
    assert set(kept) == set(params) == {"embeddings", "encoder", "pooler", "classifier"}
    assert set(params["encoder"]["layer"]) == {"0", "1"}


def test_layers_that_share_their_parameters_are_refused() -> None:
    with pytest.raises(InputError, match=r"an albert whose layers share their parameters"):
        cut_layers(make_encoder(ALBERT, "tagging", 3), (0,))


def test_kept_layers_of_modernbert_are_as_local_as_they_were() -> None:
    """The first layer, which norms nothing before its attention, cannot take another's place."""
    shape = dataclasses.replace(MODERNBERT, layers=4, local=(False, True, True, False))
    teacher = make_encoder(shape, "tagging", 3)
    assert cut_layers(teacher, (0, 2)).config.local == (False, True)
    assert cut_layers(teacher, (0, 3)).config.local == (False, False)
    with pytest.raises(InputError, match=r"keep_layers=2,3 leaves no modernbert"):
        cut_layers(teacher, (2, 3))


class UnlikeLayers(Encoder):
    """An encoder whose first layer has a parameter that the others have not."""

    def init_params(self, key: jax.Array) -> Params:
        params = super().init_params(key)
        layers = {**params["encoder"]["layer"]}
        layers["0"] = {**layers["0"], "extra": np.zeros(3)}
        return {**params, "encoder": {"layer": layers}}


def test_layers_that_are_not_alike_are_refused() -> None:
    teacher = UnlikeLayers(dataclasses.replace(BERT, layers=3))
    assert cut_layers(teacher, (0, 2)).config.layers == 2
    with pytest.raises(InputError, match=r"keep_layers=1,2 leaves no bert, whose layers"):
        cut_layers(teacher, (1, 2))
