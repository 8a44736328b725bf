"""What a labelled file is, recognised by its content: kind of task, header, columns, languages."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from xdistil.config import kind_of_roles
from xdistil.data import parquet
from xdistil.data.columns import (
    Table,
    cut_rows,
    find_delimiter,
    find_roles,
    guess_delimiter,
    is_header,
    place_columns,
)
from xdistil.data.conll import Columns, find_columns, is_tagged, split_columns
from xdistil.data.formats import (
    Layout,
    find_format,
    find_text_format,
    read_records,
    read_texts,
)
from xdistil.data.json_records import load_json
from xdistil.data.json_rows import (
    is_undecided,
    list_forms,
    name_words,
    read_names,
    recognise_row,
)
from xdistil.data.json_spans import count_cut_words
from xdistil.data.label_lists import are_lists, read_cell
from xdistil.data.language_codes import is_language
from xdistil.data.lines import find_extension, locate, read_lines
from xdistil.data.records import Record
from xdistil.errors import InputError, show

_log = logging.getLogger("xdistil")
_PEEKED = 50  # records that show whether languages stand before words
_LONGEST = 300  # words in a file that is one sentence
_SAMPLED = 2000  # rows that show what the columns hold
_LIKE_TAG = re.compile(r"[Oo]|[BIESLUMWbieslumw][-_]\S+")
_CHUNKS = frozenset(("NP", "VP", "PP", "ADJP", "ADVP", "SBAR", "PRT", "CONJP", "INTJ", "LST"))


def guess_kind(path: Path, lines: Sequence[str], columns: dict[str, str] | None = None) -> str:
    """The kind of task by the labels of a file: "tagging", "classification", or "multilabel" where
    the labels of texts are lists.

    Args:
        columns: the columns of data.columns by role.

    Raises:
        InputError: a JSON object of no known format.
    """
    kind = _guess_kind(path, lines, columns)
    return "multilabel" if kind != "tagging" and _has_lists(path, lines, columns) else kind


def _has_lists(path: Path, lines: Sequence[str], columns: dict[str, str] | None) -> bool:
    # In JSON, lists of one label each are single labels.
    if not any("[" in line or '"cats"' in line for line in lines[:_SAMPLED]):
        return False
    layout = find_layout(path, lines, "multilabel", columns)

    def collect(count: int | None) -> set[str]:
        records = read_records(path, list(lines[:count]), "multilabel", layout)
        return {record.label for record in records}

    first = collect(_head(layout.form))
    if layout.form != "jsonl":
        return are_lists(first) and are_lists(collect(None))
    return are_lists(first) and (_are_several(first) or _are_several(collect(None)))


def _are_several(cells: Iterable[str]) -> bool:
    return any(len(read_cell(cell).labels) != 1 for cell in cells)


def _guess_kind(path: Path, lines: Sequence[str], columns: dict[str, str] | None) -> str:
    if columns:
        return "tagging" if kind_of_roles(columns) == "tagging" else "classification"
    form = find_format(path, list(lines))
    if form == "conll":
        return "tagging"
    if form == "jsonl":
        return _guess_json(path, lines)
    pairs = list(_label_cells(path, lines, form))
    tagged = sum(is_tagged(label) for _, label in pairs)
    return "tagging" if tagged * 2 > len(pairs) or is_aligned(pairs) else "classification"


def is_aligned(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether label cells hold one token for each word of their texts, in nine of ten rows."""
    several = [(text.split(), label.split()) for text, label in pairs if " " in text.strip()]
    if 2 * len(several) < len(pairs) or not any(len(words) > 2 for words, _ in several):
        return False
    equal = sum(len(words) == len(labels) for words, labels in several)
    return equal >= 0.9 * len(several) > 0


