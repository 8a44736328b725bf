"""Every value that `validate` can check, one sentence that names its field for each mistake."""

import copy
import math
import pickle
import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from xdistil.config import (
    MADE,
    MADE_OF_TAGGED,
    PATHS,
    RENAMED,
    Baseline,
    Experiment,
    Stage,
    Student,
    expand_home,
    split_names,
    split_paths,
)
from xdistil.errors import InputError
from xdistil.plans import d42, labels_only, v3
from xdistil.validation.experiment import validate


def make(**student: Any) -> Experiment:
    shape = {"embedding_size": 16, **student}
    experiment = Experiment(plan=d42(), student=Student(**shape), baselines=(Baseline(),))
    experiment.data.folder = "somewhere"
    return experiment


def put(path: str, value: Any) -> Callable[[Experiment], None]:
    """A change of one field, written as on the command line."""

    def change(experiment: Experiment) -> None:
        part: Any = experiment
        *steps, last = path.replace("[", ".").replace("]", "").split(".")
        for step in steps:
            part = part[int(step)] if step.isdigit() else getattr(part, step)
        setattr(part, last, value)

    return change


def crf(**fields: Any) -> Callable[[Experiment], None]:
    """A last stage that learns sentences, with other values of its fields."""

    def change(experiment: Experiment) -> None:
        experiment.plan = (
            *experiment.plan[:2],
            replace(experiment.plan[2], labels_loss="crf", **fields),
        )

    return change


def raw_texts(**teacher: Any) -> Callable[[Experiment], None]:
    """Makes of it a run on texts alone, with a teacher from a folder."""

    def change(experiment: Experiment) -> None:
        put("data.folder", "")(experiment)
        put("data.transfer", "texts.txt")(experiment)
        for name, value in {"model": "a-folder", "finetune": False, **teacher}.items():
            put(f"teacher.{name}", value)(experiment)

    return change


def test_texts_and_a_teacher_that_is_ready_suffice():
    experiment = make()
    raw_texts()(experiment)
    validate(experiment)


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


def test_a_name_that_is_no_field_is_refused_where_it_is_set():
    experiment = make()
    for part, name, hint in (
        (experiment.data, "swaped", "Data.swaped (did you mean swapped?)"),
        (experiment, "sed", "Experiment.sed (did you mean seed?)"),
        (experiment.plan[0], "epoch", "Stage.epoch (did you mean epochs?)"),
    ):
        sentence = re.escape(f"There is no field {hint}.")
        with pytest.raises(InputError, match=sentence):
            setattr(part, name, 1)
        with pytest.raises(InputError, match=sentence):
            replace(part, **{name: 1})
        with pytest.raises(InputError, match=sentence):
            type(part)(**{name: 1})


