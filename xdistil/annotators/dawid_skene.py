"""Votes -> probabilities of labels, with each annotator's confusions learned from the votes alone.

The model is that of Dawid and Skene (1979): a unit has one true label, and annotator k says label l
where t is true with the probability `confusions[k, t, l]`, independently of the others. In tagging
the true tags of a text are a Markov chain, so that neighbours count, and illegal sequences of tags
have the probability 0. Confusions and transitions are estimated by expectation maximisation: the
probabilities of the true labels, given the confusions and transitions (forwards and backwards over
each text), and these, given the probabilities.

Languages have confusions of their own, drawn towards those of all languages by `POOLED` votes, so
that those of a language with few texts are not made of chance.

The beginning is the majority of the votes. What follows depends on whether it confirms at least
`LEAST_RIGHT` of all that annotators of tags mark:

- It does: confusions and transitions are measured against it, once. More rounds would count a span
  as often as it has units, and so come to believe what a single annotator marks.
- It does not, because annotators know different things, such as two dictionaries. Then nearly all
  is O by majority, independence takes what only one of them marks for mistakes, and many rounds are
  needed. In these, of what each annotator marks at least `LEAST_RIGHT` is taken to be an entity of
  some type: where less is, its rate of false marks is lowered until it is no more so.
"""

from dataclasses import dataclass

import numpy as np

from xdistil.annotators.votes import Votes, take_majority

ROUNDS = 100  # at most
SETTLED = 1e-3  # largest change of a probability in the last round
DIAGONAL, ELSEWHERE = 1.0, 0.1  # votes that each annotator begins with: for the true label, others
POOLED = 100.0  # votes of all languages that count in each language, for each true label
LEAST_RIGHT = 0.5  # of what is marked
_LOWERED, _LOWEST = 3.0, 30.0  # how fast and how far log rates of false marks fall
_TOGETHER = 256  # texts of one forward and backward pass
_TINY = 1e-30


@dataclass(frozen=True)
class Learned:
    """What was estimated of votes."""

    probabilities: np.ndarray  # f64[U,L]; zeros where there is no vote
    languages: tuple[str, ...]  # G
    confusions: np.ndarray  # f64[G,K,L,L]: P(annotator says the last | the true one before it)
    rounds: int


@dataclass(frozen=True)
class Chain:
    """How the true labels of a text follow one another."""

    start: np.ndarray  # f64[L] P(first label)
    steps: np.ndarray  # f64[L,L] P(label | the one before)


def learn_votes(votes: Votes) -> Learned:
    """Probabilities of the labels, and confusions, by expectation maximisation."""
    languages = tuple(sorted(set(votes.languages)))
    known = votes.voted
    probabilities = take_majority(votes)
    probabilities[~known] = 1 / len(votes.labels)
    allowed_start, allowed_steps = _find_allowed(votes.labels)
    parts = _Parts.of(votes, languages)
    marks, right = parts.count_marks(probabilities)
    confirmed = votes.outside is not None and right.sum() >= LEAST_RIGHT * marks.sum()
    beginnings = votes.offsets[:-1][np.diff(votes.offsets) > 0]
    first = probabilities[beginnings].sum(axis=0)
    steps = _pair_neighbours(votes.offsets, probabilities)
    lowered = np.zeros(len(votes.annotators))
    done, change = 0, 1.0
    while True:
        wrong = np.zeros(len(lowered))
        if not confirmed:
            wrong = np.maximum(LEAST_RIGHT - right / np.maximum(marks, _TINY), 0)
            wrong[(marks == 0) | (lowered >= _LOWEST)] = 0
        lowered = np.minimum(lowered + _LOWERED * wrong, _LOWEST)
        confusions = parts.estimate(probabilities, lowered)
        settled = change < SETTLED and not wrong.any()
        if settled or done == (1 if confirmed else ROUNDS):
            break
        chain = Chain(
            _normalise((first + ELSEWHERE) * allowed_start),
            _normalise((steps + ELSEWHERE) * allowed_steps),
        )
        found, steps, first = smooth(parts.log_likelihood(confusions), votes.offsets, chain)
        change = float(np.abs(found - probabilities).max(initial=0))
        probabilities, done = found, done + 1
        marks, right = parts.count_marks(probabilities)
    probabilities = np.where(known[:, None], probabilities, 0)
    return Learned(probabilities, languages, confusions, done)


