"""Which labels the files of a task name: in labels.tsv, or in the label cells of all files."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from xdistil.config import SEPARATORS
from xdistil.data.formats import Layout, read_records
from xdistil.data.label_lists import read_cell
from xdistil.data.language_codes import LANGUAGE_CODE, fold_language, is_language
from xdistil.data.lines import locate, read_lines
from xdistil.data.segmentation import drop_invisible
from xdistil.data.tag_notation import Notation, find_notation
from xdistil.data.tag_schemes import convert_labels, is_tag
from xdistil.errors import InputError, show


def read_labels(path: Path) -> tuple[str, ...] | None:
    """The labels of a labels.tsv, in order; None if the file does not exist.

    Raises:
        InputError: an empty line, a line with a tab, or a repeated label.
    """
    if not path.exists():
        return None
    names = read_lines(path)
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name or "\t" in name:
            raise InputError(f"{locate(path, number)}: a line must be one label without tabs.")
        if name in seen:
            raise InputError(f"{locate(path, number)}: label {show(name)} is repeated.")
        seen.add(name)
    return tuple(names)


def collect_cells(path: Path, lines: list[str], kind: str, layout: Layout) -> dict[str, str]:
    """The label cells that occur in a file, each with the file and line where it does first."""
    cells: dict[str, str] = {}
    if layout.form == "tsv" and layout.table is None:  # what is wrong is told by decoding
        for number, line in enumerate(lines, 1):
            label = line.rpartition("\t")[2]
            if label not in cells:
                cells[label] = locate(path, number)
    else:
        for record in read_records(path, lines, kind, layout):
            cells.setdefault(record.label, locate(path, record.line))
    return cells


def recognise_notation(
    cells: Collection[str],
    scheme: str,
    where: str,
    repair: bool,
    languages: Collection[str] = (),
) -> Notation:
    """The notation of the tags in cells; see `find_notation` for the other arguments."""

    def cut() -> Iterator[list[str]]:
        for cell in cells:
            first, *rest = cell.strip(" ").split(" ")
            yield [_cut_language(first, languages), *rest]

    return find_notation(collect_tags(cells, languages), cut(), scheme, where, repair)


def collect_tags(cells: Iterable[str], languages: Collection[str] = ()) -> set[str]:
    """The tags in cells, without the languages before them.

    Args:
        languages: prefixes that are languages whether or not they are codes.
    """
    firsts: set[str] = set()
    tags: set[str] = set()
    for cell in cells:
        first, _, rest = cell.strip(" ").partition(" ")
        firsts.add(first)
        if rest:
            tags.update(rest.split(" "))
    return tags | {_cut_language(first, languages) for first in firsts}


def _cut_language(first: str, languages: Collection[str]) -> str:
    # The first tag of a cell without the language before it.
    language, colon, tag = first.partition(":")
    if colon and tag and not is_tag(first):
        is_code = is_tag(tag) and LANGUAGE_CODE.fullmatch(language)
        if is_code or is_language(language) or fold_language(language) in languages:
            return tag
    return first


def part_cells(
    cells: Mapping[str, str], separator: str, languages: Collection[str] = ()
) -> dict[str, str]:
    """The labels that cells list, each with the place of the first cell that has it.

    A language before the labels of every cell, as before single labels, belongs to none of them.

    Args:
        cells: as `collect_cells` returns them.
        languages: prefixes that are languages whether or not they are codes.

    Raises:
        InputError: the first label of a cell may be a language and a label.
    """
    read = {cell: read_cell(cell, separator) for cell in cells}
    firsts = [each.labels[0] for each in read.values() if each.labels and not each.is_list]
    firsts = [first for first in firsts if not _is_language_alone(first, languages)]
    prefixed = all(_is_prefixed(first, languages) for first in firsts)
    parted: dict[str, str] = {}
    for cell, (_, labels, is_list) in read.items():
        for place, label in enumerate(labels):
            if place or is_list:
                parted.setdefault(label, cells[cell])
            elif not _is_language_alone(label, languages):
                name = label.partition(":")[2].strip() if prefixed else label
                parted.setdefault(name, cells[cell])
    odd = [each for each in firsts if not prefixed and _is_prefixed(each, languages)]
    for first in odd:
        if first.partition(":")[2].strip() in parted:
            raise _tell_ambiguous(parted[first], first)
    return parted


def _tell_ambiguous(place: str, label: str) -> InputError:
    return InputError(
        f"{place}: {show(label)} may be a label, or a language and a label: add a labels.tsv with "
        "one label per line, or name the languages in data.languages."
    )


def _is_language_alone(label: str, languages: Collection[str]) -> bool:
    # Before no label: a text without labels in this language.
    return label.endswith(":") and _is_prefixed(f"{label}-", languages)


def collect_labels(
    cells: Mapping[str, str], kind: str, notation: Notation, languages: Collection[str] = ()
) -> tuple[str, ...]:
    """The labels in cells, sorted, for a folder without labels.tsv; tags are read as IOB2.

    Args:
        cells: as `collect_cells` returns them; those of several labels as from `part_cells`.
        languages: prefixes that are languages whether or not they are codes.

    Raises:
        InputError: a cell that may be a label, or a language and a label; or two labels that differ
            in case alone.
    """
    if kind == "tagging":
        written = collect_tags(cells, languages)
        tags = {"O", *filter(is_tag, map(notation.read, written))}
        read = tuple(sorted(convert_labels(sorted(tags), notation.base)))
        _check_case(read, cells)
        return read
    if kind == "multilabel":
        return _sort_names(cells, cells)
    places: dict[str, str] = {}
    for cell, place in cells.items():
        places.setdefault(cell.strip(), place)
    plain = {cell for cell in places if ":" not in cell}
    prefixed = set(places) - plain
    coded = {cell for cell in prefixed if _is_prefixed(cell, languages)}
    rests = {cell.partition(":")[2] for cell in coded}
    said = {cell for cell in prefixed if cell.partition(":")[2] in plain - {""}}
    if (plain and (not rests <= plain or said - coded)) or (
        not plain and coded < prefixed and coded
    ):
        odd = min(said - coded or {each for each in coded if each.partition(":")[2] not in plain})
        raise _tell_ambiguous(places[odd], odd)
    return _sort_names((plain or rests) | (prefixed - coded), cells)


def refuse_lists(names: Collection[str], cells: Mapping[str, str]) -> None:
    """Refuses classes that list labels: `art;food`, if both are parts of other classes or classes.

    Words that a space separates must all be classes.

    Args:
        names: the classes.
        cells: as `collect_cells` returns them.

    Raises:
        InputError: there is one.
    """
    for separator, character in SEPARATORS.items():
        parts = {name: [part.strip() for part in name.split(character)] for name in names}
        counts = Counter(part for each in parts.values() for part in set(each))
        for name, each in parts.items():
            alone = all(part in names for part in each)
            shared = character != " " and all(part and counts[part] > 1 for part in each)
            if len(each) > 1 and (alone or shared):
                place = next(place for cell, place in cells.items() if name in cell)
                raise InputError(
                    f"{place}: the class {show(name)} lists {len(each)} labels of other texts: set "
                    f"data.separator={separator} if a text may have several, or data.task=single "
                    "if it is a class of its own."
                )


def _sort_names(names: Collection[str], cells: Mapping[str, str]) -> tuple[str, ...]:
    _check_case(names, cells)
    return tuple(sorted(names, key=int) if are_numbers(names) else sorted(names))


def are_numbers(names: Iterable[str]) -> bool:
    """Whether all names are whole numbers."""
    return all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in names)


def _is_prefixed(cell: str, languages: Collection[str]) -> bool:
    language, _, rest = cell.partition(":")
    return bool(rest) and (is_language(language) or fold_language(language) in languages)


def _check_case(names: Iterable[str], cells: Mapping[str, str]) -> None:
    """Refuses names that are equal but for case and the form of accents."""
    seen: dict[str, str] = {}
    for name in sorted(names):
        folded = unicodedata.normalize("NFKC", name[2:] if is_tag(name) else name).casefold()
        folded = drop_invisible(folded)
        bare = name[2:] if is_tag(name) else name
        if seen.setdefault(folded, bare) != bare:
            first, later = sorted((bare, seen[folded]), key=lambda each: _find_place(each, cells))
            where = list(cells.values())[_find_place(later, cells)]
            raise InputError(
                f"{where}: {show(later)} and {show(first)} differ in case, accents or invisible "
                "characters alone: write them alike, or name both in a labels.tsv, one label per "
                "line."
            )


def _find_place(name: str, cells: Iterable[str]) -> int:
    # Index of the first cell with a name.
    return next(index for index, cell in enumerate(cells) if name in cell)