def test_the_default_parts_are_valid():
    for stages in (d42(), v3(), labels_only()):
        experiment = make()
        experiment.plan = stages
        validate(experiment)
    validate(make(kind="transformer", embedding_size=0, hidden_size=64, checkpoint="folder"))


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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("data.folder", ""), "data.folder is empty: set"),
        (raw_texts(model=""), "data.transfer alone has no labels"),
        (raw_texts(finetune=True), "data.transfer alone has no labels"),
        (put("data.generate", 10), "data.folder and data.generate"),
        (put("plan", ()), "plan has no stage"),
        (put("teacher.plan", ()), "teacher.plan has no stage"),
        (put("teacher.plan[0].gap_weight", 1.0), "teacher.plan[0].gap_weight is 1, but it is the"),
        (put("plan[0].keep", "worst"), "plan[0].loss is 'representation', which does not train"),
        (put("plan[0].sampling", "doubtful"), "plan[0].loss is 'representation', which has no"),
        (put("teacher.plan[0].sampling", "doubtful"), "teacher.plan[0].sampling is doubtful, but"),
        (put("teacher.plan[0].loss", "logits"), "fine-tuned with loss=labels, and data=train or"),
        (
            put("plan[2].data", "transfer"),
            "plan[2].loss has labels, but plan[2].data=transfer has none",
        ),
        (
            put("plan[1].labels_loss", "crf"),
            "plan[1].labels_loss is crf, but plan[1].loss is 'logits'",
        ),
        (
            put("plan[0].logits_loss", "crf"),
            "plan[0].logits_loss is crf, but plan[0].loss is 'representation'",
        ),
        (
            crf(class_weights="balanced"),
            "plan[2].class_weights is 'balanced': set plan[2].labels_l",
        ),
        (crf(data="silver"), "plan[2].data=silver has the probabilities of several: set plan[2].l"),
        (put("teacher.plan[0].mask", 0.1), "teacher.plan[0].mask is 0.1, but words are hidden"),
        (put("teacher.heads", 3), "teacher.hidden_size is 128: it must be a multiple"),
        (put("student.embeddings", "checkpoint"), "needs a student.checkpoint"),
        (put("student.checkpoint", "folder"), "set student.kind=transformer"),
        (put("student.kind", "checkpoint"), "set student.checkpoint=FOLDER"),
        (put("student.embedding_size", 0), "a BiLSTM needs a width"),
        (put("student.keep_layers", "last:2"), "set student.embedding_size=0"),
        (put("student.start", "pretrained"), "set teacher.model, or student.start=finetuned"),
        (put("student.embeddings", "vectors"), "needs a file in student.vectors"),
        (put("student.vectors", "wiki.vec"), "set student.embeddings=vectors"),
        (put("student.min_count", 2), "student.min_count is 2, but student.vocabulary=all"),
        (put("student.vocabulary_size", 9), "student.vocabulary_size is 9, but"),
        (put("teacher.vocabulary", "seen"), "teacher.model, which is empty"),
    ],
)
def test_values_that_contradict_each_other_are_refused(change, words):
    experiment = make()
    change(experiment)
    with pytest.raises(InputError) as caught:
        validate(experiment)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "bilstm"}, "set student.kind=transformer"),
        ({"checkpoint": "folder"}, "student.checkpoint is 'folder', but student.keep_layers"),
        ({"embeddings": "svd"}, "set student.embeddings=''"),
    ],
)
def test_a_student_of_its_teachers_layers_has_no_other_start(fields, words):
    own = {"kind": "transformer", "embedding_size": 0, "keep_layers": "0,5", "hidden_size": 50}
    validate(make(**own))  # whose width and heads are the teacher's
    with pytest.raises(InputError) as caught:
        validate(make(**{**own, **fields}))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data.task": "single"}, "but data.task is single"),
        (
            {"teacher.signals": "folder", "student.tokenizer": "folder"},
            "but teacher.signals does not answer texts that are made",
        ),
        (
            {"teacher.labels": "file", "student.tokenizer": "folder"},
            "but teacher.labels does not answer texts that are made",
        ),
        (
            {"student.kind": "checkpoint", "student.checkpoint": "folder"},
            "but there is no teacher to answer them",
        ),
    ],
)
def test_made_texts_fit_the_task_and_are_answered_by_a_model(changes, words):
    experiment = make()
    for path, value in changes.items():
        put(path, value)(experiment)
    validate(experiment)
    for name in MADE_OF_TAGGED if "data.task" in changes else MADE:
        put(f"data.{name}", 5)(experiment)
        with pytest.raises(InputError) as caught:
            validate(experiment)
        assert str(caught.value).startswith(f"data.{name} is 5, {words}")
        put(f"data.{name}", 0)(experiment)


def test_baselines_have_different_names():
    experiment = make()
    experiment.baselines = (Baseline(), Baseline(name="half"), Baseline())
    with pytest.raises(
        InputError, match=r"^baselines\[2\]\.name is 'labels only', as that of base"
    ):
        validate(experiment)
    experiment.baselines[2].name = "a tenth"
    validate(experiment)


def test_made_texts_fit_into_memory():
    experiment = make()
    put("data.spliced", 10_000_000)(experiment)
    validate(experiment)
    put("data.spliced", 10_000_001)(experiment)
    with pytest.raises(
        InputError, match=r"^data\.spliced is 10000001: it must be at most 10000000"
    ):
        validate(experiment)


def test_words_may_be_replaced_in_texts_that_are_classified():
    experiment = make()
    put("data.task", "single")(experiment)
    put("data.replaced", 5)(experiment)
    validate(experiment)


