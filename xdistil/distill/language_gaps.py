"""Languages that are drawn more often the further the student is behind its teacher in them.

A stage with `gap_weight` a draws a language 1 + a * gap / mean gap times as often as it would
otherwise; an epoch keeps its number of rows. The gap is the teacher's score on dev less that of the
student's parameters before the first step of a stage run, at least 0. So each stage run of a
gradual stage has gaps of its own, and none changes them on the way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xdistil.data.examples import UNKNOWN_LANGUAGE, Example
from xdistil.data.packing import PackedTexts
from xdistil.data.sampling import weigh_rows
from xdistil.data.streamed import number_languages
from xdistil.distill.stages import StageRun, list_trained
from xdistil.errors import InputError
from xdistil.evaluation.results import LanguageScoreName, Scores

_SHOWN = 5  # weights at either end that the log lists


@dataclass(frozen=True)
class TeacherScores:
    """What the gaps of a student are measured from."""

    dev: Scores
    score: LanguageScoreName  # the one of a language that counts

    def weigh(self, student: Scores, strength: float, texts: PackedTexts) -> dict[str, float]:
        """1 + strength * gap / mean gap of each known language of the texts.

        A language without a score on dev has the mean gap. Where no language has a gap, all weights
        are 1.
        """
        teacher, own = self._list(self.dev), self._list(student)
        names = list_known(texts.examples)
        gaps = {
            name: max(teacher[name] - own[name], 0.0)
            for name in names
            if name in teacher and name in own
        }
        mean = sum(gaps.values()) / len(gaps) if gaps else 0.0
        if not mean:
            return dict.fromkeys(names, 1.0)
        return {name: 1 + strength * gaps.get(name, mean) / mean for name in names}

    def _list(self, scores: Scores) -> dict[str, float]:
        languages = scores["per_language"].items()
        return {name: value for name, each in languages if (value := each[self.score]) is not None}


def list_known(examples: Sequence[Example]) -> list[str]:
    """The languages of texts, in the order of the alphabet, without texts of no language."""
    return sorted(set(number_languages(examples)[0]) - {UNKNOWN_LANGUAGE})


def draw_by(texts: PackedTexts, weights: Mapping[str, float]) -> PackedTexts:
    """The texts, whose languages are drawn so many times as often as before.

    Args:
        texts: in rows by language.
        weights: of each known language; texts without a language are read as before.
    """
    names = sorted(number_languages(texts.examples)[0])
    factors = np.array([weights.get(name, 1.0) for name in names])
    fixed = np.array([name not in weights for name in names])
    rows = texts.rows
    return replace(texts, rows=replace(rows, quota=weigh_rows(rows.quota, factors, fixed)))


def describe_weights(weights: Mapping[str, float]) -> str:
    """The largest and the smallest in words, for the log."""
    ordered = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))
    told = [f"{name} {weight:.2f}" for name, weight in ordered]
    if len(told) > 2 * _SHOWN + 1:
        told = [*told[:_SHOWN], "...", *told[-_SHOWN:]]
    return f"languages weigh by their gap to the teacher on dev: {', '.join(told)}"


def choose_weighing(
    stages: Sequence[StageRun], starts_trained: bool, dev: Sequence[Example]
) -> tuple[StageRun, ...]:
    """The stage runs, those marked that weigh languages.

    These are the runs of stages with `gap_weight` before which a head was trained: until then the
    student has no scores.

    Args:
        starts_trained: whether the student begins with a head that was trained.
        dev: whose scores are compared.

    Raises:
        InputError: a stage has no such run, or its texts or dev have fewer than two known
            languages.
    """
    chosen = [
        replace(stage, weighs_languages=bool(stage.config.gap_weight) and trained)
        for stage, trained in zip(stages, list_trained(stages, starts_trained), strict=True)
    ]
    for stage in stages:
        field = f"{stage.place}.gap_weight is {stage.config.gap_weight:g}"
        if not stage.config.gap_weight:
            continue
        if not any(each.weighs_languages for each in chosen if each.place == stage.place):
            gradual = f", or {stage.place}.unfreeze=gradual" if stage.trains_head else ""
            raise InputError(
                f"{field}, but no stage run before it trains the head, so the student has no "
                f"scores yet: set it in a later stage{gradual}."
            )
        for name, examples in (("dev", dev), (stage.texts, stage.train.examples)):
            if (count := len(list_known(examples))) < 2:
                raise InputError(
                    f"{field}, but the texts of {name} have {count} known "
                    f"language{'' if count == 1 else 's'} to weigh: set it to 0, or name the "
                    "language of each text, as docs/data.md describes."
                )
    return tuple(chosen)
