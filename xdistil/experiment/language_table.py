"""Sentences, subwords per word and unknown words of every language, as a table."""

from collections.abc import Sequence

from xdistil.data.subword_counts import LanguageCount, count_subwords
from xdistil.evaluation.formatting import align
from xdistil.experiment.build import Run

SPLITS = ("train", "dev", "test", "transfer", "gold_dev", "silver")

Counts = dict[str, dict[str, LanguageCount]]  # by split and language


def count_languages(run: Run) -> Counts:
    """Counts by split and language, in the student's subwords."""
    task, tokenizer = run.corpus.task, run.student.tokenizer
    return {
        name: count_subwords(run.texts[name].examples, task, run.texts[name].subwords, tokenizer)
        for name in SPLITS
        if name in run.texts
    }


def sort_languages(counts: Counts) -> list[str]:
    """Languages, those with most sentences first."""
    sentences: dict[str, int] = {}
    for split in counts.values():
        for language, count in split.items():
            sentences[language] = sentences.get(language, 0) + count.sentences
    return sorted(sentences, key=lambda language: (-sentences[language], language))


def share_unknown(counts: Counts, languages: Sequence[str]) -> float:
    """The share of words that hold an unknown subword."""
    here = [split[name] for split in counts.values() for name in languages if name in split]
    words = sum(count.words for count in here)
    return sum(count.unknown * count.words for count in here) / max(words, 1)


def tabulate_languages(run: Run, counts: Counts, languages: Sequence[str]) -> list[str]:
    """The lines of the table: a row for each of some languages, and one for all.

    Args:
        languages: in the order of the rows; `...` is a row of dots.
    """
    names = {"dev": "held-out", "gold_dev": "dev"} if not run.corpus.gold else {}
    splits = [names.get(name, name) for name in counts]
    rows = [("language", *splits, "subwords per word", "unknown words")]
    every = sort_languages(counts)
    groups = [(name, [name]) for name in languages]
    if len(every) > 1:
        groups.append((f"all {len(every)}", every))
    for name, members in groups:
        if name == "...":
            rows.append(("...", *[""] * (len(counts) + 2)))
            continue
        here = [split[each] for split in counts.values() for each in members if each in split]
        words, subwords = sum(each.words for each in here), sum(each.subwords for each in here)
        sentences = [
            [split[each].sentences for each in members if each in split]
            for split in counts.values()
        ]
        rows.append(
            (
                name,
                *(f"{sum(each):,}" if each else "-" for each in sentences),
                f"{subwords / max(words, 1):.2f}",
                f"{100 * share_unknown(counts, members):.1f}%",
            )
        )
    return align(rows, (0,))
