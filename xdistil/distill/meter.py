"""Sums over the steps of a stage, for metrics.jsonl and the progress line."""

import math
import time
from typing import Any, cast

import jax

from xdistil.distill.progress import MeterState
from xdistil.distill.step import Metrics
from xdistil.errors import DivergenceError
from xdistil.evaluation.results import Scores
from xdistil.runtime.run_log import RunLog


class Meter:
    """Sums metrics between two lines of the run_log, without waiting for the device in between."""

    def __init__(
        self,
        plan: str,
        stage: str,
        place: str,
        steps: int,
        log_every: int,
        run_log: RunLog,
        carried: MeterState | None = None,
    ) -> None:
        """The meter of one stage.

        Args:
            place: of the stage in its plan, such as `2/9`.
            steps: that it may take at most.
            log_every: steps between two lines.
            carried: what `carry` of an interrupted run's meter returned.
        """
        self._plan, self._stage = plan, stage
        self.title = f"{plan} {place} {stage}"
        self._steps, self._log_every, self._run_log = steps, log_every, run_log
        self._pending: list[tuple[int, float, Metrics]] = []
        self._sums: dict[str, Any] = _nothing()
        self._earlier = 0.0
        if carried is not None:
            self._earlier = carried["seconds"]
            self._sums = {name: value for name, value in carried.items() if name != "seconds"}
        self._subwords = 0
        self._begin = self._start = time.monotonic()
        self._first: int | None = None  # steps before the first one that this meter saw

    def seconds(self) -> float:
        """Seconds of the stage, those before an interruption included."""
        return self._earlier + time.monotonic() - self._begin

    def add(self, step: int, metrics: Metrics, subwords: int, rate: float) -> None:
        """Takes in a step: metrics, still on the device, real subwords and learning rate.

        Raises DivergenceError as `flush`.
        """
        self._pending.append((step, rate, metrics))
        self._subwords += subwords
        if self._first is None:
            self._first = step - 1
        if step % self._log_every == 0:
            self.flush()

    def carry(self) -> MeterState:
        """What the meter of a resumed run needs, as JSON. Raises as `flush`."""
        self._fetch()
        return cast(MeterState, {"seconds": self.seconds(), **self._sums})

    def flush(self) -> None:
        """Writes the line of what has been added since the last one.

        Raises DivergenceError naming the first step whose loss or gradient was not finite.
        """
        self._fetch()
        if not self._sums["steps"]:
            return
        now, step = time.monotonic(), self._sums["step"]
        losses = {
            name: total / max(count, 1.0) for name, (total, count) in self._sums["losses"].items()
        }
        line = {
            **self._line(step),
            "event": "train",
            **{f"loss_{name}": value for name, value in losses.items()},
            "lr": self._sums["rate"],
            "gradient_norm": self._sums["gradient_norm"] / self._sums["steps"],
            "tokens_per_second": self._subwords / (now - self._start),
        }
        self._run_log.write(line)
        seen = max(1, step - (step if self._first is None else self._first))
        left = (now - self._begin) / seen * (self._steps - step)
        losses_text = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        self._run_log.progress(
            f"{self.title}: step {step}/{self._steps}, {losses_text}, "
            f"{line['tokens_per_second']:,.0f} tokens/s, "
            f"{int(left) // 60}:{int(left) % 60:02d} left"
        )
        self._sums, self._subwords, self._start = _nothing(), 0, now

    def record_evaluation(self, step: int, value: float, scores: Scores | None) -> None:
        """Time spent evaluating does not count in the tokens per second."""
        numbers = {k: v for k, v in (scores or {}).items() if isinstance(v, float)}
        line = {**self._line(step), "event": "evaluation", "monitor": value}
        self._run_log.write({**line, **{f"dev_{name}": v for name, v in numbers.items()}})
        self._start = time.monotonic()

    def _fetch(self) -> None:
        """Adds what is pending to the sums, in the order of the steps, so that bits do not differ
        where a run was cut off between two lines."""
        pending, self._pending = self._pending, []
        fetched = jax.device_get([metrics for _, _, metrics in pending])
        for (step, rate, _), metrics in zip(pending, fetched, strict=True):
            if metrics.failed:
                raise DivergenceError(self._describe_failure(step, metrics))
            for name, tally in metrics.losses.items():
                total, count = self._sums["losses"].get(name, (0.0, 0.0))
                both = [total + float(tally.sum), count + float(tally.count)]
                self._sums["losses"][name] = both
            self._sums["gradient_norm"] += float(metrics.gradient_norm)
            self._sums.update(steps=self._sums["steps"] + 1, step=step, rate=rate)

    def _describe_failure(self, step: int, metrics: Metrics) -> str:
        bad = [name for name, tally in metrics.losses.items() if not math.isfinite(tally.sum)]
        what = f"the loss {' and '.join(bad)}" if bad else "the gradient"
        return f"{self._plan}: at step {step} of {self._stage} {what} is not finite"

    def _line(self, step: int) -> dict[str, Any]:
        return {"plan": self._plan, "stage": self._stage, "step": step}


def _nothing() -> dict[str, Any]:
    """Sums of no step: of every loss and its count, of the gradients' norms; the last step."""
    return {"losses": {}, "gradient_norm": 0.0, "steps": 0, "step": 0, "rate": 0.0}
