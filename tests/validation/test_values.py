"""Every value that can be checked alone: one sentence that names its field for each mistake."""

import math

import pytest

from tests.validation.experiments import make, put
from xdistil.config import Baseline, Stage
from xdistil.errors import InputError
from xdistil.plans import d42, labels_only, v3
from xdistil.validation.experiment import validate


def test_the_default_parts_are_valid():
    for stages in (d42(), v3(), labels_only()):
        experiment = make()
        experiment.plan = stages
        validate(experiment)
    validate(make(kind="transformer", embedding_size=0, hidden_size=64, checkpoint="folder"))


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "plan",
            d42,
            "plan is the function d42, which is not called: it must be a tuple of Stage.",
        ),
        ("plan", [Stage()], "plan is [Stage("),
        ("plan", "d4.2", "plan is 'd4.2': it must be a tuple of Stage."),
        ("plan", Stage(), "plan is Stage("),
        ("plan", (Stage(), "d4.2"), "plan[1] is 'd4.2': it must be a Stage."),
        ("plan", (d42(),), "plan[0] is (Stage("),
        ("baselines", Baseline(), "baselines is Baseline("),
        ("data", None, "data is None: it must be a Data."),
    ],
)
def test_what_python_lets_one_set_is_checked(path, value, sentence):
    experiment = make()
    put(path, value)(experiment)
    with pytest.raises(InputError) as caught:
        validate(experiment)
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("teacher.family", "roberta"),
        ("batch_size", 0),
        ("batch_size", -3),
        ("batch_size", 2.5),
        ("batch_size", True),
        ("log_every", 0),
        ("eval_every", -1),
        ("seed", -1),
        ("seed", "1"),
        ("dtype", "float16"),
        ("speed_seconds", math.inf),
        ("data.row_length", 4),
        ("data.row_length", -64),
        ("data.max_length", 65),
        ("data.max_length", 3),
        ("data.limit", -1),
        ("data.transfer_limit", 1.5),
        ("data.temperature", 0.9),
        ("data.dev_fraction", 1.0),
        ("data.dev_fraction", -0.1),
        ("data.dev_fraction", math.nan),
        ("data.scheme", "bilbo"),
        ("data.task", "ner"),
        ("data.draw", "last"),
        ("data.columns", "txet:1"),
        ("data.columns", "text:1,text:2"),
        ("data.columns", "text:,label:2"),
        ("data.columns", "text:1"),
        ("data.repair", 1),
        ("data.repair", "yes"),
        ("data.folder", None),
        ("data.languages", 3),
        ("export", "tflite"),
        ("teacher.hidden_size", 0),
        ("teacher.finetune", 0),
        ("teacher.vocabulary", "some"),
        ("teacher.plan[0].lr", math.nan),
        ("teacher.plan[0].epochs", 0.0),
        ("student.kind", "lstm"),
        ("student.vocabulary", "some"),
        ("student.embeddings", "glove"),
        ("student.start", "trained"),
        ("student.keep_layers", 2),
        ("student.min_count", 0),
        ("student.vocabulary_size", -1),
        ("student.layers", 0),
        ("student.heads", -1),
        ("student.hidden_size", 0),
        ("student.embedding_scale", -0.5),
        ("student.embedding_scale", math.nan),
        ("student.embedding_scale", math.inf),
        ("student.dropout", 1.0),
        ("student.dropout", -0.5),
        ("student.embedding_size", -16),
        ("plan[0].lr", -1e-3),
        ("plan[0].lr", 0.0),
        ("plan[1].lr", math.inf),
        ("plan[1].lr", "fast"),
        ("plan[1].epochs", 0.0),
        ("plan[1].temperature", 0.0),
        ("plan[1].warmup", 1.0),
        ("plan[1].mask", 1.0),
        ("plan[1].mask", -0.1),
        ("plan[2].label_fraction", 0.0),
        ("plan[2].label_fraction", 1.5),
        ("plan[1].logits_weight", 0.0),
        ("plan[1].logits_weight", -1.0),
        ("plan[0].loss", "representations"),
        ("plan[0].loss", ""),
        ("plan[1].loss", "logits+logits"),
        ("plan[1].loss", "logits,labels"),
        ("plan[0].data", "dev"),
        ("plan[0].unfreeze", "slowly"),
        ("plan[0].schedule", "step"),
        ("plan[0].keep", "worst"),
        ("plan[0].keep", "first"),
        ("plan[0].sampling", "hard"),
        ("plan[0].hidden_loss", "l1"),
        ("plan[0].projections", "none"),
        ("plan[0].attention_loss", "cosine"),
        ("plan[0].relation_heads", -1),
        ("plan[0].relation_heads", 2.0),
        ("plan[1].logits_loss", "ce"),
        ("plan[2].labels_loss", "mse"),
        ("plan[1].patience", -1),
        ("plan[1].unfreeze_every", -1),
        ("plan[1].name", ""),
        ("plan[1].name", "a/b"),
        ("baselines[0].label_fraction", 0.0),
        ("baselines[0].lrs", ""),
        ("baselines[0].lrs", "1e-3,fast"),
        ("baselines[0].lrs", "1e-3,-1"),
        ("baselines[0].lrs", "nan"),
        ("baselines[0].lrs", "1e-3,1e-3"),
        ("baselines[0].name", ""),
        ("baselines[0].name", "student"),
        ("teacher.shared_folder", __file__),
        ("teacher.cache_folder", __file__),
        ("baselines[0].patience", -1),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_field(path, value):
    experiment = make()
    put(path, value)(experiment)
    with pytest.raises(InputError) as caught:
        validate(experiment)
    sentence = str(caught.value)
    assert path in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_whole_numbers_are_numbers_and_not_the_other_way_round():
    experiment = make()
    put("plan[0].epochs", 2)(experiment)
    validate(experiment)
