"""Values that are possible alone, but not together: one sentence that names them."""

import pytest

from tests.validation.experiments import crf, make, put, raw_texts
from xdistil.config import Baseline
from xdistil.errors import InputError
from xdistil.validation.experiment import validate


def test_texts_and_a_teacher_that_is_ready_suffice():
    experiment = make()
    raw_texts()(experiment)
    validate(experiment)


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


def test_frozen_word_embeddings_have_no_projection_to_train():
    experiment = make(train_embeddings=False, train_embedding_projection=True)
    with pytest.raises(InputError, match="train_embeddings=False freezes the word embeddings: set"):
        validate(experiment)


def test_states_are_projected_by_a_projection_that_is_trained():
    with pytest.raises(
        InputError, match=r"False trains no projection: set student\.project_states="
    ):
        validate(make(project_states=True))
    validate(make(project_states=True, train_embedding_projection=True))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "bilstm"}, "set student.kind=transformer"),
        ({"checkpoint": "folder"}, "student.checkpoint is 'folder', but student.keep_layers"),
        ({"embeddings": "svd"}, "set student.embeddings=''"),
        ({"train_embedding_projection": True}, "set student.train_embedding_projection=False"),
    ],
)
def test_a_student_of_its_teachers_layers_has_no_other_start(fields, words):
    own = {"kind": "transformer", "embedding_size": 0, "keep_layers": "0,5", "hidden_size": 50}
    validate(make(**own))  # whose width and heads are the teacher's
    with pytest.raises(InputError) as caught:
        validate(make(**{**own, **fields}))
    assert words in str(caught.value)


def test_baselines_have_different_names():
    experiment = make()
    experiment.baselines = (Baseline(), Baseline(name="half"), Baseline())
    with pytest.raises(
        InputError, match=r"^baselines\[2\]\.name is 'labels only', as that of base"
    ):
        validate(experiment)
    experiment.baselines[2].name = "a tenth"
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