def find_layout(
    path: Path,
    lines: Sequence[str],
    kind: str,
    columns: dict[str, str] | None = None,
    like: Layout | None = None,
) -> Layout:
    """How a labelled file is read.

    Args:
        columns: the columns of data.columns by role.
        like: that of the training file, whose columns the others have.

    Raises:
        InputError: a column that is not there, a CSV file without a header, or as `read_records`.
    """
    form, columns = find_format(path, list(lines)), columns or {}
    layout = Layout(form)
    if form in ("tsv", "csv"):
        layout = layout._replace(table=_find_table(path, lines, form, kind, columns))
    elif form == "conll" and kind == "tagging":
        before = like.columns if like is not None else None
        layout = layout._replace(columns=_find_conll(path, lines, columns, before))
    elif form == "jsonl":
        ours = {"words": "tokens"}
        fields = tuple((ours.get(role, role), name) for role, name in columns.items())
        layout = layout._replace(fields=fields, names=_read_names(path))
        if kind == "tagging":
            _warn_of_offsets(path, lines)
    records = read_records(path, list(lines[: _head(form)]), kind, layout)
    if layout.table is not None and kind == "tagging":
        first = list(islice(records, _PEEKED))
        if len(first) > 9 and all(len(record.inputs) == 1 for record in first):
            raise InputError(
                f"{path}: every row has one word: write the words and their tags as columns in a "
                ".conll file, with an empty line after each sentence."
            )
        records = iter(first)
    return layout._replace(prefix=find_prefix(records, kind))


def _read_names(path: Path) -> dict[str, tuple[str, ...]]:
    # Of integers: by field as the file or its data set says, else in the order of labels.tsv.
    names = parquet.read_names(path) if find_extension(path) == "parquet" else {}
    names = names or read_names(path.parent)
    labels = path.with_name("labels.tsv")
    return names or ({"": tuple(read_lines(labels))} if labels.exists() else {})


def find_text_layout(path: Path, lines: Iterable[str], kind: str) -> Layout:
    """How an unlabelled file is read; a language before every word is logged.

    Raises:
        InputError: as `read_texts`.
    """
    form = find_text_format(path)
    layout = Layout(form, columns=find_columns(lines) if form == "conll" else None)
    if form == "csv":
        layout = layout._replace(table=_find_text_table(path, list(islice(lines, _PEEKED)), kind))
    prefix = find_prefix(read_texts(path, lines, kind, raw=True, quiet=True, layout=layout), kind)
    if prefix:
        _log.info("%s: %s", path, describe_prefix(prefix))
    return layout._replace(prefix=prefix)


def find_prefix(records: Iterable[Record], kind: str) -> str:
    """Where the first records of a file have languages: before all "words", or at the start of all
    "sentences"; else ""."""
    first = list(islice(records, _PEEKED))
    words = [word for each in first for word in each.inputs]
    if kind == "tagging" and len(words) > 1 and all(map(_has_language, words)):
        return "words"
    if len(first) < 2:
        return ""
    return "sentences" if all(_has_language(each.inputs[0]) for each in first) else ""


def _has_language(word: str) -> bool:
    language, colon, rest = word.partition(":")
    return bool(colon and rest) and is_language(language)


def describe_layout(layout: Layout, kind: str, path: Path, lines: Sequence[str]) -> str:
    """The format of a file and its columns in words."""
    if layout.form == "conll" and layout.columns is not None:
        width = max(layout.columns.width, 1)
        tag = layout.columns.tag % width + 1
        told = f"columns, one word per line: word in {layout.columns.word + 1}, tag in {tag}"
        told += f" of {width}"
        if tag < width:
            told += f" (set data.columns=tags:{width} to read column {width})"
    elif layout.form == "jsonl":
        whole = {"json": "JSON array", "parquet": "Parquet"}.get(find_extension(path), "JSON lines")
        told = f"{whole}, {_name_form(path, lines, kind, layout)}"
    elif layout.table is None:
        told = "words<TAB>tags" if kind == "tagging" else "text<TAB>label"
        first = next(iter(lines), "")
        told = "text<TAB>text<TAB>label" if first.count("\t") > 1 else told
    else:
        roles = sorted(layout.table.roles.items(), key=lambda item: item[1])
        told = "CSV" if find_extension(path) == "csv" else "tab-separated columns"
        told += " in quotes" if layout.table.quoted and not told.startswith("CSV") else ""
        told += ": " + ", ".join(f"{role} in {at + 1}" for role, at in roles)
    if (layout.table and layout.table.header) or (layout.columns and layout.columns.header):
        told += "; the first line is a header and left out"
    if layout.prefix:
        told += f"; {describe_prefix(layout.prefix)}"
    return told


