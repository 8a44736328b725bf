"""The shape of a teacher from scratch."""

import jax
import pytest

from tests.models.samples import make_tiny_tokenizer
from xdistil.config import Teacher
from xdistil.data.examples import Task
from xdistil.models.encoder import Transformer
from xdistil.models.families.registry import FAMILIES
from xdistil.models.hf.folder import make_hollow
from xdistil.teacher.from_scratch import design_teacher

TASK = Task("tagging", ("B-PER", "I-PER", "O"))


def design(family: str, **shape: int) -> Transformer:
    return design_teacher(Teacher(family=family, **shape), make_tiny_tokenizer(), TASK, "float32")


def count_parameters(model: Transformer) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(make_hollow(model)))


def test_both_families_have_about_as_many_parameters_in_their_layers():
    sizes = {}
    for family in ("bert", "modernbert"):
        two, five = (count_parameters(design(family, layers=layers)) for layers in (2, 5))
        sizes[family] = (five - two) / 3
    # A layer of BERT: 4 H^2 of attention and 8 H^2 of feed-forward parts, and its 13 vectors of H:
    # 4 biases of attention, 5 of the feed-forward part (one has 4 H), 4 of its two norms.
    assert sizes["bert"] == 12 * 128**2 + 13 * 128
    # Of ModernBERT: 4 H^2, a gate and a value of 2 H each, back from 2 H, and two norms.
    assert sizes["modernbert"] == 4 * 128**2 + 6 * 128**2 + 2 * 128


def test_every_other_layer_of_a_modernbert_is_local_in_its_folder_too():
    config = design("modernbert", layers=3, hidden_size=64, heads=2).config
    family = FAMILIES[config.model_type]
    raw = family.write_config(config)
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    assert raw["layer_types"] == kinds
    assert (raw["local_attention"], raw["hidden_size"], raw["num_attention_heads"]) == (16, 64, 2)
    assert family.read_config(raw, "config.json") == config


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_padding_is_the_tokenizers(family):
    assert design(family).config.padding_id == make_tiny_tokenizer().pad
