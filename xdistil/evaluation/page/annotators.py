"""Annotators who are the teacher: agreement, scores on gold dev, spans that did not fit."""

from collections.abc import Mapping

from xdistil.annotators.settle import BLANK, MOVED, NESTED, OVERLAPPING, PART, TWICE, TYPES
from xdistil.evaluation.formatting import UNKNOWN, format_score
from xdistil.evaluation.page.charts import draw_bar
from xdistil.evaluation.page.files import RunFiles
from xdistil.evaluation.page.markup import Markup, element, join, table
from xdistil.evaluation.results import AnnotatorScores, AnnotatorsResult, SettledExample

MEANINGS = {
    MOVED: "An edge lay inside a word and moved to an edge of the word.",
    BLANK: "Rejected: blanks and invisible characters only.",
    PART: "Rejected: less than half of every word that it meets.",
    TWICE: "Rejected: the same words and type as another span.",
    TYPES: "Rejected: the same words as another span, with another type.",
    NESTED: "Rejected: within another span, or around it.",
    OVERLAPPING: "Rejected: shares words with another span.",
}
_SHOWN = 200  # characters of a text that results keep


def render_annotators(run: RunFiles) -> Markup:
    """Nothing for a run that has not ended, or that has no annotators."""
    if run.results is None or "annotators" not in run.results:
        return Markup("")
    found, tagging = run.results["annotators"], run.results["task"] == "tagging"
    parts = [element("p", _tell_agreement(found, tagging))]
    parts += [
        _render_scores(found, tagging),
        *_render_parts(found, tagging),
        _render_settled(found),
    ]
    return join([*parts, *_render_examples(found)])


def _tell_agreement(found: AnnotatorsResult, tagging: bool) -> str:
    count, texts, unmarked = len(found["names"]), found["texts"], found["unmarked"]
    share = 100 * unmarked / texts if texts else 0.0
    nobody = "nobody marked anything" if tagging else "nobody answered"
    told = (
        f"{count:,} annotator{'s' * (count != 1)} answered {texts:,} texts; in {unmarked:,} of "
        f"them ({share:.1f}%) {nobody}. "
    )
    what = "the tags of words" if tagging else "the classes of texts"
    alpha = found["alpha"]
    if alpha is None:
        told += f"Krippendorff's alpha over {what} is undefined: too few of them have two answers."
    else:
        told += (
            f"Krippendorff's alpha over {what} is {alpha:.3f}: 1 is full agreement, 0 is the "
            "agreement of chance."
        )
    if votes := found.get("votes"):
        told += f" The targets are the {votes} votes"
        left_out = found.get("left_out") or {}
        if units := left_out.get("units"):
            told += f", without {units:,} units of too little agreement, in {left_out['texts']:,}"
            told += " texts"
        told += "."
    if calibration := found.get("calibration"):
        told += (
            f" They are calibrated on {calibration['units']:,} units of dev, whose mean negative "
            f"log-likelihood falls from {calibration['before']:.4f} to {calibration['after']:.4f}."
        )
    return told


def _render_scores(found: AnnotatorsResult, tagging: bool) -> Markup:
    """All annotators and all ways to combine their votes, in one table."""
    compared = found["compared"]
    scored: dict[str, AnnotatorScores | None] = {
        name: found["annotators"].get(name) for name in found["names"]
    }
    rows = [_score_row(name, each, tagging, "inner") for name, each in scored.items()]
    for name, each in found["combined"].items():
        rows.append(_score_row(f"votes: {name}", each, tagging, "teacher"))
    if compared:
        caption = f"Annotators and their votes against the gold labels of {compared:,} texts of dev"
        header = ["annotator", "F1, %" if tagging else "right, %", "0 to 100"]
        if tagging:  # of classes all three scores are the same, as an answer is one class
            header += ["precision, %", "recall, %", "spans found", "gold spans"]
        header.append("texts answered")
        return table(caption, header, rows, (0, 2), class_="sortable")
    if not tagging:
        return Markup("")
    spans = [(name, f"{found['spans'].get(name, 0):,}") for name in found["names"]]
    caption = "Spans by annotator (no text with answers has gold labels in dev)"
    return table(caption, ("annotator", "spans"), spans, class_="sortable")