def describe_prefix(prefix: str) -> str:
    """Where the languages of a file stand, in words."""
    where = "each word" if prefix == "words" else "the first word"
    return f"the language stands before {where} and is taken from there"


def _name_form(path: Path, lines: Sequence[str], kind: str, layout: Layout) -> str:
    for row in _sample_json(path, lines):
        row |= {ours: row[theirs] for ours, theirs in layout.fields if theirs in row}
        if form := recognise_row(row, kind):
            return form.name
    return "fields of data.columns"


def _head(form: str) -> int | None:
    # Lines from which the first records are read; those of a sentence or a cell may be several.
    return None if form in ("conll", "csv") else 2 * _PEEKED


def _sample_json(path: Path, lines: Sequence[str]) -> Iterable[dict[str, object]]:
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    rows = (load_json(path, number, line) for number, line in islice(numbered, 200))
    return map(name_words, rows)


def _warn_of_offsets(path: Path, lines: Sequence[str]) -> None:
    counts = [count_cut_words(row) for row in _sample_json(path, lines)]
    spans, cut = sum(count for count, _, _ in counts), sum(count for _, count, _ in counts)
    if 2 * cut > spans:
        example = next(each for _, _, each in counts if each)
        _log.warning(
            "%s: most spans begin or end inside a word, such as %s: offsets must count characters, "
            "not bytes, and the end is the character after the last",
            path,
            show(example),
        )


def _guess_json(path: Path, lines: Sequence[str]) -> str:
    rows = [row for row in _sample_json(path, lines) if not is_undecided(row)]
    rows = rows or list(_sample_json(path, lines))
    kinds = Counter(form.kind for row in rows if (form := recognise_row(row)))
    if kinds:
        return kinds.most_common(1)[0][0]
    row = next(iter(_sample_json(path, lines)), None)
    if row is None:
        raise InputError(f"{path} has no sentence.")
    if "tokens" in row or "text" in row or "text_a" in row:  # the reader tells what is missing
        return "tagging" if "tokens" in row else "classification"
    raise InputError(
        f"{locate(path, 1)}: the fields {', '.join(show(name) for name in list(row)[:8])} are of "
        "no known "
        f"format; looked for: {list_forms()}; name them in data.columns=text:FIELD,label:FIELD."
    )


def _label_cells(path: Path, lines: Sequence[str], form: str) -> Iterable[tuple[str, str]]:
    # (text, label) of the rows of a task file or table.
    delimiter = find_delimiter(path, lines) if form == "csv" else "\t"
    head = lines[:_SAMPLED] if form == "tsv" else lines
    for index, (_, cells) in enumerate(cut_rows(path, head, delimiter, form == "csv")):
        if index == 0 and (form == "csv" or is_header(cells)):
            roles = find_roles(cells, "tagging")
            text, label = roles.get("words", 0), roles.get("tags", -1)
        else:
            if index == 0:
                text, label = 0, -1
            if len(cells) > max(text, label, 1):
                yield cells[text], cells[label]


