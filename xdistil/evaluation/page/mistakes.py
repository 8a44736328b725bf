"""Where models are wrong: kinds of error, confusions, and examples behind a filter."""

from collections.abc import Sequence
from typing import Any

from xdistil.evaluation.formatting import (
    UNKNOWN,
)
from xdistil.evaluation.page.analysis import Analysis
from xdistil.evaluation.page.errors import LABEL_MEANINGS, MEANINGS
from xdistil.evaluation.page.files import RunFiles
from xdistil.evaluation.page.markup import Markup, data_block, element, join, table
from xdistil.evaluation.page.wording import SPLITS
from xdistil.evaluation.results import (
    scored_split,
)

_MOST_TYPES = 12  # in a matrix of confusions
_MOST_CONFUSIONS = 20  # in a list of them, where there are more types


def render_errors(run: RunFiles, analysis: Analysis | None) -> Markup:
    """Kinds of error and confusions of types or classes, by model."""
    if analysis is None or run.results is None:
        return Markup("")
    parts = []
    several = run.results["task"] == "multilabel"
    meanings = LABEL_MEANINGS if several else MEANINGS
    kinds = [kind for kind in meanings if any(each[kind] for each in analysis.errors.values())]
    if kinds:
        header = ["error", *analysis.models, "what it is"]
        rows = [
            [
                kind,
                *(f"{analysis.errors[name][kind]:,}" for name in analysis.models),
                meanings[kind],
            ]
            for kind in kinds
        ]
        judged = "the gold labels" if analysis.reference == "gold" else "the teacher"
        noun, split = "Labels" if several else "Entities", SPLITS[scored_split(run.results)]
        caption = f"{noun} that differ from {judged} ({split})"
        parts.append(table(caption, header, rows, (0, len(header) - 1)))
    what = {"tagging": "Entity types", "multilabel": "Labels"}.get(run.results["task"], "Classes")
    matrices = [
        _render_confusions(
            f"{what}: {analysis.reference} in rows, {name} in columns", analysis.confusions[name]
        )
        for name in analysis.models
    ]
    parts.append(element("div", *matrices, class_="figures"))
    if what == "Entity types":
        note = (
            "An entity counts where it meets the predicted entity that shares most words with it, "
            "whatever the edges of both. “None” is no entity."
        )
        parts.append(element("p", note, class_="note"))
    return join(parts)


def render_examples(run: RunFiles, analysis: Analysis | None) -> Markup:
    """The filter, and the data that page.js shows through it."""
    if analysis is None or run.results is None or not analysis.examples:
        return Markup("")
    shown, differing = len(analysis.examples), analysis.differing
    split = SPLITS[scored_split(run.results)]
    judge = "the gold labels" if analysis.reference == "gold" else "the teacher"
    one = len(analysis.models) == 1
    where = (
        f"the student differs from {judge}"
        if one
        else f"the student and the {analysis.models[0]} differ"
    )
    told = f"On {differing:,} of {analysis.texts:,} texts of {split} {where}. "
    told += (
        "This page has all of them."
        if shown == differing
        else f"This page has {shown:,} of them, drawn evenly over languages and kinds of error."
    )
    told += " A dashed border is an error, with its kind beside it."
    languages = sorted({each["language"] for each in analysis.examples})
    errors = sorted({error for each in analysis.examples for error in each["errors"]})
    models = [analysis.reference, *analysis.models]
    form = element(
        "form",
        _render_choice("language", "Language", languages),
        _render_choice("error", "Error", errors),
        id="filter",
        hidden=True,
    )
    return join(
        [
            element("p", told),
            element("noscript", element("p", "The examples need JavaScript.")),
            form,
            element("p", id="count", role="status", aria_live="polite"),
            element("ol", id="list", class_="examples"),
            element("button", "Show more", type="button", id="more", hidden=True),
            data_block("data", {"models": models, "examples": analysis.examples}),
        ]
    )


def _render_confusions(caption: str, counts: Any) -> Markup:
    """A matrix, or where there are too many types the most frequent confusions."""
    totals: dict[str, int] = {}
    for pair, count in counts.items():
        for name in pair:
            if name is not None:
                totals[name] = totals.get(name, 0) + count
    names: list[str | None] = [*sorted(totals)]
    has_none = any(None in pair for pair in counts)
    if len(names) > _MOST_TYPES:
        pairs = sorted(
            ((count, pair) for pair, count in counts.items() if pair[0] != pair[1]),
            key=lambda each: (-each[0], str(each[1])),
        )
        most = [
            (pair[0] or "None", pair[1] or "None", f"{count:,}")
            for count, pair in pairs[:_MOST_CONFUSIONS]
        ]
        return table(
            f"{caption}: the most frequent confusions",
            ("right", "predicted", "times"),
            most,
            (0, 1),
        )
    names += [None] * has_none
    rows = []
    everything = sum(counts[wanted, found] for wanted in names if wanted for found in names)
    for wanted in names:
        # What is invented has no share in its own row.
        total = sum(counts[wanted, found] for found in names) if wanted else everything
        cells = []
        for found in names:
            count = counts[wanted, found]
            level = 0 if not total else -(-9 * count // total)
            style = f"heat {'right' if wanted == found else 'wrong'}-{level}"
            value = UNKNOWN if wanted is found is None else f"{count:,}"
            cells.append(element("span", value, class_=style))
        rows.append((wanted or "None", *cells))
    return table(caption, ("", *(name or "None" for name in names)), rows, class_="confusions")


def _render_choice(name: str, label: str, values: Sequence[str]) -> Markup:
    options = [element("option", "all", value="")]
    options += [element("option", value, value=value) for value in values]
    return element(
        "label", element("span", label), element("select", *options, name=name, id=f"by-{name}")
    )
