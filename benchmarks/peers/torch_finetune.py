"""A PyTorch reference of teacher fine-tuning: same data, same recipe, none of the library's code.

    python -m benchmarks.peers.torch_finetune --model=FOLDER --data=TASK_FOLDER --limit=10000 \\
        --seed=0 --output=FILE.json

Fine-tunes a Hugging Face encoder for NER on a task folder (`train.tsv`, `dev.tsv`, `test.tsv`:
`words<TAB>tags`, IOB2, the first tag with the prefix of the language; `labels.tsv`: one class per
line) and scores the last epoch on the whole of dev and test. The recipe is fixed: `Recipe` below is
written into the result. Runs on the CPU in float32; needs torch, transformers, tokenizers and
seqeval. The other PyTorch peers take batches, padding, optimizer and training loop from here.
"""

import argparse
import json
import logging
import math
import os
import platform
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import seqeval.metrics
import tokenizers
import torch
import transformers
from seqeval.scheme import IOB2
from torch import nn


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; lengths in subwords with special ones, batches in sentences."""

    optimizer: str = "AdamW, betas 0.9 and 0.999, epsilon 1e-8"
    batch_size: int = 32
    lr: float = 5e-5
    weight_decay: float = 0.01
    decayed: str = "matrices only (not biases and LayerNorm)"
    clip: float = 1.0
    warmup: float = 0.1
    schedule: str = "linear"  # behind the warm-up, to 0; or cosine
    epochs: int = 3
    selected: str = "last epoch"
    max_subwords: int = 64
    bucket_batches: int = 20
    dtype: str = "float32"


RECIPE = Recipe()
# Evaluation batches are cut by padded subwords, not sentences: their size changes no prediction.
EVALUATION_SUBWORDS = 4096
IGNORED = -100  # the class of a position that PyTorch's cross-entropy ignores
MATMUL_SIZE = 1024

log = logging.getLogger("torch_peer")

Model = Any  # a module of transformers


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


# The mean loss of a batch, and the number of items that it is the mean of.
Loss = Callable[[list[Window]], tuple[torch.Tensor, int]]


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


def compare_words(model: Model, texts: Texts, targets: torch.Tensor) -> Loss:
    """Cross-entropy with classes i64[words], or MSE with logits f32[words,C]."""
    measure = nn.functional.mse_loss if targets.is_floating_point() else nn.functional.cross_entropy

    def compute(batch: list[Window]) -> tuple[torch.Tensor, int]:
        rows, positions, words = locate_words(batch, texts)
        logits = model(**pad(batch, texts.padding)).logits[rows, positions]
        return measure(logits, targets[words]), len(words)

    return compute


def make_adamw(
    parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only; fused, its fastest kind."""
    parameters = list(parameters)
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=lr,
        fused=True,
    )


