"""The score that any teacher should beat: predictions made without a model."""

import logging
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from xdistil.data.corpus import Corpus
from xdistil.data.examples import Example
from xdistil.evaluation import metrics
from xdistil.evaluation.gazetteer import tag_with_names
from xdistil.evaluation.results import ScoreName, Scores

log = logging.getLogger("xdistil")


def check_floor(corpus: Corpus, metric: ScoreName, dev: Scores) -> bool:
    """Whether a teacher's scores on dev are as good as those of the gazetteer baseline (tagging),
    of the most frequent class, or of the best constant labels; a warning unless they are better.

    True without gold labels, since nothing can be compared.
    """
    if not corpus.train:
        return True
    if corpus.task.kind == "tagging":
        floor = tag_with_names(corpus.train, corpus.dev)
        what = "the gazetteer of train"
    elif corpus.task.multilabel:
        floor = [find_constant(corpus.train)] * len(corpus.dev)
        what = "always predicting the labels that score best on train"
    else:
        ((commonest, _),) = Counter(example.labels for example in corpus.train).most_common(1)
        floor = [commonest or ()] * len(corpus.dev)
        what = "always predicting the most frequent class of train"
    least = metrics.score(corpus.task, corpus.dev, floor)[metric] or 0.0
    reached = dev[metric] or 0.0
    if reached <= least:
        log.warning(
            "The teacher is no help: its %s on dev is %.4f, that of %s %.4f. Is it fine-tuned "
            "(teacher.finetune), long enough (teacher.plan), and with its own tokenizer?",
            metric,
            reached,
            what,
            least,
        )
    return reached >= least


def find_constant(train: Sequence[Example]) -> tuple[str, ...]:
    """The labels with the highest micro-F1 on multi-label examples when all of them get the same.

    They are the most frequent ones: k labels that texts have n times in all are right n times, of
    k per text that are found.
    """
    counts = Counter(label for example in train for label in example.labels or ())
    ordered = sorted(counts, key=lambda label: (-counts[label], label))
    right = accumulate(counts[label] for label in ordered)
    scores = [2 * n / (k * len(train) + counts.total()) for k, n in enumerate(right, start=1)]
    return tuple(ordered[: scores.index(max(scores)) + 1]) if scores else ()
