"""Task folders as the PyTorch peers read them: sentences, windows of subwords and batches."""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
import torch

from benchmarks.peers.torch_recipe import RECIPE

# Evaluation batches are cut by padded subwords, not sentences: their size changes no prediction.
EVALUATION_SUBWORDS = 4096


@dataclass(frozen=True)
class Sentence:
    """The words of a line, one IOB2 tag per word, and the language of its first tag."""

    words: list[str]
    tags: list[str]
    language: str


@dataclass(frozen=True)
class Window:
    """A part of a sentence that fits the model.

    `tokens` are subword ids with [CLS] and [SEP]; `first` holds (position in `tokens`, index of the
    word in its sentence) for the first subword of every word; `sentence` indexes the sentence.
    """

    tokens: list[int]
    first: list[tuple[int, int]]
    sentence: int


@dataclass(frozen=True)
class Texts:
    """Sentences as a model reads them."""

    sentences: list[Sentence]
    windows: list[list[Window]]  # of each sentence
    starts: np.ndarray  # i64[sentences] where its words begin among those of all sentences
    words: int
    labels: list[str]
    padding: int  # the id of [PAD]


def read_sentences(path: Path, labels: list[str]) -> list[Sentence]:
    """Reads `words<TAB>lang:TAG TAG ...` lines; ValueError names the file and the line."""
    sentences = []
    for number, line in enumerate(path.read_text("utf-8").split("\n"), start=1):
        if not line:
            continue
        words, *columns = (column.split(" ") for column in line.split("\t"))
        tags = columns[0] if len(columns) == 1 else []
        language, separator, rest = tags[0].partition(":") if tags else ("", "", "")
        if separator and rest in labels and tags[0] not in labels:
            tags[0] = rest
        else:
            language = "und"
        if len(words) != len(tags) or not set(tags) <= set(labels):
            raise ValueError(f"{path}:{number}: expected words<TAB>tags, as many, of labels.tsv.")
        sentences.append(Sentence(words, tags, language))
    return sentences


def take_evenly(sentences: list[Sentence], limit: int) -> list[Sentence]:
    """The first sentences of each language in equal numbers, `limit` in all, in original order.

    What a language lacks, the others fill up; a limit of 0 takes everything.
    """
    seen: Counter[str] = Counter()
    ranks = []
    for index, sentence in enumerate(sentences):
        ranks.append((seen[sentence.language], index))
        seen[sentence.language] += 1
    return [sentences[index] for index in sorted(i for _, i in sorted(ranks)[: limit or None])]


def open_tokenizer(folder: Path) -> tokenizers.Tokenizer:
    """The fast tokenizer of a model folder, without padding and truncation."""
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_texts(folder: Path, tokenizer: tokenizers.Tokenizer, limit: int = 0) -> dict[str, Texts]:
    """Train, dev and test of a task folder; at most `limit` training sentences."""
    labels = (folder / "labels.tsv").read_text("utf-8").split()
    sentences = {
        name: read_sentences(folder / f"{name}.tsv", labels) for name in ("train", "dev", "test")
    }
    sentences["train"] = take_evenly(sentences["train"], limit)
    return {name: prepare_texts(part, labels, tokenizer) for name, part in sentences.items()}