def make_schedule(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """The learning rate of a step as a share of the recipe's: warm-up, then the schedule to 0."""
    warmup = round(recipe.warmup * steps)

    def compute_share(step: int) -> float:
        if step < warmup:
            return step / warmup
        left = (steps - step) / max(steps - warmup, 1)
        return left if recipe.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2

    return compute_share


def fit(
    recipe: Recipe,
    model: Model,
    trainable: list[nn.Parameter],
    texts: Texts,
    compute_loss: Loss,
    seed: int,
    end_epoch: Callable[[], None] | None = None,
) -> list[float]:
    """Trains a model in place; the mean loss of each epoch.

    Args:
        trainable: the parameters that are trained; the model's others are frozen.
        end_epoch: called after every epoch.
    """
    model.requires_grad_(False)
    for parameter in trainable:
        parameter.requires_grad_(True)
    optimizer = make_adamw(trainable, recipe.lr, recipe.weight_decay)
    steps = math.ceil(len(texts.windows) / recipe.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, make_schedule(recipe, recipe.epochs * steps)
    )
    generator = random.Random(seed)
    losses = []
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        total, count, start = 0.0, 0, time.perf_counter()
        batches = shuffle_batches(texts.windows, recipe.batch_size, generator)
        for step, batch in enumerate(batches, start=1):
            loss, items = compute_loss(batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trainable, recipe.clip)
            optimizer.step()
            schedule.step()
            total, count = total + loss.item() * items, count + items
            if step % 50 == 0 or step == steps:
                log.info(
                    "epoch %d of %d, step %d of %d: loss %.4f, %.0f s",
                    *(epoch, recipe.epochs, step, steps),
                    *(total / count, time.perf_counter() - start),
                )
        losses.append(total / count)
        if end_epoch:
            end_epoch()
    return losses


def make_legal(tags: list[str]) -> list[str]:
    """IOB2 repaired: an I- that does not continue an entity of its type becomes B-."""
    pairs = zip(["O", *tags], tags, strict=False)  # the tag before, and the tag
    return [
        "B-" + tag[2:] if tag.startswith("I-") and before[2:] != tag[2:] else tag
        for before, tag in pairs
    ]


@torch.inference_mode()
def predict(model: Model, texts: Texts) -> list[list[str]]:
    """Legal IOB2 tags, one per word: argmax at first subwords, O for words without a subword."""
    model.eval()
    predicted = [["O"] * len(sentence.words) for sentence in texts.sentences]
    for batch in iterate_batches(texts):
        classes = model(**pad(batch, texts.padding)).logits.argmax(-1).numpy()
        for row, window in enumerate(batch):
            for position, word in window.first:
                predicted[window.sentence][word] = texts.labels[classes[row, position]]
    return [make_legal(tags) for tags in predicted]


def entity_f1(sentences: Iterable[Sentence], predicted: list[list[str]]) -> float:
    """Micro-averaged F1 of whole entities, strict IOB2, as a fraction."""
    gold = [sentence.tags for sentence in sentences]
    return float(seqeval.metrics.f1_score(gold, predicted, mode="strict", scheme=IOB2))


def score(sentences: list[Sentence], predicted: list[list[str]]) -> dict:
    """Entity F1 in each language, their unweighted mean (macro) and over all sentences (micro).

    A language without gold entities is null and not part of the macro average.
    """
    per_language: dict[str, float | None] = {}
    for language in sorted({sentence.language for sentence in sentences}):
        mine = [i for i, sentence in enumerate(sentences) if sentence.language == language]
        gold = [sentences[i] for i in mine]
        has_entities = any(set(sentence.tags) - {"O"} for sentence in gold)
        tags = [predicted[i] for i in mine]
        per_language[language] = entity_f1(gold, tags) if has_entities else None
    known = [f1 for f1 in per_language.values() if f1 is not None]
    return {
        "macro_f1": statistics.fmean(known) if known else None,
        "micro_f1": entity_f1(sentences, predicted) if known else None,
        "per_language": per_language,
    }


def measure_speed() -> float:
    """Median rate of a float32 product of two square matrices, in GFLOP/s (10^9 per second)."""
    left, right = torch.randn(2, MATMUL_SIZE, MATMUL_SIZE)
    rates = []
    for _ in range(25):
        started = time.perf_counter()
        left @ right
        rates.append(2 * MATMUL_SIZE**3 / (time.perf_counter() - started) / 1e9)
    return statistics.median(rates)


def run(model_folder: Path, data_folder: Path, limit: int, seed: int) -> dict:
    """Fine-tunes, evaluates and returns the result as JSON-ready data."""
    texts = read_texts(data_folder, open_tokenizer(model_folder), limit)
    counts = {
        name: {
            "sentences": len(part.sentences),
            "windows": sum(map(len, part.windows)),
            "subwords": sum(len(window.tokens) for cut in part.windows for window in cut),
        }
        for name, part in texts.items()
    }
    log.info("texts: %s", counts)
    transformers.logging.set_verbosity_error()
    torch.manual_seed(seed)
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        model_folder, dtype=torch.float32, num_labels=len(texts["train"].labels)
    )
    speed, load = {"before": measure_speed()}, {"before": os.getloadavg()[0]}
    torch.manual_seed(seed)
    started = time.perf_counter()
    loss = compare_words(model, texts["train"], read_classes(texts["train"]))
    losses = fit(RECIPE, model, list(model.parameters()), texts["train"], loss, seed)
    seconds = {"training": time.perf_counter() - started}
    load["after"] = os.getloadavg()[0]

    scores = {}
    for name in ("dev", "test"):
        started = time.perf_counter()
        predicted = predict(model, texts[name])
        seconds[f"evaluation_{name}"] = time.perf_counter() - started
        scores[name] = score(texts[name].sentences, predicted)
        log.info("%s macro-F1 %s", name, scores[name]["macro_f1"])
    speed["after"] = measure_speed()
    subwords = {name: count["subwords"] for name, count in counts.items()}
    evaluated = subwords["dev"] + subwords["test"]
    return {
        "command": "python -m benchmarks.peers.torch_finetune"
        f" --model={model_folder.name} --data={data_folder.name} --limit={limit} --seed={seed}",
        "settings": {
            **asdict(RECIPE),
            "dropout": model.config.hidden_dropout_prob,
            "attention_dropout": model.config.attention_probs_dropout_prob,
        },
        "seed": seed,
        "counts": counts,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_loss": losses,
        **scores,
        "seconds": seconds,
        "real_subwords_per_second": {
            "training": RECIPE.epochs * subwords["train"] / seconds["training"],
            "evaluation": evaluated / (seconds["evaluation_dev"] + seconds["evaluation_test"]),
        },
        "machine": {
            "cpu_count": len(os.sched_getaffinity(0)),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "load_average": load,
            f"matmul_{MATMUL_SIZE}_gflops": speed,
        },
    }


def main() -> None:
    """Reads the flags, runs, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="a Hugging Face folder")
    parser.add_argument("--data", type=Path, required=True, help="an NER task folder")
    parser.add_argument("--limit", type=int, default=0, help="training sentences; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="the JSON to write")
    flags = parser.parse_args()
    if flags.limit < 0:
        parser.error(f"--limit={flags.limit}: expected 0 (everything) or a positive number.")
    if not flags.output.parent.is_dir():
        parser.error(f"--output: the folder {flags.output.parent} does not exist.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        # Absolute, so that a folder given as `.` has a name; a link keeps the name it was given.
        result = run(flags.model.absolute(), flags.data.absolute(), flags.limit, flags.seed)
    except (OSError, ValueError) as error:  # a file that is missing, or a line that is wrong
        parser.error(str(error))
    flags.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    log.info("wrote %s", flags.output)


if __name__ == "__main__":
    main()
