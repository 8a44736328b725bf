"""The score that any teacher should beat: predictions made without a model."""

import logging
from collections import Counter

from xdistil.data.corpus import Corpus
from xdistil.evaluation import metrics
from xdistil.evaluation.gazetteer import tag_with_names
from xdistil.evaluation.results import ScoreName, Scores

log = logging.getLogger("xdistil")


def warn_if_below_floor(corpus: Corpus, metric: ScoreName, dev: Scores) -> None:
    """Logs a warning if a teacher's scores on dev are no better than those of the gazetteer
    baseline (tagging) or of the most frequent class."""
    if corpus.task.kind == "tagging":
        floor = tag_with_names(corpus.train, corpus.dev)
        what = "the gazetteer of train"
    else:
        ((commonest, _),) = Counter(example.labels for example in corpus.train).most_common(1)
        floor = [commonest or ()] * len(corpus.dev)
        what = "always predicting the most frequent class of train"
    least = metrics.score(corpus.task, corpus.dev, floor)[metric] or 0.0
    if (dev[metric] or 0.0) <= least:
        log.warning(
            "The teacher is no help: its %s on dev is %.4f, that of %s %.4f. Is it fine-tuned "
            "(teacher.finetune), long enough (teacher.plan), and with its own tokenizer?",
            metric,
            dev[metric] or 0.0,
            what,
            least,
        )
