"""The languages with the lowest scores: a mean over many languages says little about them."""

from collections.abc import Mapping

from xdistil.evaluation.results import LanguageScoreName, LanguageScores, WorstLanguages

WORST = 10  # languages that are looked at
LEAST = 20  # languages below which nothing is said of them


def average_worst(
    per_language: Mapping[str, LanguageScores], score: LanguageScoreName
) -> float | None:
    """The mean score of the WORST languages; None of fewer than LEAST with a score."""
    known = sorted(value for each in per_language.values() if (value := each[score]) is not None)
    return sum(known[:WORST]) / WORST if len(known) >= LEAST else None


def compare_worst(
    teacher: Mapping[str, LanguageScores],
    student: Mapping[str, LanguageScores],
    score: LanguageScoreName,
) -> WorstLanguages | None:
    """The WORST languages of the student, and what both models reach in these; None of fewer than
    LEAST languages with scores of both.

    Args:
        teacher, student: `per_language` of their scores.
    """
    pairs = {}
    for language in sorted(teacher.keys() & student.keys()):
        before, after = teacher[language][score], student[language][score]
        if before is not None and after is not None:
            pairs[language] = (before, after)
    if len(pairs) < LEAST:
        return None
    names = sorted(pairs, key=lambda name: (pairs[name][1], name))[:WORST]
    before, after = (sum(pairs[name][place] for name in names) / WORST for place in (0, 1))
    return {
        "languages": names,
        "teacher": before,
        "student": after,
        "retention": after / before if before else None,
    }
