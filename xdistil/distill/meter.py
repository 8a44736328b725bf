"""What the steps of a sub-stage add up to, for metrics.jsonl and the progress line."""

import time
from typing import Any

import jax
import numpy as np

from xdistil.distill.step import Metrics
from xdistil.journal import Journal


class Meter:
    """Sums metrics between two lines of the journal, without waiting for the device in between."""

    def __init__(
        self, plan: str, stage: str, place: str, steps: int, log_every: int, journal: Journal
    ) -> None:
        """Of one sub-stage.

        Args:
            place: of the sub-stage in its plan, such as `2/9`.
            steps: that it may take at most.
            log_every: steps between two lines.
        """
        self._plan, self._stage, self._place = plan, stage, place
        self._steps, self._log_every, self._journal = steps, log_every, journal
        self._pending: list[Metrics] = []
        self._pieces, self._step, self._rate = 0, 0, 0.0
        self._begin = self._start = time.monotonic()
        self._first: int | None = None

    def seconds(self) -> float:
        """Since the sub-stage began or went on."""
        return time.monotonic() - self._begin

    def add(self, step: int, metrics: Metrics, pieces: int, rate: float) -> None:
        """Takes in a step: metrics, still on the device, real pieces and learning rate."""
        self._pending.append(metrics)
        self._pieces, self._step, self._rate = self._pieces + pieces, step, rate
        if self._first is None:
            self._first = step - 1
        if step % self._log_every == 0:
            self.flush()

    def flush(self) -> None:
        """Writes the line of what has been added since the last one."""
        if not self._pending:
            return
        fetched = jax.device_get(self._pending)
        now = time.monotonic()
        losses = {}
        for name in fetched[0].losses:
            total = sum(float(metrics.losses[name].sum) for metrics in fetched)
            losses[name] = total / max(sum(float(m.losses[name].count) for m in fetched), 1.0)
        line = {
            **self._line(self._step),
            "event": "train",
            **{f"loss_{name}": value for name, value in losses.items()},
            "lr": self._rate,
            "gradient_norm": float(np.mean([m.gradient_norm for m in fetched])),
            "tokens_per_second": self._pieces / (now - self._start),
        }
        self._journal.record(line)
        left = (now - self._begin) / (self._step - (self._first or 0)) * (self._steps - self._step)
        told = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        self._journal.progress(
            f"{self._plan} {self._place} {self._stage}: "
            f"step {self._step}/{self._steps}, {told}, {line['tokens_per_second']:,.0f} tokens/s, "
            f"{int(left) // 60}:{int(left) % 60:02d} left"
        )
        self._pending, self._pieces, self._start = [], 0, now

    def record_evaluation(self, step: int, value: float, scores: dict[str, Any] | None) -> None:
        """Time spent evaluating does not count in the tokens per second."""
        numbers = {k: v for k, v in (scores or {}).items() if isinstance(v, float)}
        line = {**self._line(step), "event": "evaluation", "monitor": value}
        self._journal.record({**line, **{f"dev_{name}": v for name, v in numbers.items()}})
        self._start = time.monotonic()

    def _line(self, step: int) -> dict[str, Any]:
        return {"plan": self._plan, "stage": self._stage, "step": step}
