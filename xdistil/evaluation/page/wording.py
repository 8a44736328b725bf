"""Words and numbers that the sections of a page share."""

from xdistil.evaluation.results import HELD_OUT, ScoreName, Scores, Split

SPLITS: dict[Split, str] = {"dev": "dev", "test": "test", HELD_OUT: "held-out transfer"}


def format_difference(value: float, decimals: int = 2) -> str:
    """A difference of fractions in percent points, with a sign."""
    return f"{100 * value:+.{decimals}f}".replace("-", "−")


def format_interval(low: float, high: float) -> str:
    """An interval of a difference of fractions, in percent points."""
    return f"{format_difference(low)} to {format_difference(high)}"


def get_score(scores: Scores | None, name: ScoreName) -> float | None:
    """One of a model's scores; None where it has none."""
    return None if scores is None else scores.get(name)
