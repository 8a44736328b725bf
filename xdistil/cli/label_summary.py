"""What `xdistil label` prints: how many prompts were written, and what became of the answers."""

from collections.abc import Iterator

from xdistil.annotators.prompting.gather import Gathered, Tally
from xdistil.annotators.prompting.pieces import Texts
from xdistil.evaluation.formatting import align


def summarise_prompts(
    texts: Texts, pieces: int, runs: int, requests: int, characters: int, examples: int
) -> list[str]:
    """The lines that are printed when prompts are written."""
    count = len(texts.by_number)
    lines = [
        f"{requests:,} prompts: {count:,} texts in {pieces:,} pieces, {runs} "
        f"{'run' if runs == 1 else 'runs'}, {examples} examples in a prompt, "
        f"{characters:,} characters in all."
    ]
    return [*lines, *_tell_left_out(texts)]


def _tell_left_out(texts: Texts) -> list[str]:
    if not texts.repeated and not texts.blank:
        return []
    return [
        f"Left out: {texts.repeated:,} texts that stand in the file before, {texts.blank:,} blank."
    ]


def summarise_answers(texts: Texts, gathered: Gathered, name: str, kind: str) -> list[str]:
    """The lines that are printed when answers are read."""
    count = len(texts.by_number)
    table = [("", "answers", "read", "repaired", "lost", "texts answered")]
    for run in range(1, gathered.runs + 1):
        asked, answered = gathered.asked[run], gathered.answered[run]
        table.append(
            (
                f"{name}{run}",
                f"{asked:,}",
                f"{answered:,}",
                f"{gathered.repaired[run]:,}",
                f"{asked - answered:,}",
                f"{gathered.texts[run]:,} of {count:,}",
            )
        )
    lines = [*align(table, (0,))]
    if kind == "tagging":
        lines += ["", f"{gathered.entities:,} entities."]
    if gathered.missing:
        lines += ["", f"Texts of a run without any result: {gathered.missing:,}."]
    if gathered.again:
        lines += [
            "",
            f"Further results of the same prompt, which are left out: {gathered.again:,}.",
        ]
    for title, tally in (
        ("Answers that are lost", gathered.lost),
        ("Answers that were repaired", gathered.repairs),
        ("Entities that were repaired", gathered.entity_repairs),
        ("Entities that are lost", gathered.entity_losses),
    ):
        lines += _tell(title, tally)
    return lines


def _tell(title: str, tally: Tally) -> Iterator[str]:
    if not tally.counts:
        return
    yield ""
    yield f"{title}:"
    for reason, count in tally.counts.most_common():
        yield f"  {count:,} {reason}"
        for example in tally.examples[reason]:
            yield f"      {example}"
