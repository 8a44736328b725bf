"""The rows of a sweep beside one of them: differences of the score, intervals and significance.

Both rows are scored on the same texts, with the same seeds, as `comparison.compare_systems` does
it. The predictions and gold labels are those in the workdirs of the runs.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from xdistil.errors import InputError, suggest
from xdistil.evaluation.comparison import LEVEL, Difference, adjust, compare_pairs, judge
from xdistil.evaluation.formatting import UNKNOWN
from xdistil.evaluation.prediction_files import Gold, count_file, read_gold
from xdistil.evaluation.results import HELD_OUT, scored_split
from xdistil.evaluation.sweep_cells import (
    CellRun,
    Cells,
    Place,
    Runs,
    Seeds,
    choose_rows,
    group_runs,
)
from xdistil.evaluation.tables import Table


@dataclass(frozen=True)
class RowDifference:
    """A row beside the reference, which is the first of the two."""

    difference: Difference
    adjusted: float  # p, by Holm's method for the number of rows
    pairs: int  # seeds that both have ended
    seeds: int  # of both


@dataclass(frozen=True)
class Differences:
    """The rows of a sweep beside one of them."""

    reference: Place
    rows: Mapping[Place, RowDifference | None]  # None: they have not ended a run of the same seed


@dataclass(frozen=True)
class _Texts:
    """The texts of one language, and what a system has right, found and wanted in each."""

    texts: Sequence[tuple[Sequence[str], Sequence[str] | None]]  # inputs and gold labels
    counts: np.ndarray  # i64[N,3]
    folder: Path


_System = Mapping[str, _Texts]  # by language


@dataclass
class _Reader:
    """Reads predictions, and each content of a file of gold labels once."""

    workdir: Path
    golds: dict[bytes, Gold] = field(default_factory=dict)

    def read(self, runs: Sequence[CellRun]) -> _System:
        """The texts of the runs of one seed, each of which has languages of its own."""
        found: dict[str, _Texts] = {}
        for run in runs:
            folder = self.workdir / run.name
            gold, counts = self._count(folder, run)
            of = np.array([example.language for example in gold.examples])
            for language in np.unique(of):
                here = of == language
                chosen = itertools.compress(gold.examples, here)
                texts = [(example.inputs, example.labels) for example in chosen]
                found[str(language)] = _Texts(texts, counts[here], folder)
        return found

    def _count(self, folder: Path, run: CellRun) -> tuple[Gold, np.ndarray]:
        split = HELD_OUT if run.results is None else scored_split(run.results)
        if split == HELD_OUT:
            raise InputError(f"{folder} has no gold labels: its predictions cannot be compared.")
        wanted, found = (
            folder / "predictions" / f"{name}.{split}.tsv" for name in ("gold", "student")
        )
        for path in (wanted, found):
            if not path.is_file():
                raise InputError(
                    f"There is no {path}: remove {folder / 'results.json'}, and the same xdistil "
                    "sweep writes both."
                )
        content = wanted.read_bytes()
        if content not in self.golds:
            self.golds[content] = read_gold(wanted)
        gold = self.golds[content]
        return gold, count_file(found, gold)


def compare_rows(workdir: Path, runs: Runs, rows: Sequence[str], against: str) -> Differences:
    """Every row beside one of them.

    Args:
        workdir: of the sweep.
        rows: settings, as in `sweep_table.tabulate_sweep`.
        against: the values of these settings in the reference, separated by commas.

    Raises:
        InputError: no such row, rows that have other texts or seeds, or files that are missing.
    """
    cells = group_runs(runs, choose_rows(runs, rows))
    reference = _find_row(cells, against)
    ended = {place: _list_ended(seeds) for place, seeds in cells.items()}
    if not ended[reference]:
        raise InputError(f"--against={against}: no run of it has ended: compare with another row.")
    for place, seeds in cells.items():
        if not cells[reference].keys() & seeds.keys():
            raise InputError(
                f"{_name(place)} and {_name(reference)} have no seed in common: run both with the "
                "same seeds."
            )
    reader = _Reader(workdir)
    systems = {seed: reader.read(system) for seed, system in ended[reference].items()}
    known = next(iter(systems.values()))
    arrays: dict[Place, tuple[np.ndarray, np.ndarray]] = {}
    for place, runs_of in ended.items():
        paired = [seed for seed in systems if seed in runs_of]
        if place == reference or not paired:
            continue
        first = [systems[seed] for seed in paired]
        second = [reader.read(runs_of[seed]) for seed in paired]
        for system in (*first, *second):
            _refuse_other_texts(known, system, (reference, place))
        arrays[place] = _stack(first), _stack(second)
    # The score of classes is over all texts, that of tags the mean over languages.
    tagged = any(results and results["task"] == "tagging" for _, results in runs.values())
    of = [name if tagged else "" for name in sorted(known) for _ in known[name].texts]
    try:
        plain = [found[0] for found in compare_pairs(of, list(arrays.values()))]
    except ValueError as error:
        folder = known[min(known)].folder
        raise InputError(f"{folder}: {error}, so nothing can be compared.") from None
    corrected = adjust([each.p for each in plain])
    judged = dict(zip(arrays, zip(judge(plain), corrected, strict=True), strict=True))
    found: dict[Place, RowDifference | None] = {}
    for place in cells:
        if place in judged:
            difference, p = judged[place]
            total = len(cells[reference].keys() | cells[place].keys())
            found[place] = RowDifference(difference, float(p), len(arrays[place][0]), total)
        elif place != reference:
            found[place] = None
    return Differences(reference, found)


def _find_row(cells: Cells, against: str) -> Place:
    """The place of the row that --against names."""
    if len(cells) < 2:
        raise InputError(
            f"--against={against}: there is one row, and nothing to compare it with: --rows=FIELD "
            "names a setting that makes rows."
        )
    named = {",".join(place): place for place in cells}
    wanted = ",".join(part.strip() for part in against.split(","))
    if wanted not in named:
        raise InputError(f"--against={against}: there is no such row{suggest(wanted, named)}.")
    return named[wanted]


def add_differences(table: Table, differences: Differences, separate: bool = False) -> Table:
    """The table with columns of the differences.

    Args:
        table: of `sweep_table.tabulate_sweep` with the same rows.
        separate: every number in a column of its own.
    """
    count = len(differences.reference)
    header = ["difference", f"{LEVEL:.0%} interval", "p (Holm)", "verdict"]
    if separate:
        header[1:2] = ["low", "high"]
        header.append("seeds")
    lines = []
    for row in table.rows:
        place = row[:count]
        if place == differences.reference:
            cells = [*_leave_open(header, separate)]
            cells[header.index("verdict")] = "reference"
        else:
            each = differences.rows[place]
            cells = _leave_open(header, separate) if each is None else _describe(each, separate)
        lines.append((*row, *cells))
    width = len(table.header)
    return replace(
        table,
        header=(*table.header, *header),
        rows=lines,
        texts=(*table.texts, width + header.index("verdict")),
    )


def explain(differences: Differences) -> str:
    """One line on what the columns of `add_differences` are."""
    known = [each for each in differences.rows.values() if each is not None]
    texts = f" on {known[0].difference.texts:,} texts" if known else ""
    return (
        f"Differences to {_name(differences.reference)}{texts}, with the same seeds; p and verdict "
        f"with Holm's correction for {len(known)} row{'s' if len(known) != 1 else ''}."
    )


def _name(place: Place) -> str:
    return ", ".join(place)


def _list_ended(seeds: Seeds) -> dict[str, list[CellRun]]:
    """The runs of each seed, where all have ended."""
    return {
        seed: list(runs.values())
        for seed, runs in seeds.items()
        if all(run.results is not None for run in runs.values())
    }


def _stack(systems: Sequence[_System]) -> np.ndarray:
    """Counts i64[S,N,3] of the systems of S seeds, by language."""
    return np.stack([np.concatenate([each[x].counts for x in sorted(each)]) for each in systems])


def _refuse_other_texts(known: _System, other: _System, places: Sequence[Place]) -> None:
    told = " and ".join(map(_name, places))
    for language in sorted(known.keys() | other.keys()):
        if language not in known or language not in other:
            some = next(iter((known if language in other else other).values()))
            raise InputError(
                f"{told} cannot be compared: {some.folder} has no scored texts in {language}."
            )
        if known[language].texts != other[language].texts:
            raise InputError(
                f"{told} cannot be compared: {known[language].folder} and "
                f"{other[language].folder} have other texts or gold labels in {language}."
            )


def _leave_open(header: Sequence[str], separate: bool) -> list[str]:
    return ["" if separate else UNKNOWN] * len(header)


def _describe(row: RowDifference, separate: bool) -> list[str]:
    each = row.difference
    gain, low, high = (
        f"{100 * value:+.2f}" for value in (each.second - each.first, each.low, each.high)
    )
    p = f"{row.adjusted:.4f}"
    if separate:
        return [gain, low, high, p, each.verdict, f"{row.pairs}/{row.seeds}"]
    some = f" ({row.pairs} of {row.seeds})" if row.pairs < row.seeds else ""
    return [f"{gain}{some}", f"{low} to {high}", p, each.verdict]
