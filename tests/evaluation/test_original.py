"""The scores of XtremeDistil's own code, beside a reference written from its description."""

import random
from types import SimpleNamespace
from typing import Any

from xdistil.data.examples import Example, Task
from xdistil.evaluation.metrics import score
from xdistil.evaluation.original import LENGTH, count_kept, score_as_original


def tokenizer(*encodings: list[int]) -> Any:
    """One whose encodings have these words at their subwords."""
    found = [SimpleNamespace(word_ids=each) for each in encodings]
    return SimpleNamespace(backend=SimpleNamespace(encode_batch=lambda *_, **__: found))


def example(*labels: str, language: str = "en") -> Example:
    return Example(("w",) * len(labels), labels, language)


def test_words_are_kept_whose_first_subword_is_within_the_length():
    assert LENGTH == 32
    texts = [example(*["O"] * count) for count in (3, 40, 31, 4)]
    words = [
        [0, 1, 1, 2],  # a short sentence
        list(range(40)),  # one subword each: 30 beside the two special ones
        [0, *range(31)],  # the first word has two: 29 words
        [*[0] * 29, *[1] * 5, 2, 3],  # the second begins at the last place, and is kept
    ]
    assert count_kept(texts, tokenizer(*words)) == [3, 30, 29, 2]


def test_an_entity_that_is_cut_counts_by_what_is_left():
    gold = [example("O", "B-PER", "I-PER", "I-PER"), example("B-LOC", "O", language="de")]
    predicted = [("O", "B-PER", "I-PER", "O"), ("O", "O")]
    whole = score(Task("tagging", ()), gold, predicted)
    assert whole["per_language"]["en"]["f1"] == 0
    assert score_as_original(gold, predicted, [3, 2]) == {"macro_f1": 0.5, "micro_f1": 2 / 3}
    # Behind the cut there is no entity at all.
    assert score_as_original(gold, predicted, [1, 2]) == {"macro_f1": 0.0, "micro_f1": 0.0}


def reference(gold: list[Example], predicted: list[tuple[str, ...]], lengths: list[list[int]]):
    """Subwords with X behind the first, cut, joined to one sequence, and read as CoNLL does."""

    def join(tags: list[tuple[str, ...]]) -> list[str]:
        joined: list[str] = []
        for each, sizes in zip(tags, lengths, strict=True):
            cells = [
                tag
                for tag, size in zip(each, sizes, strict=True)
                for tag in [tag, *"X" * (size - 1)]
            ]
            for tag in cells[: LENGTH - 2]:
                before = joined[-1] if joined else "O"
                joined.append((f"I-{before[2:]}" if before != "O" else "O") if tag == "X" else tag)
        return joined

    def chunks(tags: list[str]) -> set[tuple[str, int, int]]:
        found, start = set(), None
        for place, tag in enumerate([*tags, "O"]):
            kind = tags[start][2:] if start is not None else None
            if start is not None and (tag == "O" or tag[0] == "B" or tag[2:] != kind):
                found.add((kind, start, place))
                start = None
            if tag != "O" and start is None:
                start = place
        return found

    wanted, found = chunks(join([each.labels for each in gold])), chunks(join(predicted))
    return 2 * len(wanted & found) / (len(wanted) + len(found))


def test_it_is_that_of_a_reference_on_subwords():
    """Random legal tags of random sentences in one language."""
    draw = random.Random(0)

    def make(count: int) -> tuple[str, ...]:
        tags: list[str] = []
        for _ in range(count):
            options = ["O", "B-PER", "B-LOC"]
            if tags and tags[-1] != "O":
                options.append(f"I-{tags[-1][2:]}")
            tags.append(draw.choice(options))
        return tuple(tags)

    gold = [example(*make(draw.randint(1, 40))) for _ in range(60)]
    predicted = [each.labels if draw.random() < 0.5 else make(len(each.labels)) for each in gold]
    lengths = [[draw.randint(1, 3) for _ in each.labels] for each in gold]
    words = [[i for i, size in enumerate(sizes) for _ in range(size)] for sizes in lengths]
    kept = count_kept(gold, tokenizer(*words))
    found = score_as_original(gold, predicted, kept)
    assert found["micro_f1"] == found["macro_f1"] == reference(gold, predicted, lengths)
