"""Files of annotators' answers -> texts with what each annotator said of them.

A line is one JSON object with the text and the answers of several annotators, by name, or of one:

    {"text": "Anna slept", "annotators": {"a": [{"start": 0, "end": 4, "label": "PER"}], "b": null}}
    {"text": "Anna slept", "spans": [{"start": 0, "end": 4, "label": "PER", "score": 0.9}]}
    {"text": "Good", "annotators": {"a": "positive", "b": {"positive": 0.7, "negative": 0.3}}}
    {"text": "Good", "label": "positive", "score": 0.9}

The annotator of a line without names is its field `annotator`, or else the name of its file. null
is an abstention: the annotator did not answer. An empty list is an answer: nothing is to be marked.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from xdistil.data.examples import UNKNOWN_LANGUAGE, Task
from xdistil.data.json_records import load_json
from xdistil.data.json_rows import (
    find_texts,
    list_forms,
    recognise_row,
)
from xdistil.data.json_spans import find_spans, has_spans, read_span
from xdistil.data.language_codes import fold_language
from xdistil.data.lines import find_extension, locate, read_lines
from xdistil.data.records import check_language, read_text_field
from xdistil.data.segmentation import drop_blanks
from xdistil.data.spans import find_spans as find_tagged
from xdistil.data.spans import join_words
from xdistil.data.tag_schemes import is_tag, to_iob2
from xdistil.errors import InputError, show, suggest

NAMED, NAME = "annotators", "annotator"  # fields with answers by name, and with one name
_ONE = ("spans", "label", "scores")  # fields that hold one annotator's answer, or null


class Span(NamedTuple):
    """Characters of a text that an annotator gave a type."""

    start: int
    end: int  # exclusive
    type: str
    score: float = 1.0  # from 0 to 1


Answer = tuple[Span, ...] | Mapping[str, float]  # tagging: spans; classification: shares by class


@dataclass
class AnsweredText:
    """A text, and what annotators said of it."""

    inputs: tuple[str, ...]  # a text as it is typed (tagging), or one or two (classification)
    language: str  # "und" if unknown
    place: str  # file and line where it stands first
    answers: dict[str, Answer | None] = field(default_factory=dict)  # None: an abstention
    places: dict[str, str] = field(default_factory=dict)  # file and line of each answer


def digest_text(inputs: Sequence[str], kind: str) -> str:
    """What a text is found by, however it is cut: its characters without blanks (tagging)."""
    return drop_blanks("".join(inputs)) if kind == "tagging" else "\t".join(inputs)


def read_answers(paths: Iterable[Path], task: Task) -> list[AnsweredText]:
    """The texts of files in the order in which they occur, each once.

    Args:
        task: its classes, or the types in its tags, are the only labels.

    Raises:
        InputError: a file or a line that cannot be read; a span outside of its text; a label that
            the task has not; a score that is none; two different answers of one annotator to one
            text. The sentence has file and line.
    """
    reader = _Reader(task)
    for path in paths:
        for number, line in enumerate(read_lines(path), 1):
            if line and not line.isspace():
                reader.add(path, number, load_json(path, number, line))
    if not reader.texts:
        raise InputError("teacher.labels names no text.")
    return list(reader.texts.values())


def guess_task(paths: Iterable[Path]) -> Task:
    """The task whose labels are all those that occur in files of answers, sorted.

    Raises:
        InputError: as `read_answers`, or there is no label at all.
    """
    kind = ""
    reader = _Reader(Task("", ()), grows=True)
    for path in paths:
        for number, line in enumerate(read_lines(path), 1):
            if line and not line.isspace():
                row = load_json(path, number, line)
                kind = kind or _guess_kind(row)
                reader.task = Task(kind or "tagging", ())
                reader.add(path, number, row)
    if not reader.known:
        raise InputError("teacher.labels names no label: no annotator marked anything.")
    if kind == "classification":
        if len(reader.known) == 1:
            raise InputError(
                f"teacher.labels has the class {show(*reader.known)} alone: name answers with "
                "several classes, or all classes in labels.tsv of data.folder."
            )
        return Task(kind, tuple(sorted(reader.known)))
    tags = [f"{prefix}-{type_}" for prefix in "BI" for type_ in sorted(reader.known)]
    return Task(kind, (*tags, "O"))


def _guess_kind(row: dict[str, Any]) -> str:
    """The kind of task of a line; empty where it does not tell."""
    answers = row[NAMED].values() if isinstance(row.get(NAMED), dict) else ()
    for answer in answers:
        if answer is not None:
            return "tagging" if isinstance(answer, list) else "classification"
    if NAMED in row or any(each in row and row[each] is None for each in _ONE):
        return ""
    if has_spans(row) or isinstance(row.get("spans"), list) or "tags" in row:
        return "tagging"
    form = recognise_row(row)
    return form.kind if form else "classification"


class _Reader:
    def __init__(self, task: Task, grows: bool = False) -> None:
        self.texts: dict[str, AnsweredText] = {}  # by digest
        self.task = task
        self.known = {label[2:] for label in task.labels if label != "O"}
        if task.kind == "classification":
            self.known = set(task.labels)
        self._grows = grows  # labels that are not known are added

    def add(self, path: Path, number: int, row: dict[str, Any]) -> None:
        """Reads a line."""
        place = locate(path, number)
        try:
            inputs, answers = self._read_row(path, number, row)
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{place}: {error}.") from None
        language = UNKNOWN_LANGUAGE
        if row.get("language"):
            language = fold_language(read_text_field(path, number, row, "language"))
            check_language(path, number, language)
        key = digest_text(inputs, self.task.kind)
        known = self.texts.setdefault(key, AnsweredText(inputs, language, place))
        if known.language == UNKNOWN_LANGUAGE:
            known.language = language
        if known.inputs != inputs and self.task.kind == "tagging":
            # Other blanks: the offsets of these answers belong to this spelling alone.
            answers = {
                name: move_spans(answer, inputs[0], known.inputs[0])
                if isinstance(answer, tuple)
                else answer
                for name, answer in answers.items()
            }
        for name, answer in answers.items():
            if name not in known.answers:
                known.answers[name], known.places[name] = answer, place
            elif known.answers[name] != answer:
                raise InputError(
                    f"{place}: this text stands in {known.places[name]} too, with another answer "
                    f"of {show(name)}: give each annotator a name, in the field annotators or "
                    "annotator, or a file of its own."
                )

    def _read_row(
        self, path: Path, number: int, row: dict[str, Any]
    ) -> tuple[tuple[str, ...], dict[str, Answer | None]]:
        if NAMED in row and not isinstance(row[NAMED], dict):
            raise ValueError(f"field {show(NAMED)} must hold answers by the names of annotators")
        stem = path.name.removesuffix(".gz").removesuffix(f".{find_extension(path)}")
        name = row.get(NAME, stem)
        if not isinstance(name, str) or not name:
            raise ValueError(f"field {show(NAME)} is {show(name)}: it must be a name")
        if self.task.kind != "tagging":
            inputs = tuple(
                read_text_field(path, number, row, each) for each in find_texts(row) or ("text",)
            )
            if NAMED in row:
                return inputs, {each: self._read_class(value) for each, value in row[NAMED].items()}
            return inputs, {name: self._read_class(_take_one(row))}
        if NAMED in row:
            text = read_text_field(path, number, row, "text")
            found = {each: self._read_spans(value, text) for each, value in row[NAMED].items()}
            return (text,), found
        if any(each in row and row[each] is None for each in _ONE):
            return (read_text_field(path, number, row, "text"),), {name: None}
        text, answers = "", dict[str, Answer | None]()
        for each, part in _part_annotations(row, name).items():
            spelled, answer = self._read_one(path, number, part)
            text = text or spelled
            # Words are cut where spans begin and end, which is where blanks then stand.
            assert isinstance(answer, tuple)
            answers[each] = answer if spelled == text else move_spans(answer, spelled, text)
        return (text,), answers

    def _read_one(self, path: Path, number: int, row: dict[str, Any]) -> tuple[str, Answer]:
        """Text and spans of a line in any format that task files may have."""
        if isinstance(row.get("spans"), list) or has_spans(row):
            text = read_text_field(path, number, row, "text")
            return text, self._read_spans(find_spans(row), text) or ()
        form = recognise_row(row, "tagging") if "tags" not in row else None
        found = row if form is None else form.convert(row, {})
        words: list[str] = found.get("tokens") or []
        tags: list[str] = found.get("tags") or []
        if not (_are_texts(words) and _are_texts(tags)) or len(words) != len(tags):
            raise ValueError(
                f"this line has no answer: it needs text and spans, text and annotators, or the "
                f"fields of another format ({list_forms()})"
            )
        if odd := [tag for tag in tags if not is_tag(tag)]:
            raise ValueError(f"{show(odd[0])} is not a tag")
        text, places = join_words(words)
        legal, fault = to_iob2(tags, "iob2")
        if fault is not None:
            raise ValueError(f"tag {show(tags[fault])} continues no entity")
        return text, tuple(
            Span(places[first][0], places[after - 1][1], self._check_type(type_))
            for first, after, type_ in find_tagged(legal)
        )

    def _read_spans(self, value: Any, text: str) -> Answer | None:
        if value is None:
            return None
        if not isinstance(value, list):
            raise ValueError(f"{show(value)} is no list of spans; null is an abstention")
        spans = []
        for each in value:
            if not isinstance(each, dict | list) or (isinstance(each, list) and len(each) != 3):
                raise ValueError(f"{show(each)} is no span with start, end and label")
            start, end, type_ = read_span(each)
            if end < start:
                raise ValueError(f"span {start} to {end} ends before it starts")
            if not 0 <= start < end <= len(text):
                raise ValueError(
                    f"span {start} to {end} does not lie in the text, which has {len(text)} "
                    "characters"
                )
            score = _read_score(each.get("score")) if isinstance(each, dict) else 1.0
            spans.append(Span(start, end, self._check_type(type_), score))
        return tuple(spans)

    def _check_type(self, type_: str) -> str:
        if self._grows:
            self.known.add(type_)
        if type_ not in self.known:
            raise ValueError(f"{show(type_)} is not a type of the task{suggest(type_, self.known)}")
        return type_

    def _read_class(self, value: Any) -> Mapping[str, float] | None:
        """The shares of the classes in an answer: a class, one with a score, or a score each."""
        if value is None:
            return None
        if isinstance(value, dict) and "label" not in value:
            shares = {self._find_class(name): _read_score(each) for name, each in value.items()}
            total = math.fsum(shares.values())
            if not total:
                raise ValueError(f"the scores {show(value)} are all 0")
            return {name: share / total for name, share in shares.items() if share}
        score = 1.0
        if isinstance(value, dict):
            value, score = value["label"], _read_score(value.get("score"))
        label = self._find_class(value)
        others = [each for each in self.task.labels if each != label]
        rest = (1 - score) / len(others) if others else 0.0
        shares = {label: score, **dict.fromkeys(others, rest)}
        return {name: share for name, share in shares.items() if share}

    def _find_class(self, value: Any) -> str:
        labels = self.task.labels
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, str | int) and not isinstance(value, bool):
            name = str(value)
            if self._grows:
                self.known.add(name)
                return name
            if name in labels:
                return name
            if isinstance(value, int) and 0 <= value < len(labels):
                return labels[value]
            raise ValueError(f"{show(value)} is not a class of the task{suggest(name, labels)}")
        raise ValueError(f"{show(value)} is not a class; null is an abstention")


def _part_annotations(row: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """A task of Label Studio as one line for each of its annotations, by who completed it, or else
    by its number; other lines as they are, by `name`.

    Raises:
        ValueError: one annotator has completed two annotations of the task.
    """
    notes = row.get("annotations")
    if not isinstance(notes, list) or not all(isinstance(note, dict) for note in notes):
        return {name: row}
    kept = [note for note in notes if not note.get("was_cancelled")]
    if len(kept) < 2:
        return {name: row}
    parts: dict[str, dict[str, Any]] = {}
    for number, note in enumerate(kept, 1):
        by = note.get("completed_by")
        if isinstance(by, dict):  # the long form of an export
            by = by.get("email") or by.get("id")
        who = f"{by}" if isinstance(by, str | int) and by else f"annotation {number}"
        if who in parts:
            raise ValueError(f"{show(who)} has completed two annotations of this task: keep one")
        parts[who] = {**row, "annotations": [note]}
    return parts


def _take_one(row: dict[str, Any]) -> Any:
    """The answer of a line of classification without names."""
    if "scores" in row:
        return row["scores"]
    if "label" not in row:
        raise ValueError("this line has no answer: it needs label, scores or annotators")
    return (
        row["label"]
        if row["label"] is None
        else {k: row[k] for k in ("label", "score") if k in row}
    )


def _read_score(value: Any) -> float:
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"score {show(value)} is not a number from 0 to 1")
    return float(value)


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(v, str) for v in values)


def move_spans(spans: Sequence[Span], text: str, other: str) -> tuple[Span, ...]:
    """The spans of a text in another spelling of it, which differs in blanks alone."""
    places = [at for at, character in enumerate(other) if drop_blanks(character)]
    before = [0]
    for character in text:
        before.append(before[-1] + len(drop_blanks(character)))
    moved = []
    for span in spans:
        first, after = before[span.start], before[span.end]
        if first < after:
            moved.append(span._replace(start=places[first], end=places[after - 1] + 1))
    return tuple(moved)
