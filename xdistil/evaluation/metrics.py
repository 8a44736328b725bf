"""Gold and predicted labels -> scores, as fractions; an undefined score is None, never NaN.

Tagging is scored on whole words and whole sentences, by strict IOB2 as in seqeval: an entity counts
if its type, first word and last word are right. Illegal predictions are repaired first. Macro-F1 is
the unweighted mean over languages, as in Table 3 of XtremeDistil; micro-F1 pools all sentences.
Published scores on subwords, or on sentences cut to a maximum length, are not comparable.

Of a multi-label task, micro-F1 pools all labels of all texts, and macro-F1 is the mean over labels,
as in scikit-learn with `zero_division=np.nan`: a label that neither gold nor predictions have does
not count.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from seqeval.scheme import IOB2, Entities

from xdistil.data.examples import Example, Task
from xdistil.data.spans import find_spans
from xdistil.data.tag_schemes import make_legal
from xdistil.evaluation.results import LanguageScoreName, LanguageScores, ScoreName, Scores
from xdistil.evaluation.worst import average_worst

# The score that the best model on dev is selected by.
MAIN_SCORE: dict[str, ScoreName] = {
    "tagging": "macro_f1",
    "classification": "accuracy",
    "multilabel": "micro_f1",
}

# The score of one language.
LANGUAGE_SCORE: dict[str, LanguageScoreName] = {
    "tagging": "f1",
    "classification": "accuracy",
    "multilabel": "micro_f1",
}


def score(task: Task, gold: Sequence[Example], predicted: Sequence[tuple[str, ...]]) -> Scores:
    """Scores of predictions against gold labels, overall and by language.

    Args:
        gold: labelled examples.
        predicted: for each example one tag per word, one class name, or any number of them.

    Returns:
        The scores. In tagging, a language without gold entities has `f1` None and does not count in
        `macro_f1`. In classification, `macro_f1` is over the classes in gold or predictions, as it
        is with several labels.

    Raises:
        ValueError: the numbers of examples or of labels differ, or an example has no labels.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(predicted)} predictions for {len(gold)} examples")
    expected = []
    for index, (example, guess) in enumerate(zip(gold, predicted, strict=True)):
        fits = example.labels is not None and (task.multilabel or len(example.labels) == len(guess))
        if not fits:
            count = "no" if example.labels is None else len(example.labels)
            raise ValueError(f"example {index} has {count} labels, its prediction {len(guess)}")
        expected.append(example.labels or ())
    languages = [example.language for example in gold]
    if task.kind == "tagging":
        scores = _score_tags(languages, expected, [make_legal(tags) for tags in predicted])
    elif task.multilabel:
        scores = _score_sets(languages, _pair_sets(expected, predicted))
    else:
        pairs = [(labels[0], guess[0]) for labels, guess in zip(expected, predicted, strict=True)]
        scores = _score_classes(languages, pairs)
    worst = average_worst(scores["per_language"], LANGUAGE_SCORE[task.name])
    return scores if worst is None else {**scores, "worst_10": worst}


def count_matches(
    task: Task, gold: Sequence[Example], predicted: Sequence[tuple[str, ...]]
) -> np.ndarray:
    """i64[N,3]: for each example the numbers of right, found and wanted entities, or labels.

    In classification each example has one found and one wanted class. With the sums over any
    examples, 2 right / (found + wanted) is their F1, or their accuracy in classification.
    """
    expected = [example.labels or () for example in gold]
    if task.multilabel:
        sets = _pair_sets(expected, predicted)
        rows = [(len(wanted & found), len(found), len(wanted)) for wanted, found in sets]
        return np.array(rows, np.int64).reshape(-1, 3)
    if task.kind == "classification":
        right = [guess == labels for guess, labels in zip(predicted, expected, strict=True)]
        return np.stack([np.array(right), *np.ones((2, len(right)), np.int64)], axis=1)
    # Many short sentences have the same tags.
    spans = {tags: set(find_spans(make_legal(tags))) for tags in {*expected, *predicted}}
    pairs = [
        (spans[wanted], spans[found]) for wanted, found in zip(expected, predicted, strict=True)
    ]
    counts = [(len(wanted & found), len(found), len(wanted)) for wanted, found in pairs]
    return np.array(counts, np.int64).reshape(-1, 3)


def compute_f1(counts: np.ndarray) -> np.ndarray:
    """F1 f64[...] of counts i64[...,3] of entities that are right, found and wanted; 0 of none."""
    right, found, wanted = np.moveaxis(counts, -1, 0)
    return 2 * right / np.maximum(found + wanted, 1)


