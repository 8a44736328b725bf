"""Plans of the papers, and recipes: the experiments of configs/. This package imports no JAX.

A plan is a tuple of `config.Stage`. A recipe is a function from the name of a variant to an
`Experiment`. Its purpose, cost and expected scores are in configs/, in the file of the same name.
Every call returns new objects, so that a config may change them.
"""

from xdistil.plans.generated import quickstart
from xdistil.plans.many_languages import manylang, multilingual
from xdistil.plans.named import (
    PLANS,
    annotators,
    annotators_gold,
    d1,
    d2,
    d31,
    d32,
    d41,
    d42,
    labels_only,
    minilmv2,
    pkd,
    tinybert,
    v3,
    without_labels,
)
from xdistil.plans.tasks import classify, ner

__all__ = [
    "PLANS",
    "RECIPES",
    "annotators",
    "annotators_gold",
    "classify",
    "d1",
    "d2",
    "d31",
    "d32",
    "d41",
    "d42",
    "labels_only",
    "manylang",
    "minilmv2",
    "multilingual",
    "ner",
    "pkd",
    "quickstart",
    "tinybert",
    "v3",
    "without_labels",
]

RECIPES = {  # --config=xdistil:NAME:VARIANT
    "quickstart": quickstart,
    "ner": ner,
    "classify": classify,
    "manylang": manylang,
    "multilingual": multilingual,
}