@pytest.mark.parametrize("stored", ["signals", "labels"])
@pytest.mark.parametrize(
    ("embeddings", "words"),
    [("svd", "needs the embeddings of"), ("contextual", "needs the model of")],
)
def test_embeddings_do_not_start_from_a_teacher_that_is_no_model(stored, embeddings, words):
    experiment = make()
    put(f"teacher.{stored}", "file")(experiment)
    put("student.tokenizer", "folder")(experiment)
    validate(experiment)
    put("student.embeddings", embeddings)(experiment)
    with pytest.raises(InputError) as caught:
        validate(experiment)
    assert str(caught.value).startswith(f"student.embeddings={embeddings} {words} a teacher, which")
    assert f"teacher.{stored} does not have: set student.embeddings=random." in str(caught.value)


def test_a_transformers_width_divides_into_its_heads():
    with pytest.raises(InputError, match=r"student\.hidden_size is 50: it must be a multiple"):
        validate(make(kind="transformer", hidden_size=50, heads=4))


def test_the_heads_of_a_modernbert_from_scratch_have_an_even_width():
    experiment = make()
    put("teacher.hidden_size", 60)(experiment)  # 4 heads of 15
    validate(experiment)
    put("teacher.family", "modernbert")(experiment)
    with pytest.raises(InputError, match=r"hidden_size / teacher\.heads is 15.*must be even"):
        validate(experiment)


def test_the_shape_of_a_teacher_with_a_name_is_its_own():
    experiment = make()
    put("teacher.heads", 3)(experiment)
    put("teacher.model", "a-folder")(experiment)
    validate(experiment)


def test_stages_of_one_plan_have_different_names():
    """Their names are the keys of metrics and timings."""
    experiment = make()
    put("plan[2].name", "logits")(experiment)
    with pytest.raises(InputError, match=r"plan\[2\].name is 'logits', like plan\[1\].name"):
        validate(experiment)


def test_patience_needs_the_best_to_be_kept():
    """A stage that hands on its last parameters has nothing to return to."""
    experiment = make()
    put("plan[0].keep", "last")(experiment)
    with pytest.raises(InputError, match=r"plan\[0\].patience"):
        validate(experiment)
    put("plan[0].patience", 0)(experiment)
    validate(experiment)


def test_whole_numbers_are_numbers_and_not_the_other_way_round():
    experiment = make()
    put("plan[0].epochs", 2)(experiment)
    validate(experiment)


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [(kind, old, new) for kind, names in RENAMED.items() for old, new in names.items()],
)
def test_an_old_name_in_a_config_is_refused_by_its_new_one(kind, old, new):
    sentence = rf"^{kind.__name__}\.{old} is now {kind.__name__}\.{new}: use .*\.$"
    with pytest.raises(InputError, match=sentence):
        kind(**{old: "last"})
    part = kind()
    with pytest.raises(InputError, match=sentence):
        setattr(part, old, "last")
    with pytest.raises(InputError, match=sentence):
        replace(part, **{old: "last"})
    names = {field.name for field in fields(kind)}
    assert new in names
    assert old not in names
    assert copy.deepcopy(part) == pickle.loads(pickle.dumps(part)) == part


def test_defaults_are_not_shared_between_experiments():
    ours = Experiment()
    ours.teacher.plan[0].lr = 9.0
    ours.data.limit = 5
    assert Experiment().teacher.plan[0].lr == 5e-5
    assert Experiment().data.limit == 0
    assert Stage().loss == ""


def test_several_values_in_a_text_are_separated_by_commas():
    assert split_names(" en, de ,,fr") == ("en", "de", "fr")
    assert split_names("") == ()


def test_a_path_that_exists_may_contain_commas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("d1", "d1,seed=0", "d1,seed=1"):
        (tmp_path / name).mkdir()
    assert split_paths("d1,seed=0, d1,seed=1,d1") == ("d1,seed=0", "d1,seed=1", "d1")
    assert split_paths("d2,seed=0,,d1") == ("d2", "seed=0", "d1")
    assert split_paths(",") == ()


def test_a_tilde_at_the_beginning_of_a_path_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    experiment = make()
    for group, name in PATHS:
        setattr(getattr(experiment, group), name, "~/x")
    experiment.data.transfer = "de:~/a/*.txt, ~/b,en:c~,~"
    expanded = expand_home(experiment)
    assert experiment.data.folder == "~/x"
    assert expanded.data.transfer == "de:/home/anna/a/*.txt,/home/anna/b,en:c~,/home/anna"
    for group, name in PATHS:
        if name != "transfer":
            assert getattr(getattr(expanded, group), name) == "/home/anna/x"
    assert expand_home(make()) == make()
