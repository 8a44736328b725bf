"""Scores by language, with pictures, intervals and the number of texts."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdistil.evaluation.formatting import (
    UNKNOWN,
    format_score,
)
from xdistil.evaluation.metrics import LANGUAGE_SCORE
from xdistil.evaluation.page.analysis import Analysis, find_difference
from xdistil.evaluation.page.charts import (
    Scale,
    draw_sample,
    draw_span,
)
from xdistil.evaluation.page.files import RunFiles
from xdistil.evaluation.page.markup import Markup, element, join, table
from xdistil.evaluation.page.wording import SPLITS, format_difference, format_interval
from xdistil.evaluation.report import (
    SCORE_NAMES,
    list_gaps,
    name_score,
)
from xdistil.evaluation.results import (
    LanguageScoreName,
    Results,
    Scores,
    find_scores,
    name_other,
    scored_split,
)

Gap = tuple[str, float, float]  # language, scores before and after


@dataclass(frozen=True)
class _Column:
    name: str
    cells: Sequence[str]
    is_text: bool = False


def render_languages(run: RunFiles, analysis: Analysis | None) -> Markup:
    """The languages, largest loss of the student first."""
    results = run.results
    if results is None:
        return _render_sentences(run)
    split, score = scored_split(results), LANGUAGE_SCORE[results["task"]]
    other = name_other(results)
    before = find_scores(results, other, split)
    after = find_scores(results, "student", split)
    if after is None:
        return Markup("")
    if before is None:
        return _render_table_of_one(results, after, score)
    gaps = list_gaps(before["per_language"], after["per_language"], score)
    if not gaps:
        return Markup("")
    columns = [
        *_compare(gaps, analysis),
        *_list_scores(gaps, SCORE_NAMES.get(score, "F1"), other),
        *_count_texts(run, [name for name, _, _ in gaps], after, SPLITS[split]),
    ]
    rows = list(zip(*(each.cells for each in columns), strict=True))
    texts = [place for place, each in enumerate(columns) if each.is_text]
    legend = element(
        "ul",
        element("li", draw_sample("teacher"), " ", other),
        element("li", draw_sample("student"), " student"),
        class_="legend",
    )
    caption = f"Languages, largest loss of the student first ({SPLITS[split]})"
    content = table(caption, [each.name for each in columns], rows, texts, class_="sortable")
    return join([_explain_intervals(analysis, other), legend, content])


def _compare(gaps: Sequence[Gap], analysis: Analysis | None) -> list[_Column]:
    """The languages, and the student's difference in each: picture, number, interval, verdict."""
    found = {name: find_difference(analysis, name) for name, _, _ in gaps}
    ends = [after - before for _, before, after in gaps]
    ends += [end for each in found.values() if each for end in (each.low, each.high)]
    scale = Scale(min(0.0, *ends), max(0.0, *ends), 8, 122)
    pictures, differences, intervals, verdicts = [], [], [], []
    for name, before, after in gaps:
        each, gap = found[name], after - before
        interval = (each.low, each.high) if each else (gap, gap)
        pictures.append(draw_span(scale, [("student", gap)], interval, zero=True))
        differences.append(format_difference(gap))
        intervals.append(format_interval(*interval) if each else UNKNOWN)
        verdicts.append(each.verdict if each else UNKNOWN)
    low, high = (format_difference(end, 1) for end in (scale.low, scale.high))
    columns = [
        _Column("language", [_mark_language(name) for name, _, _ in gaps], is_text=True),
        _Column(f"from {low} to {high}", pictures, is_text=True),
        _Column("difference", differences),
    ]
    if any(found.values()):
        columns += [_Column("95% interval", intervals), _Column("verdict", verdicts, is_text=True)]
    return columns


def _list_scores(gaps: Sequence[Gap], score: str, other: str) -> list[_Column]:
    """The scores of both models: picture and numbers."""
    values = [value for _, *pair in gaps for value in pair]
    scale = Scale(min(values), max(values), 8, 112)
    pictures = [
        draw_span(
            scale,
            [("teacher", before), ("student", after)],
            (min(before, after), max(before, after)),
        )
        for _, before, after in gaps
    ]
    span = f"{score}, {100 * scale.low:.0f} to {100 * scale.high:.0f}"
    return [
        _Column(span, pictures, is_text=True),
        _Column(other, [format_score(before) for _, before, _ in gaps]),
        _Column("student", [format_score(after) for *_, after in gaps]),
    ]


def _count_texts(run: RunFiles, names: Sequence[str], scores: Scores, split: str) -> list[_Column]:
    """The numbers of texts, and of entities in the gold labels."""
    columns = []
    train = run.outline["sentences"].get("train") if run.outline else None
    if train:
        columns.append(_Column("train texts", [f"{train.get(name, 0):,}" for name in names]))
    rows = [scores["per_language"][name] for name in names]
    columns.append(_Column(f"{split} texts", [f"{row['sentences']:,}" for row in rows]))
    if "entities" in rows[0]:
        columns.append(_Column("entities", [f"{row.get('entities', 0):,}" for row in rows]))
    return columns


def _mark_language(name: str) -> Markup:
    """A language code, to which page.js adds its name."""
    return element("span", name, data_language=name)


def _render_table_of_one(results: Results, after: Scores, score: LanguageScoreName) -> Markup:
    """The student's languages alone, lowest first."""
    rows = [
        (_mark_language(name), format_score(value), f"{each['sentences']:,}")
        for name, each in after["per_language"].items()
        if (value := each[score]) is not None
    ]
    rows.sort(key=lambda row: float(row[1]))
    name = name_score(results, scored_split(results))
    caption = "Languages, lowest first"
    header = ("language", f"{name}, %", "sentences")
    return table(caption, header, rows, class_="sortable") if rows else Markup("")


def _render_sentences(run: RunFiles) -> Markup:
    """The texts of a run that has not ended, by language."""
    if run.outline is None:
        return Markup("")
    splits = run.outline["sentences"]
    languages = sorted({name for each in splits.values() for name in each})
    rows = [
        (
            _mark_language(name),
            *(f"{each[name]:,}" if name in each else UNKNOWN for each in splits.values()),
        )
        for name in languages
    ]
    note = f"Unlabelled transfer texts: {run.outline['transfer']:,}."
    return join(
        [
            table("Labelled sentences by language", ("language", *splits), rows, class_="sortable"),
            element("p", note, class_="note"),
        ]
    )


def _explain_intervals(analysis: Analysis | None, other: str) -> Markup:
    if analysis is None or not analysis.differences:
        return Markup("")
    counted = {
        verdict: sum(row.verdict == verdict for row in analysis.differences[1:])
        for verdict in ("better", "worse", "undecided")
    }
    told = ", ".join(f"{verdict} in {count}" for verdict, count in counted.items())
    note = (
        f"The student is {told} of {len(analysis.differences) - 1} languages. Intervals are those "
        "of a bootstrap over texts; “better” and “worse” are significant at 5% in a permutation "
        "test, with Holm's correction for the number of languages. The first picture in a row is "
        f"student − {other} with its interval, the second shows both scores."
    )
    return element("p", note, class_="note")