def _score_row(
    name: str, scores: AnnotatorScores | None, tagging: bool, style: str
) -> tuple[str, ...]:
    if scores is None:
        return (name, *[UNKNOWN] * (7 if tagging else 3))
    f1 = scores["f1"]
    more = (scores["precision"], scores["recall"], scores["found"], scores["wanted"])
    return (
        name,
        format_score(f1),
        Markup("") if f1 is None else draw_bar(f1, style, 100),
        *(map(format_score, more) if tagging else ()),
        f"{scores['texts']:,}",
    )


def _render_parts(found: AnnotatorsResult, tagging: bool) -> list[Markup]:
    """Scores by type and by language, where there are several."""
    scored = {**found["annotators"]}
    scored |= {f"votes: {name}": each for name, each in found["combined"].items()}
    parts = []
    for what in ("type", "language"):
        by_name = {
            name: each["types"] if what == "type" else each["languages"]
            for name, each in scored.items()
        }
        keys = sorted({key for each in by_name.values() for key in each})
        if len(keys) < 2:
            continue
        rows = [
            (
                element("span", key, data_language=key) if what == "language" else key,
                *(
                    format_score(each[key]["f1"]) if key in each else UNKNOWN
                    for each in by_name.values()
                ),
            )
            for key in keys
        ]
        title = f"{'F1' if tagging else 'Right answers'} by {what}"
        content = table(f"{title}, %", (what, *by_name), rows, class_="sortable")
        parts.append(element("details", element("summary", title), content))
    return parts


def _render_settled(found: AnnotatorsResult) -> Markup:
    """How many spans of each annotator were moved and rejected, by reason."""
    if not found["settled"]:
        return Markup("")
    counts: dict[str, dict[str, int]] = {}
    for each in found["settled"]:
        counts.setdefault(each["annotator"], {})[each["reason"]] = each["spans"]
    reasons = [each for each in MEANINGS if any(each in one for one in counts.values())]
    rows = [
        (name, *_count_settled(counts.get(name, {}), found["spans"].get(name, 0), reasons))
        for name in found["names"]
    ]
    header = ("annotator", "spans", *reasons, "rejected, %")
    return table("Spans that were moved or rejected", header, rows, class_="sortable")


def _count_settled(counts: Mapping[str, int], spans: int, reasons: list[str]) -> tuple[str, ...]:
    rejected = sum(count for reason, count in counts.items() if reason != MOVED)
    share = f"{100 * rejected / spans:.2f}" if spans else UNKNOWN
    return (f"{spans:,}", *(f"{counts.get(reason, 0):,}" for reason in reasons), share)


def _render_examples(found: AnnotatorsResult) -> list[Markup]:
    """A few spans of each reason, in their texts."""
    by_reason: dict[str, list[SettledExample]] = {}
    for each in found["examples"]:
        by_reason.setdefault(each["reason"], []).append(each)
    parts = []
    for reason in sorted(by_reason, key=[*MEANINGS].index):
        items = [
            element(
                "li",
                element(
                    "div",
                    element("span", element("bdi", each["annotator"]), class_="who"),
                    element("p", *_mark(each["span"], each["text"]), class_="text", dir="auto"),
                    class_="answer",
                ),
            )
            for each in by_reason[reason]
        ]
        parts += [
            element("h3", f"Examples: {reason}"),
            element("p", MEANINGS[reason], class_="note"),
            element("ul", *items, class_="examples"),
        ]
    return parts


def _mark(span: str, text: str) -> list[str]:
    """A text with its span marked; the span comes first where its place is not certain."""
    shown = f"{text} …" if len(text) == _SHOWN else text
    if not span.strip() or not span.isprintable():
        codes = " ".join(f"U+{ord(character):04X}" for character in span)
        return [element("mark", codes, class_="entity type-7"), " in: ", element("bdi", shown)]
    mark = element("mark", element("bdi", span), class_="entity type-7")
    before, found, after = shown.partition(span)
    if not found or span in after:
        return [mark, " in: ", element("bdi", shown)]
    return [before, mark, after]
