"""The results of a sweep as one table: rows and columns by setting, means over seeds.

Only results.json is read. A cell has the mean over seeds and, of two or more, the standard
deviation (of a sample). Scores are in percent.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from xdistil.errors import InputError, suggest
from xdistil.evaluation.formatting import UNKNOWN, format_bytes, format_count
from xdistil.evaluation.metrics import LANGUAGE_SCORE, MAIN_SCORE
from xdistil.evaluation.report import SCORE_NAMES
from xdistil.evaluation.results import (
    LanguageScores,
    ModelName,
    Results,
    Scores,
    find_scores,
    scored_split,
)
from xdistil.evaluation.sweep_cells import (
    Cells,
    Place,
    Runs,
    Seeds,
    choose_rows,
    group_runs,
    list_settings,
)
from xdistil.evaluation.tables import Table
from xdistil.evaluation.worst import WORST, average_worst

_System = Sequence[Results]  # the runs of one seed: one, or a model for each language


@dataclass(frozen=True)
class _Column:
    """A number of each system, and how it is written."""

    title: str
    measure: Callable[[_System], float | None]
    scale: float = 1.0
    decimals: int = 2
    write: Callable[[int], str] | None = None  # of a mean, in place of decimals
    deviates: bool = True  # whether seeds change it

    def describe(self, value: float, separate: bool = False) -> str:
        """A scaled value as text; numbers alone where columns are separate."""
        if separate:
            return f"{value:.{self.decimals}f}"
        return self.write(round(value)) if self.write else f"{value:,.{self.decimals}f}"


def tabulate_sweep(
    runs: Runs,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    separate: bool = False,
) -> Table:
    """One row for each value of the settings in `rows`.

    Args:
        rows: settings; empty: all that differ, but for the seed and the settings in `columns`.
        columns: names of COLUMNS, or settings, whose values then are the columns and hold the
            score; empty: the score.
        separate: mean, standard deviation and number of runs in columns of their own.

    Raises:
        InputError: no such setting or column, or a setting that tells runs of a cell apart.
    """
    differing = list_settings(runs)
    spread = [name for name in columns if name in differing]
    for name in columns:
        if name not in differing and name not in COLUMNS:
            known = (*COLUMNS, *differing)
            raise InputError(f"--columns={name}: there is no such column{suggest(name, known)}.")
    rows = choose_rows(runs, rows, spread)
    cells = group_runs(runs, (*rows, *spread))
    ended = [results for _, results in runs.values() if results is not None]
    listed = _list_columns(columns, spread, cells, ended, len(rows))
    header = [*rows]
    for column, _ in listed:
        more = [f"{column.title} sd", f"{column.title} runs"] if separate else []
        header += [column.title, *more]
    lines = []
    for place in dict.fromkeys(place[: len(rows)] for place in cells):
        line = [*place]
        for column, at in listed:
            line += _describe(column, cells.get((*place, *at), {}), separate)
        lines.append(tuple(line))
    return Table("", tuple(header), lines, texts=tuple(range(len(rows))))


def _list_columns(
    columns: Sequence[str],
    spread: Sequence[str],
    cells: Cells,
    known: Sequence[Results],
    rows: int,
) -> list[tuple[_Column, Place]]:
    """The columns, each with the values of the settings that are columns."""
    names = [name for name in columns if name not in spread] or ["score"]
    measured = [column for name in names for column in COLUMNS[name](known)]
    places = list(dict.fromkeys(place[rows:] for place in cells))
    if not spread:
        return [(column, ()) for column in measured]
    listed = []
    for at in places:
        told = ", ".join(f"{name}={value}" for name, value in zip(spread, at, strict=True))
        for column in measured:
            title = told if len(measured) == 1 else f"{told} {column.title}"
            listed.append((replace(column, title=title), at))
    return listed


def _describe(column: _Column, seeds: Seeds, separate: bool) -> list[str]:
    """The cells of a column: mean and deviation over the seeds whose runs have all ended."""
    whole = [
        [run.results for run in group.values() if run.results is not None]
        for group in seeds.values()
        if all(run.results is not None for run in group.values())
    ]
    measured = [value for system in whole if (value := column.measure(system)) is not None]
    values = [column.scale * value for value in measured]
    mean = column.describe(statistics.fmean(values), separate) if values else UNKNOWN
    deviation = ""
    if len(values) > 1 and column.deviates:
        deviation = column.describe(statistics.stdev(values), separate)
    if separate:
        return [mean if values else "", deviation, f"{len(whole)}/{len(seeds)}"]
    text = f"{mean} ± {deviation}" if deviation else mean
    return [text if len(whole) == len(seeds) else f"{text} ({len(whole)} of {len(seeds)})"]


def _find(results: Results, model: ModelName) -> Scores | None:
    return find_scores(results, model, scored_split(results))


def _find_student(results: Results) -> Scores | None:
    return _find(results, "student")


def _join_languages(found: Iterable[Scores | None]) -> dict[str, LanguageScores]:
    return {
        language: scores
        for each in found
        if each is not None
        for language, scores in each["per_language"].items()
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def _main_score(system: _System, find: Callable[[Results], Scores | None]) -> float | None:
    """Macro-F1 over the languages of all runs, or accuracy on all of their texts."""
    found = [find(each) for each in system]
    kind = system[0]["task"]
    if len(system) > 1 and kind == "tagging":
        return _mean(each["f1"] for each in _join_languages(found).values())
    if len(system) > 1 and kind == "classification":
        parts = list(_join_languages(found).values())
        if not parts or any(each["accuracy"] is None for each in parts):
            return None
        right = math.fsum((each["accuracy"] or 0.0) * each["sentences"] for each in parts)
        return right / sum(each["sentences"] for each in parts)
    return _mean(None if each is None else each[MAIN_SCORE[kind]] for each in found)


def _title(known: Sequence[Results]) -> str:
    if not known:
        return "score"
    return f"{SCORE_NAMES[MAIN_SCORE[known[0]['task']]]} {scored_split(known[0])}"


def _score(known: Sequence[Results]) -> list[_Column]:
    return [_Column(_title(known), partial(_main_score, find=_find_student), 100)]


def _worst(known: Sequence[Results]) -> list[_Column]:
    def measure(system: _System) -> float | None:
        per_language = _join_languages(map(_find_student, system))
        return average_worst(per_language, LANGUAGE_SCORE[system[0]["task"]])

    split = f" {scored_split(known[0])}" if known else ""
    return [_Column(f"worst {WORST}{split}", measure, 100)]


def _dev(known: Sequence[Results]) -> list[_Column]:
    measure = partial(_main_score, find=lambda each: each["student"]["dev"])
    return [_Column("dev", measure, 100)]


def _original(known: Sequence[Results]) -> list[_Column]:
    def measure(system: _System) -> float | None:
        return _mean(
            each["original"]["student"]["macro_f1"] for each in system if "original" in each
        )

    return [_Column("original protocol", measure, 100)]


def _teacher(known: Sequence[Results]) -> list[_Column]:
    return [_Column("teacher", partial(_main_score, find=partial(_find, model="teacher")), 100)]


def _retention(known: Sequence[Results]) -> list[_Column]:
    return [_Column("retention", lambda system: _mean(each["retention"] for each in system), 100)]


def _languages(known: Sequence[Results]) -> list[_Column]:
    names = sorted(_join_languages(_find(each, "student") for each in known))

    def measure(system: _System, language: str) -> float | None:
        scores = _join_languages(_find(each, "student") for each in system).get(language)
        return None if scores is None else scores[LANGUAGE_SCORE[system[0]["task"]]]

    return [_Column(name, partial(measure, language=name), 100) for name in names]


def _baselines(known: Sequence[Results]) -> list[_Column]:
    names = dict.fromkeys(row["name"] for each in known for row in each["baselines"])

    def find(results: Results, name: str) -> Scores | None:
        rows = [row for row in results["baselines"] if row["name"] == name]
        if not rows:
            return None
        return rows[0]["test"] if scored_split(results) == "test" else rows[0]["dev"]

    return [
        _Column(name, partial(_main_score, find=partial(find, name=name)), 100) for name in names
    ]


def _stages(known: Sequence[Results]) -> list[_Column]:
    names = dict.fromkeys(stage["name"] for each in known for stage in each["stages"])

    def find(results: Results, name: str) -> Scores | None:
        return next((each["dev"] for each in results["stages"] if each["name"] == name), None)

    return [
        _Column(f"dev after {name}", partial(_main_score, find=partial(find, name=name)), 100)
        for name in names
    ]


def _parameters(known: Sequence[Results]) -> list[_Column]:
    def measure(system: _System) -> float | None:
        counts = (each["student"]["parameters"] for each in system)
        return _sum(count and count["total"] for count in counts)

    return [_Column("parameters", measure, 1, 0, format_count, deviates=False)]


def _bytes(known: Sequence[Results]) -> list[_Column]:
    def measure(system: _System) -> float | None:
        sizes = (each["student"]["bytes"] for each in system)
        return _sum(size and size["model"] for size in sizes)

    return [_Column("model file", measure, 1, 0, format_bytes, deviates=False)]


def _compression(known: Sequence[Results]) -> list[_Column]:
    def measure(system: _System) -> float | None:
        return _mean(each["compression"] for each in system)

    return [_Column("x smaller", measure, 1, 1, deviates=False)]


def _speedup(known: Sequence[Results]) -> list[_Column]:
    def batch(system: _System) -> float | None:
        found = (each["timing"]["speedup"] for each in system)
        return _mean(each and each["batch_32"]["median"] for each in found)

    def single(system: _System) -> float | None:
        found = (each["timing"]["speedup"] for each in system)
        return _mean(each and each["single"]["median"] for each in found)

    return [_Column("x faster, batch 32", batch, 1, 1), _Column("x faster, single", single, 1, 1)]


def _seconds(known: Sequence[Results]) -> list[_Column]:
    def measure(system: _System) -> float | None:
        return _sum(each["timing"].get("total") for each in system)

    return [_Column("seconds", measure, 1, 0)]


def _passes(known: Sequence[Results]) -> list[_Column]:
    def measure(system: _System) -> float | None:
        return _sum(each.get("passes") for each in system)

    return [_Column("teacher passes", measure, 1, 1)]


COLUMNS: dict[str, Callable[[Sequence[Results]], list[_Column]]] = {
    "score": _score,
    "worst": _worst,
    "dev": _dev,
    "original": _original,
    "languages": _languages,
    "teacher": _teacher,
    "retention": _retention,
    "baselines": _baselines,
    "stages": _stages,
    "parameters": _parameters,
    "bytes": _bytes,
    "compression": _compression,
    "speedup": _speedup,
    "seconds": _seconds,
    "passes": _passes,
}
