"""Which student a run keeps."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.distill.small import make_bilstm, make_teacher, make_texts
from xdistil.config import Experiment, Stage, Student
from xdistil.data.examples import Example, Task
from xdistil.distill.language_gaps import TeacherScores
from xdistil.distill.stages import StageRun, plan_stages
from xdistil.errors import InputError
from xdistil.experiment.build import _check_worst, _weigh_languages, has_trained_head
from xdistil.experiment.training import is_best_head, score_teacher
from xdistil.teacher.file_teacher import FileTeacher
from xdistil.teacher.interface import NoTeacher


@pytest.fixture(scope="module")
def stages() -> tuple[StageRun, ...]:
    """The head is not trained by the first and the fourth."""
    plan = (
        Stage(name="a", loss="representation"),
        Stage(name="b", loss="logits"),
        Stage(name="c", loss="labels", data="train"),
        Stage(name="d", loss="representation"),
        Stage(name="e", loss="representation+labels", data="train"),
    )
    return plan_stages(plan, "plan", make_bilstm(), make_teacher(), make_texts())


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.9], False),  # of a head that no stage has trained
        ([0.9, 0.2], True),  # the first that means something
        ([0.0, 0.2, 0.3], True),
        ([0.0, 0.2, 0.2], False),  # equal: the earlier student stays
        ([0.0, 0.3, 0.2], False),
        ([0.0, 0.2, 0.1, 0.9], False),
        ([0.0, 0.2, 0.1, 0.9, 0.3], True),  # better than 0.2; 0.9 does not count
        ([0.0, 0.2, 0.4, 0.9, 0.3], False),
        ([0.0, None], True),  # dev without an entity: 0
        ([0.0, None, 0.1], True),
        ([0.0, 0.0, None], False),
    ],
)
def test_the_student_is_kept_that_was_best_after_a_stage_of_its_head(stages, scores, best):
    records: list[Any] = [{"dev": {"macro_f1": score, "micro_f1": 0.5}} for score in scores]
    assert is_best_head(records, stages, "macro_f1") is best


class Told(FileTeacher):
    """A file that answers every text with the same tags, or says why it cannot."""

    def __init__(self, answer: Any) -> None:
        object.__setattr__(self, "answer", answer)

    def predict(self, examples: Any) -> Any:
        return self.answer if isinstance(self.answer, str) else [self.answer] * len(examples)


DEV = [Example(("Anna",), (tag,), language) for tag, language in (("B-PER", "de"), ("O", "fr"))]


def make_run(stages: tuple[StageRun, ...]) -> Any:
    corpus = SimpleNamespace(task=Task("tagging", ("O", "B-PER")), dev=DEV)
    return SimpleNamespace(stages=stages, corpus=corpus)


def test_the_scores_of_a_file_are_what_gaps_are_measured_from(stages):
    session: Any = None
    assert score_teacher(make_run(stages), Told(("B-PER",)), session) is None
    weighed = (*stages[:2], replace(stages[2], weighs_languages=True))
    found = score_teacher(make_run(weighed), Told(("B-PER",)), session)
    assert isinstance(found, TeacherScores)
    assert found.score == "f1"
    assert {name: each["f1"] for name, each in found.dev["per_language"].items()} == {
        "de": 1.0,
        "fr": None,
    }


@pytest.mark.parametrize(
    ("teacher", "says"),
    [
        (NoTeacher(), "and there is no teacher to compare with: set it to 0."),
        (Told("it holds no logits"), "no scores on dev to compare with (it holds no logits): set"),
    ],
)
def test_gaps_to_a_teacher_without_scores_are_refused(stages, teacher, says):
    config = replace(stages[2].config, gap_weight=1.5)
    weighed = (*stages[:2], replace(stages[2], config=config))
    corpus: Any = SimpleNamespace(dev=DEV)
    with pytest.raises(InputError) as raised:
        _weigh_languages(corpus, teacher, weighed, False)
    assert str(raised.value).startswith("plan[2].gap_weight is 1.5, ")
    assert says in str(raised.value)


def test_a_student_that_starts_with_a_trained_head_has_gaps_at_once(stages):
    spoken = replace(stages[2].train, examples=DEV)
    first = replace(stages[2], config=replace(stages[2].config, gap_weight=1.0), train=spoken)
    corpus: Any = SimpleNamespace(dev=DEV)
    trained = (
        Student(kind="checkpoint", checkpoint="x"),
        Student(kind="transformer", keep_layers="last:2"),
    )
    for student in trained:
        starts_trained = has_trained_head(student)
        (found,) = _weigh_languages(corpus, Told(("O",)), (first,), starts_trained)
        assert found.weighs_languages
    for student in (Student(), replace(trained[1], start="pretrained")):
        starts_trained = has_trained_head(student)
        with pytest.raises(InputError, match="no stage run before it trains the head"):
            _weigh_languages(corpus, Told(("O",)), (first,), starts_trained)


def test_worst_languages_are_watched_where_there_are_many():
    """German has no entity, and so no score."""
    task, people = Task("tagging", ("O", "B-PER")), [f"x{number}" for number in range(20)]
    dev = [Example(("Anna",), ("B-PER",), language) for language in people]
    plain = Example(("Anna",), ("O",), "de")
    experiment = Experiment(plan=(Stage(name="a", loss="logits"),))
    few: Any = SimpleNamespace(task=task, dev=[plain, *dev[1:]])
    _check_worst(experiment, few)
    experiment.plan[0].keep = "worst"
    _check_worst(experiment, SimpleNamespace(task=task, dev=dev))
    with pytest.raises(InputError) as raised:
        _check_worst(experiment, few)
    assert str(raised.value) == (
        "plan[0].keep is worst, but dev has 19 languages with a score and 20 are needed: set "
        "plan[0].keep=best."
    )
