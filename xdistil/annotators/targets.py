"""Votes -> targets: the probabilities of the labels of each unit, and the labels they decide on."""

import numpy as np

from xdistil.annotators.dawid_skene import learn_votes
from xdistil.annotators.votes import Votes, share_votes, take_majority
from xdistil.data.tag_schemes import make_legal

MAJORITY, SHARE, LEARNED = "majority", "share", "learned"


def combine_votes(votes: Votes, how: str) -> np.ndarray:
    """f64[U,L]: majority, share or learned; zeros where nobody voted."""
    if how == LEARNED:
        return learn_votes(votes).probabilities
    return take_majority(votes) if how == MAJORITY else share_votes(votes)


def decide_labels(probabilities: np.ndarray, votes: Votes) -> list[tuple[str, ...]]:
    """The most probable label of each unit, by text; tags are made legal, O where nobody voted."""
    best = probabilities.argmax(axis=1)
    if votes.outside is not None:
        best[~votes.voted] = votes.outside
    names = np.array(votes.labels, object)[best]
    labels = [tuple(each) for each in np.split(names, votes.offsets[1:-1])]
    return labels if votes.outside is None else [make_legal(tags) for tags in labels]