def _score_tags(
    languages: Sequence[str],
    expected: Sequence[tuple[str, ...]],
    predicted: Sequence[tuple[str, ...]],
) -> Scores:
    sentences: Counter[str] = Counter(languages)
    right: Counter[str] = Counter()
    found: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    pairs = zip(_find_entities(expected), _find_entities(predicted), strict=True)
    for language, (gold, guess) in zip(languages, pairs, strict=True):
        right[language] += len(gold & guess)
        found[language] += len(guess)
        wanted[language] += len(gold)
    per_language: dict[str, LanguageScores] = {
        language: {
            "f1": _f1(right[language], found[language], wanted[language]),
            "precision": right[language] / found[language] if found[language] else None,
            "recall": right[language] / wanted[language] if wanted[language] else None,
            "entities": wanted[language],
            "sentences": sentences[language],
        }
        for language in sorted(sentences)
    }
    return {
        "macro_f1": _mean(scores["f1"] for scores in per_language.values()),
        "micro_f1": _f1(right.total(), found.total(), wanted.total()),
        "per_language": per_language,
    }


def _find_entities(tags: Sequence[tuple[str, ...]]) -> list[set[tuple[str, int, int]]]:
    """The entities of each sentence as (type, first word, word after the last)."""
    parsed = Entities(tags, IOB2).entities
    return [{(entity.tag, entity.start, entity.end) for entity in each} for each in parsed]


def _f1(right: int, found: int, wanted: int) -> float | None:
    return 2 * right / (found + wanted) if wanted else None


def _score_classes(languages: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Scores:
    groups: dict[str, list[tuple[str, str]]] = {}
    for language, pair in zip(languages, pairs, strict=True):
        groups.setdefault(language, []).append(pair)
    return {
        "accuracy": _measure_accuracy(pairs),
        "macro_f1": _average_classes(pairs),
        "per_language": {
            language: {
                "accuracy": _measure_accuracy(groups[language]),
                "macro_f1": _average_classes(groups[language]),
                "sentences": len(groups[language]),
            }
            for language in sorted(groups)
        },
    }


_Sets = list[tuple[set[str], set[str]]]  # gold and predicted labels of each text


def _pair_sets(expected: Sequence[tuple[str, ...]], predicted: Sequence[tuple[str, ...]]) -> _Sets:
    return [(set(gold), set(guess)) for gold, guess in zip(expected, predicted, strict=True)]


def _score_sets(languages: Sequence[str], pairs: _Sets) -> Scores:
    groups: dict[str, _Sets] = {}
    for language, pair in zip(languages, pairs, strict=True):
        groups.setdefault(language, []).append(pair)
    macro, micro = _average_labels(pairs)
    per_language: dict[str, LanguageScores] = {}
    for language in sorted(groups):
        own_macro, own_micro = _average_labels(groups[language])
        per_language[language] = {
            "micro_f1": own_micro,
            "macro_f1": own_macro,
            "sentences": len(groups[language]),
        }
    return {"macro_f1": macro, "micro_f1": micro, "per_language": per_language}


def _average_labels(
    pairs: _Sets,
) -> tuple[float | None, float | None]:
    """(macro-F1, micro-F1) of the labels of texts."""
    right = Counter(name for gold, guess in pairs for name in gold & guess)
    wanted = Counter(name for gold, _ in pairs for name in gold)
    found = Counter(name for _, guess in pairs for name in guess)
    micro = _f1(right.total(), found.total(), wanted.total())
    return _average_f1(right, found, wanted), micro


def _measure_accuracy(pairs: Sequence[tuple[str, str]]) -> float | None:
    return sum(gold == guess for gold, guess in pairs) / len(pairs) if pairs else None


def _average_classes(pairs: Sequence[tuple[str, str]]) -> float | None:
    """The mean F1 over the classes that occur in gold or predictions."""
    right = Counter(gold for gold, guess in pairs if gold == guess)
    wanted = Counter(gold for gold, _ in pairs)
    found = Counter(guess for _, guess in pairs)
    return _average_f1(right, found, wanted)


def _average_f1(right: Counter[str], found: Counter[str], wanted: Counter[str]) -> float | None:
    """The mean F1 over the classes that are found or wanted."""
    classes = wanted.keys() | found.keys()
    return _mean(2 * right[name] / (wanted[name] + found[name]) for name in sorted(classes))


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
