"""Results of a batch -> what each run answered of each text, and what became of the answers."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from xdistil.annotators.answers import Span
from xdistil.annotators.prompting.answer_values import Choice
from xdistil.annotators.prompting.batches import UNREADABLE, Result, read_result
from xdistil.annotators.prompting.entities import REPAIRED
from xdistil.annotators.prompting.pieces import (
    Identifier,
    Texts,
    TypedText,
    belongs_to,
    parse_identifier,
)
from xdistil.annotators.prompting.replies import CUT, Answer, Reply, read_reply
from xdistil.annotators.prompting.types import Types
from xdistil.data.examples import UNKNOWN_LANGUAGE
from xdistil.data.json_records import load_json
from xdistil.data.lines import FileLines, locate
from xdistil.data.segmentation import drop_blanks
from xdistil.errors import InputError, show

_EXAMPLES = 3  # of each reason


class _Line(NamedTuple):
    """A result and where it stands."""

    place: str
    identifier: Identifier
    result: Result


@dataclass
class Tally:
    """Counts by reason, with the first examples of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, example: str) -> None:
        """Counts one."""
        self.counts[reason] += 1
        kept = self.examples.setdefault(reason, [])
        if len(kept) < _EXAMPLES:
            kept.append(example)


@dataclass
class Gathered:
    """The answers by text and run, and what became of them."""

    runs: int  # the highest number of a run
    answers: dict[int, dict[int, Answer]]  # by text and run; what is not there is null
    asked: Counter[int] = field(default_factory=Counter)  # results by run, one for each piece
    answered: Counter[int] = field(default_factory=Counter)  # those that could be read
    repaired: Counter[int] = field(default_factory=Counter)  # those in which something was
    texts: Counter[int] = field(default_factory=Counter)  # texts with an answer, by run
    entities: int = 0  # that are kept
    missing: int = 0  # texts by run of which no result says anything
    again: int = 0  # further results for the same request
    lost: Tally = field(default_factory=Tally)  # answers
    repairs: Tally = field(default_factory=Tally)  # answers
    entity_repairs: Tally = field(default_factory=Tally)
    entity_losses: Tally = field(default_factory=Tally)


def gather_answers(paths: Sequence[Path], texts: Texts, types: Types) -> Gathered:
    """Reads the results of a batch.

    A request may have several results, as after another try: the first that can be read counts. A
    run answers a text if all pieces of the text are answered.

    Raises:
        InputError: a line that is no result, or of a text that is another one; no answer at all.
    """
    lines = _read_lines(paths, texts)
    gathered = Gathered(max(each.run for each in lines), {})
    told = {(each.number, each.run) for each in lines}
    gathered.missing = gathered.runs * len(texts.by_number) - len(told)
    parts: dict[tuple[int, int], dict[tuple[int, int], Answer]] = {}
    for identifier, several in lines.items():
        gathered.again += len(several) - 1
        text = texts.by_number[identifier.number]
        answer = _read_first(several, text, types, gathered)
        if answer is not None:
            pieces = parts.setdefault((identifier.number, identifier.run), {})
            pieces[identifier.start, identifier.end] = answer
    for (number, run), pieces in sorted(parts.items()):
        text = texts.by_number[number]
        if gap := _find_gap(text, sorted(pieces)):
            gathered.lost.add("another piece of the text", f"run {run} of line {number}: {gap}")
            continue
        gathered.answers.setdefault(number, {})[run] = _join(pieces.values())
        gathered.texts[run] += 1
    if not gathered.answers:
        reason, (example, *_) = next(iter(gathered.lost.examples.items()))
        raise InputError(
            f"None of the {gathered.asked.total():,} answers can be used, the first because of "
            f"{show(reason)}: {example.removesuffix('.')}."
        )
    gathered.entities = sum(
        0 if isinstance(answer, Choice) else len(answer)
        for runs in gathered.answers.values()
        for answer in runs.values()
    )
    return gathered