def _find_table(
    path: Path, lines: Sequence[str], form: str, kind: str, columns: dict[str, str]
) -> Table | None:
    quoted = form == "csv" or (kind != "tagging" and _is_quoted(lines))
    delimiter = find_delimiter(path, lines) if form == "csv" else "\t"
    _, cells = next(iter(cut_rows(path, lines, delimiter, quoted)), (1, []))
    header = is_header(cells)
    if columns:
        roles, header = place_columns(path, cells, columns, header)
        return Table(delimiter, quoted, header, roles)
    found = find_roles(cells, kind) if header or form == "csv" else {}
    if found:
        return Table(delimiter, quoted, True, found)
    if form == "csv":
        example = "words:2,tags:3" if kind == "tagging" else "text:2,label:3"
        raise InputError(
            f"{path}:1: the first line names no columns of {_needed(kind)}: it has "
            f"{', '.join(show(cell) for cell in cells[:8])}; name them in data.columns={example}, "
            "by number or by name."
        )
    if header or quoted:  # without names that say what is what
        roles = {"words": 0, "tags": 1} if kind == "tagging" else {"text": 0}
        if kind != "tagging":
            names = ("text",) if len(cells) == 2 else ("text_a", "text_b")
            roles = {name: place for place, name in enumerate(names)} | {"label": len(names)}
        return Table(delimiter, quoted, header, roles)
    return None


def _is_quoted(lines: Sequence[str]) -> bool:
    # Whether all cells of the first rows of a .tsv file are in quotes, as in CSV.
    cells = [cell for line in lines[:_PEEKED] if line for cell in line.split("\t")]
    return len(cells) > 2 and all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)


def _find_text_table(path: Path, head: Sequence[str], kind: str) -> Table:
    delimiter = guess_delimiter(head[0])
    delimiter = find_delimiter(path, head) if delimiter in head[0] else delimiter
    _, cells = next(iter(cut_rows(path, head, delimiter, quoted=True)))
    if roles := find_roles(cells, kind, labelled=False):
        return Table(delimiter, True, True, roles)
    raise InputError(
        f"{path}:1: the first line names no column of texts, such as text: it has "
        f"{', '.join(show(cell) for cell in cells[:8])}."
    )


def _needed(kind: str) -> str:
    return "words and tags" if kind == "tagging" else "texts and labels"


def _find_conll(
    path: Path, lines: Sequence[str], columns: dict[str, str], before: Columns | None
) -> Columns:
    found = find_columns(lines)
    if found.width < 2:
        return found
    rows = [
        split_columns(line, found.tabbed)
        for line in islice((line for line in lines if line.strip()), _SAMPLED)
        if not line.startswith(("#", "-DOCSTART-"))
    ]
    header = bool(rows) and is_header(rows[0])
    if header:
        found = find_columns([line for line in lines if line.strip() != lines[0].strip()])
        found = found._replace(header=lines[0].split() == rows[0])
    if columns:
        names = rows[0] if rows else [str(number + 1) for number in range(found.width)]
        roles, named = place_columns(path, names, columns, header)
        word, tag = roles.get("words", found.word), roles.get("tags", found.width - 1)
        return found._replace(word=word, tag=tag, header=named)
    if before is not None and before.width == found.width:
        return found._replace(tag=before.tag)
    if len(rows) >= _LONGEST and all(map(str.strip, lines)):
        raise InputError(
            f"{path} has no empty line, so its {len(lines):,} words are one sentence: add an empty "
            "line after each sentence."
        )
    rows = [cells for cells in rows[int(header) :] if len(cells) == found.width]
    return found._replace(tag=_choose_tag(rows, found))


def _choose_tag(rows: Sequence[Sequence[str]], found: Columns) -> int:
    """The index of the column with the tags: the last one; of GermEval's two the outer one; where
    the last one holds no tags, the one that does."""
    entities = {}
    for index in range(found.width):
        cells = [cells[index] for cells in rows]
        liked = [cell for cell in cells if _LIKE_TAG.fullmatch(cell) or is_tagged(cell)]
        if index != found.word and len(liked) >= 0.98 * len(cells) > 0:
            entities[index] = Counter(cell.partition("-")[2] for cell in liked if len(cell) > 1)
    last = found.width - 1
    if last not in entities:
        others = [index for index in entities if entities[index]]
        unprefixed = any(cells[last] in ("O", "o") for cells in rows)
        return others[0] if len(others) == 1 and not unprefixed else last
    outer = entities.get(last - 1, Counter())
    is_outer = set(entities[last]) <= set(outer) and outer.total() > entities[last].total()
    return last - 1 if is_outer and not set(outer) <= _CHUNKS else last
