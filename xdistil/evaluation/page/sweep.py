"""The page of a sweep: its runs side by side, with means over seeds."""

from collections.abc import Mapping
from dataclasses import dataclass

from xdistil.errors import InputError
from xdistil.evaluation.formatting import UNKNOWN, format_duration, format_score
from xdistil.evaluation.metrics import MAIN_SCORE
from xdistil.evaluation.page.charts import WIDTHS, Point, Scale, draw_points, draw_span
from xdistil.evaluation.page.markup import Markup, element, join, table
from xdistil.evaluation.page.render import render_document
from xdistil.evaluation.results import Results, find_scores, scored_split
from xdistil.evaluation.sweep_cells import Runs
from xdistil.evaluation.sweep_table import tabulate_sweep

_MOST_NAMES = 12  # of systems that are drawn in one chart


@dataclass(frozen=True)
class SweepFiles:
    """A sweep as its folder shows it."""

    name: str
    runs: Runs
    begun: frozenset[str] = frozenset()  # names of runs with a workdir
    pages: Mapping[str, str] | None = None  # links to the pages of runs, by name


@dataclass(frozen=True)
class _System:
    """The runs of a cell, by their mean."""

    settings: tuple[str, ...]
    score: float  # in percent
    deviation: float  # 0: of one run
    parameters: float | None


def render_sweep(sweep: SweepFiles) -> str:
    """HTML that needs no other file and no network; its links lead to the pages of the runs."""
    try:
        compared = _render_scores(sweep), _render_languages(sweep), _render_sizes(sweep)
    except InputError as error:  # the settings do not make a table by themselves
        compared = element("p", str(error)), Markup(""), Markup("")
    sections = {
        "scores": ("Scores", compared[0]),
        "languages": ("Languages", compared[1]),
        "size": ("Size", compared[2]),
        "runs": ("Runs", _render_runs(sweep)),
    }
    shown = {name: each for name, each in sections.items() if each[1]}
    return render_document(sweep.name, "xdistil sweep", _render_summary(sweep), shown)


def _render_summary(sweep: SweepFiles) -> Markup:
    total = len(sweep.runs)
    ended = sum(results is not None for _, results in sweep.runs.values())
    label = f"{ended} of {total} runs have ended"
    parts = [element("p", f"{label}.", class_="lead")]
    if ended < total:
        bar = element("progress", value=ended, max=total, aria_label=label)
        note = "This page is written again when a run ends: reload it."
        parts.append(element("p", bar, f" {note}"))
    return join(parts)


def _render_scores(sweep: SweepFiles) -> Markup:
    """One row for each system, with a picture of its score."""
    columns = ("score", "dev", "teacher", "baselines", "parameters", "seconds")
    found = tabulate_sweep(sweep.runs, columns=columns)
    systems = _list_systems(sweep)
    if not systems:
        return Markup("")
    ends = [
        end
        for each in systems.values()
        for end in (each.score - each.deviation, each.score + each.deviation)
    ]
    scale = Scale(min(ends), max(ends), 8, 172)
    count = len(found.texts)
    rows = []
    for row in found.rows:
        system = systems.get(row[:count])
        picture: str = UNKNOWN
        if system:
            spread = (system.score - system.deviation, system.score + system.deviation)
            picture = draw_span(scale, [("student", system.score)], spread)
        rows.append((*row[:count], picture, *row[count:]))
    span = f"{found.header[count]}, {scale.low:.1f} to {scale.high:.1f}"
    header = (*found.header[:count], span, *found.header[count:])
    note = (
        "Numbers are means over seeds ± standard deviations, which the pictures show as lines. "
        "Whether a difference is more than chance is what xdistil table --against tells."
    )
    return join(
        [
            table("Systems", header, rows, range(count + 1), class_="sortable"),
            element("p", note, class_="note"),
        ]
    )


def _render_languages(sweep: SweepFiles) -> Markup:
    found = tabulate_sweep(sweep.runs, columns=("languages",))
    if len(found.header) - len(found.texts) < 2:
        return Markup("")
    return table("Scores by language", found.header, found.rows, found.texts, class_="sortable")


def _render_sizes(sweep: SweepFiles) -> Markup:
    """Scores against parameters, where systems differ in them."""
    points = [
        Point(", ".join(each.settings), "student", each.parameters, each.score)
        for each in _list_systems(sweep).values()
        if each.parameters is not None
    ]
    if len({point.x for point in points}) < 2:
        return Markup("")
    told = ", ".join(f"{point.name}: {point.y:.2f} at {point.x:.3g}" for point in points)
    if len(points) > _MOST_NAMES:
        points = [Point("", each.style, each.x, each.y) for each in points]
    label = f"Score in percent over parameters: {told}"
    chart = draw_points(points, WIDTHS["narrow"] + 76, 300, label)
    caption = element("figcaption", "Score, %, over parameters (logarithmic)")
    return element("figure", caption, chart)


def _render_runs(sweep: SweepFiles) -> Markup:
    rows = []
    for name, (_, results) in sweep.runs.items():
        link = (sweep.pages or {}).get(name)
        state = "done" if results else "begun" if name in sweep.begun else "to do"
        seconds = results["timing"].get("total") if results else None
        rows.append(
            (
                element("a", name, href=link) if link else name,
                state,
                format_score(_find_score(results)) if results else UNKNOWN,
                format_duration(seconds),
            )
        )
    header = ("run", "state", "score, %", "time")
    return table("Runs and their pages", header, rows, (0, 1), class_="sortable")


def _list_systems(sweep: SweepFiles) -> dict[tuple[str, ...], _System]:
    """The systems that have a score, by their settings."""
    found = tabulate_sweep(sweep.runs, columns=("score", "parameters"), separate=True)
    count = len(found.texts)
    systems = {}
    for row in found.rows:
        score, deviation, _, parameters, *_ = row[count:]
        if score:
            systems[row[:count]] = _System(
                row[:count],
                float(score),
                float(deviation or 0),
                float(parameters) if parameters else None,
            )
    return systems


def _find_score(results: Results) -> float | None:
    scores = find_scores(results, "student", scored_split(results))
    return None if scores is None else scores[MAIN_SCORE[results["task"]]]
