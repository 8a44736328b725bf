"""Annotators who are the teacher, as tables: scores on dev, and spans that did not fit."""

from xdistil.evaluation.formatting import UNKNOWN, format_score
from xdistil.evaluation.results import AnnotatorScores, Results, SpanScores
from xdistil.evaluation.tables import Table

_NUMBERS = ("F1", "precision", "recall", "spans")


def tabulate_annotators(results: Results) -> list[Table]:
    """The tables of a run whose teacher is annotators; none of other runs."""
    if "annotators" not in results:
        return []
    found = results["annotators"]
    agreement = "" if found["alpha"] is None else f"; Krippendorff's alpha {found['alpha']:.3f}"
    title = (
        f"annotators of {found['texts']:,} texts, {found['unmarked']:,} of them without any mark"
        f"{agreement}; scores on the {found['compared']:,} that are in dev"
    )
    rows = []
    for name in found["names"]:
        scores, spans = found["annotators"].get(name), found["spans"].get(name)
        cells = _format(scores) if scores else (UNKNOWN, UNKNOWN, UNKNOWN, format_score(spans))
        rows.append((name, *cells))
    rows += [(f"votes: {name}", *_format(each)) for name, each in found["combined"].items()]
    for name, each in found["combined"].items():
        for part in ("types", "languages"):
            parts = each["types"] if part == "types" else each["languages"]
            if len(parts) > 1:
                rows += [(f"votes: {name}, {key}", *_format(one)) for key, one in parts.items()]
    settled = [
        (each["annotator"], each["reason"], format_score(each["spans"]))
        for each in found["settled"]
    ]
    examples = [
        (each["reason"], each["annotator"], each["span"], each["text"])
        for each in found["examples"]
    ]
    return [
        Table(title, ("", *_NUMBERS), rows),
        Table(
            "spans that were moved or rejected", ("annotator", "reason", "spans"), settled, (0, 1)
        ),
        Table(
            "examples of them",
            ("reason", "annotator", "span", "text"),
            [tuple(" ".join(cell.split()) for cell in row) for row in examples],
            (0, 1, 2, 3),
        ),
    ]


def _format(scores: AnnotatorScores | SpanScores) -> tuple[str, ...]:
    numbers = (scores["f1"], scores["precision"], scores["recall"], scores["found"])
    return tuple(map(format_score, numbers))
