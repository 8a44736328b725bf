"""The quality gate: whether a smaller file scores well enough to replace its model."""

import logging
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xdistil.data.examples import Example, Task
from xdistil.errors import RefusedError
from xdistil.evaluation.metrics import MAIN_SCORE, compute_f1, count_matches, score
from xdistil.evaluation.significance import paired_bootstrap

ALLOWED = 0.005  # loss of the main score, as a fraction
SIGNIFICANCE = 0.05  # over all languages; each gets an equal share (Bonferroni)
ENTITIES = 100  # gold entities, texts or labels of texts that a language needs to be tested alone
OTHERS = "others"  # the other languages, pooled
FEWEST = 100  # gold entities, texts or labels of texts of dev, below which the gate decides nothing
_UNITS = {"tagging": "entities", "classification": "texts", "multilabel": "labels of texts"}
_log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class Group:
    """A language, or the pooled small languages."""

    whole: float  # F1 (accuracy) of the float32 model
    small: float  # F1 (accuracy) of the file
    wanted: int  # gold entities, texts, or labels of texts
    p: float  # share of resamples in which the model is not better than the file
    worse: bool  # whether the file is significantly worse


@dataclass(frozen=True)
class Verdict:
    """The comparison of a file with its model on one set of sentences."""

    whole: float  # macro-F1 (accuracy, micro-F1 of labels) of the float32 model
    small: float  # macro-F1 (accuracy, micro-F1 of labels) of the file
    groups: dict[str, Group]
    scripts: dict[str, tuple[float, float, int]]  # F1 of the model, of the file, gold entities

    @property
    def passed(self) -> bool:
        """Whether the file loses at most ALLOWED and no language is significantly worse."""
        return self.whole - self.small <= ALLOWED and not self.worse

    @property
    def worse(self) -> list[str]:
        """The languages that are significantly worse."""
        return [name for name, group in self.groups.items() if group.worse]


def check_dev(task: Task, dev: Sequence[Example], allow_small: bool = False) -> None:
    """Checks that a dev set is large enough to tell a worse file from an equal one.

    Args:
        allow_small: warn instead.

    Raises:
        RefusedError: it has fewer than FEWEST gold entities, or texts or labels in classification.
    """
    counts = count_matches(task, dev, [example.labels or () for example in dev])
    found, unit = int(counts[:, 2].sum()), _UNITS[task.name]
    if found >= FEWEST:
        return
    sentence = (
        f"dev has {found} gold {unit}, too few to tell whether an int8 file is worse than its "
        f"model ({FEWEST} are needed)"
    )
    if not allow_small:
        raise RefusedError(
            f"model_quantized.onnx was not written: {sentence}: name a larger file, or accept this "
            "one with xdistil export --int8 --allow-small-dev."
        )
    _log.warning("%s: that the file passes says little", sentence)


def judge(
    task: Task,
    gold: Sequence[Example],
    whole: Sequence[tuple[str, ...]],
    small: Sequence[tuple[str, ...]],
) -> Verdict:
    """Compares the predictions of a model and of its smaller file on the same labelled examples."""
    name = MAIN_SCORE[task.name]
    ours, theirs = (count_matches(task, gold, predicted) for predicted in (whole, small))
    groups = _group(gold, ours[:, 2])
    share = SIGNIFICANCE / len(groups)
    return Verdict(
        whole=score(task, gold, whole)[name] or 0.0,
        small=score(task, gold, small)[name] or 0.0,
        groups={group: _compare(ours[at], theirs[at], share) for group, at in groups.items()},
        scripts={
            script: (_pool_f1(ours[at]), _pool_f1(theirs[at]), int(ours[at, 2].sum()))
            for script, at in _find_scripts(gold).items()
        },
    )


def _group(gold: Sequence[Example], wanted: np.ndarray) -> dict[str, np.ndarray]:
    """The indices of each language's examples; small languages form one group."""
    languages = np.array([example.language for example in gold])
    places = {name: np.flatnonzero(languages == name) for name in sorted(set(languages.tolist()))}
    groups = {name: at for name, at in places.items() if wanted[at].sum() >= ENTITIES}
    rest = [at for name, at in places.items() if name not in groups]
    return {**groups, OTHERS: np.concatenate(rest)} if rest else groups


def _compare(whole: np.ndarray, small: np.ndarray, significance: float) -> Group:
    p = paired_bootstrap(whole, small)
    return Group(_pool_f1(whole), _pool_f1(small), int(whole[:, 2].sum()), p, p < significance)


def _pool_f1(counts: np.ndarray) -> float:
    return float(compute_f1(counts.sum(axis=0)))


def _find_scripts(gold: Sequence[Example]) -> dict[str, np.ndarray]:
    """The indices of each script's examples; a language has the script of most of its letters."""
    letters: dict[str, Counter[str]] = {}
    for example in gold:
        letters.setdefault(example.language, Counter()).update("".join(example.inputs))
    scripts = {language: _find_script(counts) for language, counts in letters.items()}
    by_example = np.array([scripts[example.language] for example in gold])
    return {name: np.flatnonzero(by_example == name) for name in sorted(set(scripts.values()))}


def _find_script(letters: Counter[str]) -> str:
    """The first word of the letters' Unicode names, such as LATIN or CJK."""
    found: Counter[str] = Counter()
    for letter, count in letters.items():
        if letter.isalpha():
            found[unicodedata.name(letter, "UNKNOWN").split(" ")[0]] += count
    return found.most_common(1)[0][0] if found else "UNKNOWN"