def prepare_texts(
    sentences: list[Sentence], labels: list[str], tokenizer: tokenizers.Tokenizer
) -> Texts:
    """Cuts sentences into windows of at most `max_subwords` subwords, special ones included.

    Cut at word boundaries without overlap; a word longer than a window keeps its first subwords; a
    word without subwords is in no window. ValueError for a tokenizer of another family than BERT's.
    """
    vocabulary = tokenizer.get_vocab()
    if not {"[CLS]", "[SEP]", "[PAD]"} <= vocabulary.keys():
        raise ValueError("The tokenizer has no [CLS], [SEP] and [PAD].")
    cls, sep, padding = (vocabulary[token] for token in ("[CLS]", "[SEP]", "[PAD]"))
    room = RECIPE.max_subwords - 2
    encodings = tokenizer.encode_batch(
        [sentence.words for sentence in sentences], is_pretokenized=True, add_special_tokens=False
    )
    windows = []
    for index, encoding in enumerate(encodings):
        subwords_of: dict[int, list[int]] = {}
        for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
            if word is not None:
                subwords_of.setdefault(word, []).append(token)
        cut: list[Window] = []
        for word, subwords in subwords_of.items():
            subwords = subwords[:room]
            if not cut or len(cut[-1].tokens) - 1 + len(subwords) > room:
                cut.append(Window([cls], [], index))
            cut[-1].first.append((len(cut[-1].tokens), word))
            cut[-1].tokens.extend(subwords)
        for window in cut:
            window.tokens.append(sep)
        windows.append(cut)
    ends = np.cumsum([len(sentence.words) for sentence in sentences])
    starts = np.concatenate([[0], ends[:-1]])
    return Texts(sentences, windows, starts, int(ends[-1]), labels, padding)


def pad(windows: list[Window], padding: int) -> dict[str, torch.Tensor]:
    """A model's arguments: ids i64[B,T] and mask i64[B,T], T the longest window of the batch."""
    tokens = np.full((len(windows), max(len(w.tokens) for w in windows)), padding, np.int64)
    mask = np.zeros_like(tokens)
    for row, window in enumerate(windows):
        tokens[row, : len(window.tokens)] = window.tokens
        mask[row, : len(window.tokens)] = 1
    return {"input_ids": torch.from_numpy(tokens), "attention_mask": torch.from_numpy(mask)}


def sort_into_batches(
    lengths: Sequence[int], sentences: float = math.inf, positions: float = math.inf
) -> list[list[int]]:
    """Indices of texts in ascending order of length: in a batch at most `sentences` of them, and at
    most `positions` with padding."""
    batches: list[list[int]] = [[]]
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        size = len(batches[-1]) + 1
        if size > 1 and (size > sentences or size * lengths[index] > positions):
            batches.append([])
        batches[-1].append(index)
    return batches


def iterate_batches(texts: Texts) -> Iterator[list[Window]]:
    """All windows, in batches of similar lengths, for evaluation."""
    flat = [window for cut in texts.windows for window in cut]
    lengths = [len(window.tokens) for window in flat]
    for batch in sort_into_batches(lengths, positions=EVALUATION_SUBWORDS):
        yield [flat[index] for index in batch]


def shuffle_batches(
    windows: list[list[Window]], batch: int, generator: random.Random
) -> Iterator[list[Window]]:
    """One epoch: the windows of `batch` sentences at a time, every sentence once.

    Sentences are shuffled, sorted by length within buckets of `bucket_batches` batches (for less
    padding), and the batches are shuffled again (so that lengths do not drift along the epoch).
    """
    lengths = [sum(len(window.tokens) for window in cut) for cut in windows]
    order = list(range(len(windows)))
    generator.shuffle(order)
    batches = []
    bucket = batch * RECIPE.bucket_batches
    for start in range(0, len(order), bucket):
        part = sorted(order[start : start + bucket], key=lengths.__getitem__)
        batches += [part[i : i + batch] for i in range(0, len(part), batch)]
    generator.shuffle(batches)
    for sentences in batches:
        yield [window for sentence in sentences for window in windows[sentence]]


def locate_words(batch: list[Window], texts: Texts) -> tuple[torch.Tensor, ...]:
    """(rows, positions in the row, numbers among all words) of the first subwords of words."""
    found = [
        (row, position, texts.starts[window.sentence] + word)
        for row, window in enumerate(batch)
        for position, word in window.first
    ]
    return tuple(torch.from_numpy(np.array(found, np.int64).T))


def read_classes(texts: Texts) -> torch.Tensor:
    """The gold classes i64[words]."""
    class_of = {label: index for index, label in enumerate(texts.labels)}
    tags = [tag for sentence in texts.sentences for tag in sentence.tags]
    return torch.tensor([class_of[tag] for tag in tags])
