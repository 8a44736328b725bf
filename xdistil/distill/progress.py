"""How far a plan has come: the part of a checkpoint that is JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any, TypedDict

from xdistil.evaluation.results import Scores, StageRecord


class MeterState(TypedDict):
    """The sums of a meter since its last line of metrics."""

    seconds: float
    losses: dict[str, list[float]]  # (sum, count) by loss
    gradient_norm: float
    steps: int
    step: int
    rate: float


@dataclass
class Progress:
    """Where a plan stands; it changes with every step."""

    stage: int  # index of the stage run in its plan
    step: int = 0  # of this stage run
    total_step: int = 0  # of the plan; numbers the checkpoint
    evaluated: int = 0  # the last step that was
    best: float | None = None  # of the monitor
    best_step: int = 0
    scores: Scores | None = None  # on dev at the best step, where labels are learnt
    patience_used: int = 0  # evaluations without a better monitor
    begun: bool = False  # the parameters before the first step have been evaluated
    done: bool = False
    results: list[StageRecord] = field(default_factory=list)  # of this plan's finished stage runs
    meter: MeterState | None = None
    log_offset: int = 0  # bytes of metrics.jsonl
    language_weights: dict[str, float] | None = None  # of this stage run, where it has any
    row_doubts: str | None = None  # likewise, as `encode_doubts` writes them

    def to_json(self) -> dict[str, Any]:
        """The JSON object in a checkpoint; its keys are those of all versions."""
        names = {"stage": "leg", "results": "records", "log_offset": "metrics"}
        content = {names.get(name, name): value for name, value in asdict(self).items()}
        del content["begun"]  # a checkpoint is never written before
        for name in ("language_weights", "row_doubts"):
            if content[name] is None:  # earlier versions know no such key
                del content[name]
        return content


def read_progress(content: dict[str, Any]) -> Progress:
    """What `to_json` wrote."""
    names = {"leg": "stage", "records": "results", "metrics": "log_offset"}
    known = {name: content[name] for name in content if name != "checksums"}
    return Progress(**{names.get(key, key): value for key, value in known.items()}, begun=True)
