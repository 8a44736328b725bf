"""The runs of a sweep in the cells of a table.

Runs that differ in the seed alone are in one cell. Runs that differ in `data.languages` alone, each
with other languages, are one system with a model for each of them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from xdistil.config import split_names
from xdistil.errors import InputError, suggest
from xdistil.evaluation.formatting import UNKNOWN
from xdistil.evaluation.results import Results

SEED, LANGUAGES = "seed", "data.languages"

Settings = Mapping[str, str]
Runs = Mapping[str, tuple[Settings, Results | None]]  # by name; None: it has not ended
Place = tuple[str, ...]  # the values of the settings of rows, and then of columns


class CellRun(NamedTuple):
    """One run of a cell."""

    name: str
    results: Results | None  # None: it has not ended


Seeds = Mapping[str, Mapping[str, CellRun]]  # the runs of a cell by seed, and by data.languages
Cells = Mapping[Place, Seeds]


def list_settings(runs: Runs) -> list[str]:
    """The settings that differ among the runs."""
    return list(dict.fromkeys(name for settings, _ in runs.values() for name in settings))


def choose_rows(runs: Runs, rows: Sequence[str], spread: Sequence[str] = ()) -> tuple[str, ...]:
    """The settings that make rows: those in `rows`, or else all but the seed and those in `spread`.

    Raises:
        InputError: the runs do not differ in one of them.
    """
    differing = list_settings(runs)
    for name in rows:
        if name not in differing:
            raise InputError(
                f"--rows={name}: the runs do not differ in it{suggest(name, differing)}."
            )
    if rows:
        return tuple(rows)
    in_all = all(LANGUAGES in settings for settings, _ in runs.values())
    merged = {SEED, *spread} | (set() if in_all else {LANGUAGES})
    return tuple(name for name in differing if name not in merged)


def group_runs(runs: Runs, names: Sequence[str]) -> Cells:
    """The runs by the values of the settings in `names`.

    Raises:
        InputError: runs of a cell differ in more than the seed and their languages.
    """
    cells: dict[Place, dict[str, dict[str, CellRun]]] = {}
    fixed: dict[Place, Settings] = {}
    for run, (settings, results) in runs.items():
        left = {name: value for name, value in settings.items() if name not in names}
        seed, language = left.pop(SEED, ""), left.pop(LANGUAGES, "")
        place = tuple(settings.get(name, UNKNOWN) for name in names)
        _refuse_mixture(fixed.setdefault(place, left), left)
        group = cells.setdefault(place, {}).setdefault(seed, {})
        if any(not {*split_names(each)}.isdisjoint(split_names(language)) for each in group) or (
            group and "" in (language, *group)
        ):
            raise InputError(
                f"Runs of one cell overlap in {LANGUAGES}: name it in --rows or --columns too."
            )
        group[language] = CellRun(run, results)
    return cells


def _refuse_mixture(first: Settings, other: Settings) -> None:
    """Two runs of one cell may differ in the seed and in their languages alone."""
    for name in sorted(first.keys() | other.keys()):
        if first.get(name) != other.get(name):
            raise InputError(
                f"Runs of one cell differ in {name}: name it in --rows or --columns too."
            )
