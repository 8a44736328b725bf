"""Scores under the rules of XtremeDistil's own code, for comparison with the numbers of its papers.

There, labels belong to subwords: the first subword of a word has its tag, the others continue it. A
sentence ends after 32 subwords, two special ones among them, and gold labels behind them are lost.
What is left is counted as in CoNLL, over all sentences of a language. (All sentences are one
sequence there; that makes no difference here, as repaired predictions begin every entity with B-.)

Such scores are mostly higher than those of whole sentences, and are never used to select a model.
"""

from collections.abc import Sequence
from dataclasses import replace

from xdistil.data.examples import Example, Task
from xdistil.data.tokenizer import Tokenizer
from xdistil.evaluation import metrics
from xdistil.evaluation.results import OriginalScores

LENGTH = 32  # subwords of a sentence, special ones included
_SPECIAL = 2
_TOGETHER = 4096  # sentences that are tokenised at once


def score_as_original(
    gold: Sequence[Example], predicted: Sequence[tuple[str, ...]], kept: Sequence[int]
) -> OriginalScores:
    """Scores of predicted tags on the first words of each sentence.

    Args:
        gold: labelled sentences.
        predicted: a tag for every word.
        kept: the words of each sentence that are scored, as from `count_kept`.
    """
    cut = [
        replace(each, inputs=each.inputs[:count], labels=(each.labels or ())[:count])
        for each, count in zip(gold, kept, strict=True)
    ]
    tags = [each[:count] for each, count in zip(predicted, kept, strict=True)]
    scores = metrics.score(Task("tagging", ()), cut, tags)
    return {"macro_f1": scores["macro_f1"], "micro_f1": scores["micro_f1"]}


def count_kept(examples: Sequence[Example], tokenizer: Tokenizer) -> list[int]:
    """For each sentence, the number of words whose first subword lies within LENGTH."""
    counts = []
    for first in range(0, len(examples), _TOGETHER):
        words = [list(each.inputs) for each in examples[first : first + _TOGETHER]]
        encodings = tokenizer.backend.encode_batch(
            words, is_pretokenized=True, add_special_tokens=False
        )
        for each, encoding in zip(words, encodings, strict=True):
            own = [word for word in encoding.word_ids if word is not None]
            inside = set(own[: LENGTH - _SPECIAL])
            beyond = [word for word in own[LENGTH - _SPECIAL :] if word not in inside]
            counts.append(min(beyond, default=len(each)))
    return counts
