"""The subwords of its tokenizer that a student keeps."""

import numpy as np

from xdistil.config import Student
from xdistil.data.corpus import Corpus
from xdistil.data.streamed import JoinedExamples
from xdistil.data.tokenizer import Tokenizer
from xdistil.data.trim_tokenizer import choose_subwords, count_by_language, count_ids

EVEN = "even"


def count_texts(
    student: Student, corpus: Corpus, tokenizer: Tokenizer, segmentation: str
) -> np.ndarray:
    """How often each subword occurs in the train and transfer texts: i64[vocabulary_size], or
    i64[L,vocabulary_size] by language where `choose_vocabulary` needs that.

    Texts that were made of them do not count: they have no other words.
    """
    texts = JoinedExamples(corpus.train, corpus.transfer)
    if _is_even(student):
        return count_by_language(texts, corpus.task, tokenizer, segmentation)
    counts = count_ids(texts, corpus.task, tokenizer, segmentation)
    silver = count_ids(corpus.silver, corpus.task, tokenizer, segmentation)
    # Silver texts are mostly transfer texts too, and count once.
    return np.where(counts > 0, counts, silver)


def choose_vocabulary(student: Student, tokenizer: Tokenizer, counts: np.ndarray) -> np.ndarray:
    """The ids i32[v] that student.vocabulary=seen keeps of the tokenizer, by `count_texts`.

    Raises:
        InputError: as `choose_subwords`.
    """
    return choose_subwords(
        tokenizer,
        counts,
        student.min_count,
        student.vocabulary_size,
        field="student.vocabulary_size",
        by_language=_is_even(student),
    )


def splits_alike(counts: np.ndarray, kept: np.ndarray) -> bool:
    """Whether a tokenizer with the kept subwords i32[v] alone splits the counted texts as before.

    Args:
        counts: as `count_texts` returns them.
    """
    occurs = (counts if counts.ndim == 1 else counts.sum(axis=0)) > 0
    occurs[kept] = False
    return not bool(occurs.any())


def _is_even(student: Student) -> bool:
    return bool(student.vocabulary_size) and student.vocabulary_cut == EVEN
