"""JSON lines of annotation tools and libraries -> rows with the fields of our own format.

`FORMS` has one entry a format: the fields by which it is recognised, and a function that returns
`tokens` and `tags`, or `text` (or `text_a` and `text_b`) and `label`, which may be a list of
labels. Such a function raises `ValueError` with the end of a sentence that says what is wrong.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from xdistil.data.columns import find_role, find_roles
from xdistil.data.json_spans import (
    SPANS,
    check_spans,
    find_spans,
    has_spans,
    make_type,
    read_spans,
    tag_words,
)
from xdistil.data.label_lists import write_list
from xdistil.data.language_codes import is_language
from xdistil.errors import InputError, show

Row = dict[str, Any]
Names = Mapping[str, Sequence[str]]  # of the integers in a field


@dataclass(frozen=True)
class Form:
    """One format of JSON lines."""

    name: str  # told at the start
    fields: str  # by which it is recognised, told where nothing is
    kind: str  # tagging or classification
    fits: Callable[[Row], bool]
    convert: Callable[[Row, Names], Row]


def name_words(row: Row) -> Row:
    """The row with its list of words as `tokens`, whatever it calls them."""
    for name in ("tokens", "words"):
        words = row.get(name)
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return row if name == "tokens" else {**row, "tokens": words}
    return row


def find_language(row: Row) -> str | None:
    """The language of a row in a field other than `language`, if that is known."""
    for name in ("lang", "locale", "langs"):
        value = row.get(name)
        if isinstance(value, list) and value and all(each == value[0] for each in value):
            value = value[0]  # of each word
        if isinstance(value, str) and is_language(value):
            return value
    return None


def recognise_row(row: Row, kind: str = "") -> Form | None:
    """The format of a row, of a kind of task if that is known."""
    wanted = "classification" if kind == "multilabel" else kind
    return next((form for form in FORMS if wanted in ("", form.kind) and form.fits(row)), None)


def choose_label(row: Row, kind: str) -> Row:
    """A converted row whose label is one, or the JSON list of several if the kind is multilabel.

    Raises:
        ValueError: it has several, or none, and the kind allows one.
    """
    label = row.get("label")
    if not isinstance(label, list):
        return row
    if kind == "multilabel":
        return {**row, "label": write_list(label)}
    if len(label) != 1:
        raise ValueError(
            f"{len(label)} labels where one is expected: set data.task=multilabel if a text may "
            "have any number of them"
        )
    return {**row, "label": label[0]}


def list_forms() -> str:
    """What rows are recognised by, for errors."""
    return "; ".join(dict.fromkeys(form.fields for form in FORMS))


def read_names(folder: Path) -> dict[str, tuple[str, ...]]:
    """What the integers of fields stand for, from the dataset_info.json of an exported data set.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / "dataset_info.json"
    try:
        return name_integers(json.loads(path.read_text(encoding="utf-8")).get("features") or {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path} cannot be read as the description of a data set.") from error


def name_integers(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The names of the integers in fields, by the features of Hugging Face datasets."""
    names = {}
    for field, feature in features.items():
        while feature and "names" not in feature:  # lists of lists
            feature = feature[0] if isinstance(feature, list) else feature.get("feature")
        if feature:
            names[field] = tuple(map(str, feature["names"]))
    return names


def _text(row: Row) -> str:
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("field 'text' must be a text that is not empty")
    return text


def _convert_spans(row: Row, names: Names) -> Row:
    _check_answer(row)
    check_spans(row)
    text = _text(row)
    return tag_words(text, read_spans(text, find_spans(row)))


def _list_values(row: Row) -> list[Row]:
    # Those of the first annotation of Label Studio that was not cancelled; relations have none.
    notes = [note for note in row["annotations"] if not note.get("was_cancelled")]
    return [each.get("value", {}) for note in notes[:1] for each in note.get("result", [])]


def _convert_label_studio(row: Row, names: Names) -> Row:
    _check_annotated(row)
    values = [value for value in _list_values(row) if "start" in value or "labels" in value]
    for value in values:
        if "labels" not in value:
            place = f"{show(value['start'])} to {show(value.get('end'))}"
            raise ValueError(f"the region {place} has no labels: label it, or delete it")
    text = _text(_find_task(row))
    return tag_words(text, read_spans(text, values))


def _check_annotated(row: Row) -> None:
    if all(note.get("was_cancelled") for note in row["annotations"]):
        raise ValueError("this task was not annotated: export the annotated ones alone")


def _convert_choices(row: Row, names: Names) -> Row:
    _check_annotated(row)
    choices = [choice for value in _list_values(row) for choice in value.get("choices", ())]
    return _convert_class({"text": _text(_find_task(row)), "label": choices}, names)


def _find_task(row: Row) -> Row:
    # The text of a task of Label Studio, under whatever name the project gave it.
    data = row["data"]
    texts = find_texts(data) or [name for name in data if isinstance(data[name], str)]
    return {"text": data[texts[0]]} if len(texts) == 1 else data


def _is_label_studio(row: Row) -> bool:
    data, notes = row.get("data"), row.get("annotations")
    return (
        isinstance(data, dict)
        and any(isinstance(value, str) for value in data.values())
        and isinstance(notes, list)
        and all(isinstance(note, dict) for note in notes)
        and all(isinstance(note.get("result", []), list) for note in notes)
        and all(
            isinstance(each, dict) and isinstance(each.get("value", {}), dict)
            for note in notes
            for each in note.get("result", [])
        )
    )


def _is_choice(row: Row) -> bool:
    # Or nothing is annotated, which may be so in both kinds of tasks.
    if not _is_label_studio(row):
        return False
    choices = [value["choices"] for value in _list_values(row) if "choices" in value]
    nothing = not any(note.get("result") for note in row["annotations"])
    are_labels = all(isinstance(each, list) and _is_label(each) for each in choices)
    return nothing or (bool(choices) and are_labels)


def _is_rated(row: Row) -> bool:
    rated = row.get("cats")
    return isinstance(row.get("text"), str) and isinstance(rated, dict) and not find_spans(row)


def _convert_rated(row: Row, names: Names) -> Row:
    rated = row["cats"]
    if not all(type(value) in (int, float, bool) for value in rated.values()):
        raise ValueError("field 'cats' must have a number by class")
    given = [name for name, value in rated.items() if value > 0.5]
    return _convert_class({"text": _text(row), "label": given}, names)


def _convert_gliner(row: Row, names: Names) -> Row:
    words = row["tokenized_text"]
    tags = ["O"] * len(words)
    for span in row["ner"]:
        if not (isinstance(span, list) and len(span) == 3):
            raise ValueError(f"{show(span)} is not [first word, last word, type]")
        first, last, kind = span
        if type(first) is type(last) is int and last < first:
            raise ValueError(f"{show(span)} ends before its first word")
        if not (type(first) is type(last) is int and 0 <= first <= last < len(words)):
            raise ValueError(f"{show(span)} does not lie in the text, which has {len(words)} words")
        if any(tag != "O" for tag in tags[first : last + 1]):
            raise ValueError(f"{show(span)} overlaps another entity: keep one of them")
        kind = make_type(kind)
        tags[first : last + 1] = [f"B-{kind}"] + [f"I-{kind}"] * (last - first)
    return {"tokens": words, "tags": tags}


def _find_integers(row: Row) -> str:
    """The field with a tag for each of `tokens` that is not called `tags`, or whose are numbers."""
    for name in ("ner_tags", "tags", "labels", "ner", "label"):
        values = row.get(name)
        if isinstance(values, list) and values:
            if all(type(value) is int for value in values):
                return name
            if name != "tags" and all(isinstance(value, str) for value in values):
                return name
    return ""


def _convert_integers(row: Row, names: Names) -> Row:
    field = _find_integers(row)
    tags = []
    for value in row[field]:
        if isinstance(value, int):
            known = names.get(field) or names.get("")
            if not known:
                raise ValueError(
                    f"the tags in {show(field)} are numbers without names: add labels.tsv with one "
                    "tag per line in the order of the numbers, or the data set's dataset_info.json"
                )
            if not 0 <= value < len(known):
                raise ValueError(f"tag {value} is not a number of the {len(known)} tags")
            value = known[value]
        tags.append(value)
    return {"tokens": row["tokens"], "tags": tags}


def find_texts(row: Row) -> tuple[str, ...]:
    """The fields with the text or the two texts of a row; empty if there are none."""
    return _choose_texts(tuple(name for name, value in row.items() if isinstance(value, str)))


# The rows of a file have few sets of fields.
@lru_cache(256)
def _choose_texts(fields: tuple[str, ...]) -> tuple[str, ...]:
    roles = find_roles(fields, "classification", labelled=False)
    return tuple(fields[roles[role]] for role in ("text", "text_a", "text_b") if role in roles)


def _find_label(row: Row) -> str:
    return _choose_label(tuple(name for name, value in row.items() if _is_label(value)))


@lru_cache(256)
def _choose_label(fields: tuple[str, ...]) -> str:
    return next((fields[at] for at in find_role(fields, "label")), "")


def _is_label(value: Any) -> bool:
    if isinstance(value, list):
        return all(type(each) in (str, int) for each in value)
    return isinstance(value, str | int)


def _check_answer(row: Row) -> None:
    if row.get("answer") in ("reject", "ignore"):
        raise ValueError(
            f"its answer is {show(row['answer'])}, so its labels are not meant (Prodigy): leave "
            "out all records but the accepted ones"
        )


def _is_chosen(row: Row) -> bool:
    return isinstance(row.get("text"), str) and _has_lists(row, "options", "accept")


def _convert_chosen(row: Row, names: Names) -> Row:
    return _convert_class(row, names, "accept")


def _convert_class(row: Row, names: Names, field: str = "") -> Row:
    _check_answer(row)
    texts, field = find_texts(row), field or _find_label(row)
    label, known, text = row[field], names.get(field) or (), row.get(f"{field}_text")

    def name(value: Any) -> Any:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int) and isinstance(text, str) and not known:  # as SetFit names it
            return text
        return known[value] if type(value) is int and 0 <= value < len(known) else value

    label = list(map(name, label)) if isinstance(label, list) else name(label)
    keys = ("text",) if len(texts) == 1 else ("text_a", "text_b")
    return {**{key: row[name] for key, name in zip(keys, texts, strict=True)}, "label": label}


def is_undecided(row: Row) -> bool:
    """Whether the lists of a row are empty, be they of spans or of labels."""
    if _is_label_studio(row):
        return not any(note.get("result") for note in row["annotations"])
    lists = [row[name] for name in SPANS if isinstance(row.get(name), list)]
    return bool(find_texts(row)) and bool(lists) and not any(lists)


def _has_lists(row: Row, *fields: str) -> bool:
    return all(isinstance(row.get(field), list) for field in fields)


FORMS = (
    Form(
        "words and tags",
        "tokens and tags",
        "tagging",
        lambda row: "tokens" in row and "tags" in row and _find_integers(row) != "tags",
        lambda row, names: row,
    ),
    Form(
        "words and tags of Hugging Face datasets",
        "tokens and ner_tags",
        "tagging",
        lambda row: "tokens" in row and bool(_find_integers(row)),
        _convert_integers,
    ),
    Form(
        "GLiNER (indices of words, the last one included)",
        "tokenized_text and ner",
        "tagging",
        lambda row: _has_lists(row, "tokenized_text", "ner"),
        _convert_gliner,
    ),
    Form(
        "Label Studio (choices)",
        "data and annotations (Label Studio)",
        "classification",
        _is_choice,
        _convert_choices,
    ),
    Form(
        "Prodigy (choices)",
        "text, options and accept (Prodigy)",
        "classification",
        _is_chosen,
        _convert_chosen,
    ),
    Form(
        "spaCy (cats)",
        "text and cats (spaCy)",
        "classification",
        _is_rated,
        _convert_rated,
    ),
    Form(
        "Label Studio (offsets of characters, the end exclusive)",
        "data and annotations (Label Studio)",
        "tagging",
        lambda row: _is_label_studio(row) and (is_undecided(row) or not _is_choice(row)),
        _convert_label_studio,
    ),
    Form(
        "doccano, Prodigy or spaCy (offsets of characters, the end exclusive)",
        "text with spans, entities or label as lists of offsets (doccano, Prodigy, spaCy)",
        "tagging",
        has_spans,
        _convert_spans,
    ),
    Form(
        "texts and labels",
        "text (or text_a and text_b) and label",
        "classification",
        lambda row: bool(find_texts(row) and _find_label(row)),
        _convert_class,
    ),
)
