"""A plan as the loop runs it: its course, its checkpoints, the scores on the way."""

from collections.abc import Callable, Iterator
from typing import Any

from xdistil.distill.checkpoint import Checkpoints
from xdistil.distill.course import Course, Leg, Source
from xdistil.distill.loop import Outcome, run_plan
from xdistil.evaluation import metrics
from xdistil.experiment.answers import answer
from xdistil.experiment.build import Texts
from xdistil.experiment.setting import Setting
from xdistil.models.hf.folder import Model
from xdistil.models.types import Params
from xdistil.runtime.mesh import replicate, shard_params
from xdistil.teacher.model_teacher import Reader


def without_signals(texts: Texts) -> Source:
    """Texts with nothing of a teacher."""
    return Source(texts.subwords, texts.rows, {})


def score_texts(setting: Setting, model: Model, texts: Texts, params: Params) -> dict[str, Any]:
    """The scores of a model whose parameters lie on the devices."""
    answers = answer(setting, model, params, texts)
    return {**metrics.score(setting.prepared.corpus.task, texts.examples, answers)}


def make_course(
    setting: Setting,
    name: str,
    legs: tuple[Leg, ...],
    evaluate: Callable[[Params], dict[str, Any]],
    padding_id: int,
    teacher: Reader | None,
) -> Course:
    """What the legs of a plan share.

    Args:
        name: teacher, student or a baseline's.
        evaluate: the scores on dev of parameters that lie on the devices.
    """
    experiment = setting.experiment
    return Course(
        name=name,
        legs=legs,
        teacher=teacher,
        evaluate=evaluate,
        main_score=setting.main_score,
        batch_size=experiment.batch_size,
        padding_id=padding_id,
        eval_every=experiment.eval_every,
        log_every=experiment.log_every,
        seed=experiment.seed,
        mesh=setting.mesh,
        place=shard_params if name == "teacher" else replicate,
        cache=setting.workdir / "cache" / "features",
        diverged=setting.workdir / "diverged",
        stop=setting.stop,
        checkpoint_minutes=experiment.checkpoint_minutes,
    )


def run_course(setting: Setting, course: Course, params: Params) -> Iterator[Outcome]:
    """Runs a plan from its first parameters, or goes on where it was cut off, leg by leg."""
    checkpoints = Checkpoints(setting.workdir / "checkpoints" / course.name)
    try:
        yield from run_plan(course, params, checkpoints, setting.run_log)
    finally:
        checkpoints.close()