def smooth(
    scores: np.ndarray, offsets: np.ndarray, chain: Chain
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of the labels of each unit, given the votes on all units of its text.

    Args:
        scores: f64[U,L] log-likelihoods of the votes on a unit, given its label.
        offsets: i64[E+1] text e has the units offsets[e] to offsets[e+1].

    Returns:
        f64[U,L]; f64[L,L] expected number of steps from label to label; f64[L] of beginnings.
    """
    likelihood = np.maximum(np.exp(scores - scores.max(axis=1, keepdims=True)), _TINY)
    lengths = np.diff(offsets)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    size = scores.shape[1]
    found, steps, first = np.zeros_like(scores), np.zeros((size, size)), np.zeros(size)
    for begin in range(0, len(order), _TOGETHER):
        texts = order[begin : begin + _TOGETHER]
        length = lengths[texts]
        places = np.arange(length.max())
        inside = places < length[:, None]
        unit = np.where(inside, offsets[texts][:, None] + places, 0)
        here = np.where(inside[..., None], likelihood[unit], 1.0)
        forward, scale = np.empty_like(here), np.ones(inside.shape)
        for at in places:
            before = chain.start if at == 0 else forward[:, at - 1] @ chain.steps
            each = before * here[:, at]
            scale[:, at] = each.sum(axis=1)
            forward[:, at] = each / scale[:, at, None]
        backward = np.ones_like(here)
        for at in places[-2::-1]:
            after = here[:, at + 1] * backward[:, at + 1] / scale[:, at + 1, None]
            backward[:, at] = np.where(inside[:, at + 1, None], after @ chain.steps.T, 1.0)
        both = _normalise(forward * backward)
        found[unit[inside]] = both[inside]
        first += both[:, 0].sum(axis=0)
        after = here[:, 1:] * backward[:, 1:] / scale[:, 1:, None] * inside[:, 1:, None]
        before = forward[:, :-1].reshape(-1, size)
        steps += chain.steps * (before.T @ after.reshape(-1, size))
    return found, steps, first


@dataclass(frozen=True)
class _Parts:
    """The parts of votes, with the row of the confusions that each of them looks at."""

    votes: Votes
    row: np.ndarray  # i64[V] (language, annotator, label) as one number
    shape: tuple[int, int, int, int]  # G,K,L,L

    @classmethod
    def of(cls, votes: Votes, languages: tuple[str, ...]) -> "_Parts":
        number = {language: index for index, language in enumerate(languages)}
        of_text = np.array([number[language] for language in votes.languages], np.int64)
        language = np.repeat(of_text, np.diff(votes.offsets))[votes.unit]
        annotators, labels = len(votes.annotators), len(votes.labels)
        row = (language * annotators + votes.annotator) * labels + votes.label
        return cls(votes, row, (len(languages), annotators, labels, labels))

    def count_marks(self, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """f64[K] votes of each annotator that are not for O, and how many of them are right to see
        an entity; of classes there are none."""
        votes, outside = self.votes, self.votes.outside
        if outside is None:
            return np.zeros(self.shape[1]), np.zeros(self.shape[1])
        marks = np.where(votes.label == outside, 0, votes.weight)
        right = marks * (1 - probabilities[votes.unit, outside])
        return (
            np.bincount(votes.annotator, marks, self.shape[1]),
            np.bincount(votes.annotator, right, self.shape[1]),
        )

    def estimate(self, probabilities: np.ndarray, lowered: np.ndarray) -> np.ndarray:
        """f64[G,K,L,L] confusions; `lowered` f64[K] by how much log rates of false marks are."""
        languages, annotators, labels, _ = self.shape
        counts = np.empty((labels, languages * annotators * labels))
        for true in range(labels):
            weight = self.votes.weight * probabilities[self.votes.unit, true]
            counts[true] = np.bincount(self.row, weight, counts.shape[1])
        by_language = np.moveaxis(counts.reshape(labels, languages, annotators, labels), 0, 2)
        begin = np.full((labels, labels), ELSEWHERE) + (DIAGONAL - ELSEWHERE) * np.eye(labels)
        pooled = _normalise(by_language.sum(axis=0) + begin)
        found = _normalise(by_language + POOLED * pooled) if languages > 1 else pooled[None].copy()
        outside = self.votes.outside
        if outside is not None:
            others = np.arange(labels) != outside
            found[:, :, outside, others] *= np.exp(-lowered)[:, None]
            found[:, :, outside, outside] = 1 - found[:, :, outside, others].sum(axis=-1)
        return found

    def log_likelihood(self, confusions: np.ndarray) -> np.ndarray:
        """f64[U,L] of the votes on each unit, given its label."""
        labels = self.shape[-1]
        table = np.log(np.moveaxis(confusions, 2, 3)).reshape(-1, labels)
        units = int(self.votes.offsets[-1])
        scores = np.empty((units, labels))
        for true in range(labels):
            weight = self.votes.weight * table[self.row, true]
            scores[:, true] = np.bincount(self.votes.unit, weight, units)
        return scores


def _find_allowed(labels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """bool[L] and bool[L,L]: which labels may begin a text, and follow one another."""
    count = len(labels)
    start, steps = np.ones(count, bool), np.ones((count, count), bool)
    if "O" in labels:
        for at, label in enumerate(labels):
            if label.startswith("I-"):
                start[at] = False
                steps[:, at] = [before[1:] == label[1:] for before in labels]
    return start, steps


def _pair_neighbours(offsets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """f64[L,L] steps between the labels of neighbours, as if these were independent."""
    joined = np.ones(len(probabilities), bool)
    joined[offsets[:-1][np.diff(offsets) > 0]] = False
    after = np.flatnonzero(joined)
    return probabilities[after - 1].T @ probabilities[after]


def _normalise(values: np.ndarray) -> np.ndarray:
    return values / values.sum(axis=-1, keepdims=True)