def _read_lines(paths: Sequence[Path], texts: Texts) -> dict[Identifier, list[_Line]]:
    lines: dict[Identifier, list[_Line]] = {}
    for path in paths:
        for number, line in enumerate(FileLines(path), 1):
            if not line.strip():
                continue
            place = locate(path, number)
            try:
                result = read_result(load_json(path, number, line))
            except InputError:
                raise
            except ValueError as error:
                raise InputError(f"{place}: {error}.") from None
            identifier = parse_identifier(result.identifier)
            if identifier is None:
                raise InputError(
                    f"{place}: {show(result.identifier)} is no identifier of a prompt: keep the "
                    "identifiers that `xdistil label prompts` wrote."
                )
            text = texts.by_number.get(identifier.number)
            if text is None or not belongs_to(identifier, text):
                raise InputError(
                    f"{place}: {show(result.identifier)} belongs to another text than line "
                    f"{identifier.number} of --texts: name the file that the prompts were made "
                    "from."
                )
            lines.setdefault(identifier, []).append(_Line(place, identifier, result))
    if not lines:
        raise InputError(f"{paths[0]} has no result.")
    return lines


def _read_first(
    lines: Sequence[_Line], text: TypedText, types: Types, gathered: Gathered
) -> Answer | None:
    """The first answer that can be read among results of one request, which are counted as one."""
    identifier = lines[0].identifier
    start, end, run = identifier.start, identifier.end, identifier.run
    gathered.asked[run] += 1
    for line in lines:
        result = line.result
        if result.lost:
            continue
        reply = read_reply(result.said, text.content[start:end], types)
        if reply.answer is None:
            continue
        if result.is_cut and CUT not in reply.repairs:
            reply.repairs.append(CUT)
        _count(reply, line, gathered)
        gathered.answered[run] += 1
        if isinstance(reply.answer, Choice):
            return reply.answer
        return tuple(
            each._replace(start=each.start + start, end=each.end + start) for each in reply.answer
        )
    place, _, result = lines[0]
    note = result.note if result.lost else show(result.said)
    gathered.lost.add(result.lost or UNREADABLE, f"{place}: {note}" if note else place)
    return None


def _count(reply: Reply, line: _Line, gathered: Gathered) -> None:
    for reason in reply.repairs:
        gathered.repairs.add(reason, f"{line.place}: {show(line.result.said)}")
    for reason, entity in reply.notes:
        tally = gathered.entity_repairs if reason in REPAIRED else gathered.entity_losses
        tally.add(reason, f"{line.place}: {entity}")
    if reply.repairs or reply.notes:
        gathered.repaired[line.identifier.run] += 1


def _find_gap(text: TypedText, pieces: Sequence[tuple[int, int]]) -> str:
    """The first characters of a text that no piece contains, but for blanks; "": there are none."""
    at = 0
    for start, end in [*pieces, (len(text.content), len(text.content))]:
        if at < start and drop_blanks(text.content[at:start]):
            return f"characters {at} to {start} have no answer"
        at = max(at, end)
    return ""


def _join(answers: Iterable[Answer]) -> Answer:
    spans: set[Span] = set()
    for answer in answers:
        if isinstance(answer, Choice):
            return answer
        spans.update(answer)
    return tuple(sorted(spans))


def write_answers(texts: Texts, gathered: Gathered, name: str) -> Iterable[str]:
    """The lines of a file of annotators, one for each text in the order of the texts.

    Args:
        name: of the annotators, before the number of the run.
    """
    for number, text in texts.by_number.items():
        known = gathered.answers.get(number, {})
        row: dict[str, Any] = {}
        if len(text.inputs) == 2:
            row["text_a"], row["text_b"] = text.inputs
        else:
            (row["text"],) = text.inputs
        if text.language != UNKNOWN_LANGUAGE:
            row["language"] = text.language
        row["annotators"] = {
            f"{name}{run}": _write_answer(known.get(run)) for run in range(1, gathered.runs + 1)
        }
        yield json.dumps(row, ensure_ascii=False)


def _write_answer(answer: Answer | None) -> Any:
    if answer is None:
        return None
    if isinstance(answer, Choice):
        name, score, shares = answer
        if shares and len(shares) > 1:
            return dict(shares)
        return name if score is None else {"label": name, "score": score}
    return [
        {"start": each.start, "end": each.end, "label": each.type}
        | ({} if each.score == 1 else {"score": each.score})
        for each in answer
    ]
