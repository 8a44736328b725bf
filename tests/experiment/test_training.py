"""Which student a run keeps."""

from typing import Any

import pytest

from tests.distill.small import make_bilstm, make_teacher, make_texts
from xdistil.config import Stage
from xdistil.distill.stages import StageRun, plan_stages
from xdistil.experiment.training import is_best_head


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
