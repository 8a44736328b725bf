"""A PyTorch witness of teacher fine-tuning: same data, same recipe, none of the library's code.

    python benchmarks/finetune_twin.py --model=FOLDER --data=TASK_FOLDER --limit=10000 --seed=0 \\
        --output=FILE.json

Fine-tunes a Hugging Face encoder for NER on a task folder (`train.tsv`, `dev.tsv`, `test.tsv`:
`words<TAB>tags`, IOB2, the first tag carries the language; `labels.tsv`: one class a line) and
scores the last epoch on the whole dev and test. The recipe is fixed: `RECIPE` below is written
into the result. Runs on the CPU in float32; needs torch, transformers, tokenizers and seqeval.
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
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import seqeval.metrics
import tokenizers
import torch
import transformers
from seqeval.scheme import IOB2


@dataclass(frozen=True)
class Recipe:
    """How the encoder is fine-tuned; lengths in pieces with specials, batches in sentences."""

    optimizer: str = "AdamW, betas 0.9 and 0.999, epsilon 1e-8"
    batch_sentences: int = 32
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    decayed: str = "matrices only (not biases and LayerNorm)"
    clip_norm: float = 1.0
    warm_up: float = 0.1
    schedule: str = "linear warm-up, then linear to 0"
    epochs: int = 3
    selected: str = "last epoch"
    max_pieces: int = 64
    bucket_batches: int = 20
    dtype: str = "float32"


RECIPE = Recipe()
# Evaluation batches are cut by padded pieces, not sentences: their size changes no prediction.
EVALUATION_PIECES = 4096
IGNORED = -100
MATMUL_SIZE = 1024

log = logging.getLogger("finetune_twin")


@dataclass(frozen=True)
class Sentence:
    """The words of a line, one IOB2 tag a word, and the language its first tag carried."""

    words: list[str]
    tags: list[str]
    language: str


@dataclass(frozen=True)
class Window:
    """A stretch of a sentence that fits the model.

    `tokens` are piece ids with [CLS] and [SEP]; `first` holds (position in `tokens`, index of the
    word in its sentence) for the first piece of every word; `sentence` indexes the sentence.
    """

    tokens: list[int]
    first: list[tuple[int, int]]
    sentence: int


def read_sentences(path: Path, labels: list[str]) -> list[Sentence]:
    """Reads `words<TAB>lang:TAG TAG ...` lines; ValueError names the file and line at fault."""
    sentences = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line:
            continue
        columns = line.split("\t")
        if len(columns) != 2:
            raise ValueError(f"{path}:{number}: {len(columns)} columns, expected words<TAB>tags.")
        words, tags = columns[0].split(" "), columns[1].split(" ")
        language, separator, rest = tags[0].partition(":")
        if separator and rest in labels and tags[0] not in labels:
            tags[0] = rest
        else:
            language = "und"
        if len(words) != len(tags):
            raise ValueError(f"{path}:{number}: {len(words)} words but {len(tags)} tags.")
        unknown = [tag for tag in tags if tag not in labels]
        if unknown:
            raise ValueError(f"{path}:{number}: label {unknown[0]!r} is not in labels.tsv.")
        sentences.append(Sentence(words, tags, language))
    return sentences


def take_evenly(sentences: list[Sentence], limit: int) -> list[Sentence]:
    """The first sentences of each language in equal numbers, `limit` in all, in original order.

    Languages with fewer give their share away; a limit of 0 takes everything.
    """
    seen: dict[str, int] = {}
    ranks = []
    for index, sentence in enumerate(sentences):
        rank = seen.get(sentence.language, 0)
        seen[sentence.language] = rank + 1
        ranks.append((rank, index))
    chosen = sorted(ranks)[: limit or len(ranks)]
    return [sentences[index] for _, index in sorted(chosen, key=lambda pair: pair[1])]


def find_special(tokenizer: tokenizers.Tokenizer, token: str) -> int:
    """The id of a special token; ValueError where the vocabulary has none (not a BERT family)."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"the tokenizer has no {token}: expected one of the BERT family.")
    return found


def cut_windows(
    sentences: list[Sentence], tokenizer: tokenizers.Tokenizer, max_pieces: int
) -> list[list[Window]]:
    """Windows of at most `max_pieces` pieces, specials included, for each sentence.

    Cut at word borders without overlap; a word longer than a window keeps its first pieces; a word
    without pieces is in no window.
    """
    cls, sep = find_special(tokenizer, "[CLS]"), find_special(tokenizer, "[SEP]")
    room = max_pieces - 2
    encodings = tokenizer.encode_batch(
        [sentence.words for sentence in sentences], is_pretokenized=True, add_special_tokens=False
    )
    windows = []
    for index, encoding in enumerate(encodings):
        pieces_of: dict[int, list[int]] = {}
        for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
            if word is not None:
                pieces_of.setdefault(word, []).append(token)
        groups: list[list[tuple[int, list[int]]]] = []
        filled = room
        for word, all_pieces in pieces_of.items():
            pieces = all_pieces[:room]
            if filled + len(pieces) > room:
                groups.append([])
                filled = 0
            groups[-1].append((word, pieces))
            filled += len(pieces)
        cut = []
        for group in groups:
            tokens, first = [cls], []
            for word, pieces in group:
                first.append((len(tokens), word))
                tokens.extend(pieces)
            cut.append(Window([*tokens, sep], first, index))
        windows.append(cut)
    return windows


def pad(windows: list[Window], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids i64[B, T] and attention mask i64[B, T], T the longest window of the batch."""
    tokens = np.full((len(windows), max(len(w.tokens) for w in windows)), padding, np.int64)
    mask = np.zeros_like(tokens)
    for row, window in enumerate(windows):
        tokens[row, : len(window.tokens)] = window.tokens
        mask[row, : len(window.tokens)] = 1
    return torch.from_numpy(tokens), torch.from_numpy(mask)


def shuffle_batches(
    windows: list[list[Window]], batch: int, bucket_batches: int, generator: random.Random
) -> Iterator[list[Window]]:
    """One epoch: the windows of `batch` sentences at a time, every sentence once.

    Sentences are shuffled, sorted by length within buckets of `bucket_batches` batches (less
    padding), and the batches are shuffled again (no drift of length along the epoch).
    """
    order = list(range(len(windows)))
    generator.shuffle(order)
    batches = []
    bucket = batch * bucket_batches
    for start in range(0, len(order), bucket):
        part = sorted(
            order[start : start + bucket], key=lambda s: sum(len(w.tokens) for w in windows[s])
        )
        batches += [part[i : i + batch] for i in range(0, len(part), batch)]
    generator.shuffle(batches)
    for sentences in batches:
        yield [window for sentence in sentences for window in windows[sentence]]


def train(
    model: transformers.PreTrainedModel,
    sentences: list[Sentence],
    windows: list[list[Window]],
    labels: list[str],
    padding: int,
    seed: int,
) -> list[float]:
    """Fine-tunes `model` in place by `RECIPE`; the mean loss a label of each epoch, in nats."""
    class_of = {label: index for index, label in enumerate(labels)}
    batch_sentences, epochs = RECIPE.batch_sentences, RECIPE.epochs
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": RECIPE.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=RECIPE.learning_rate,
        betas=(0.9, 0.999),
        eps=1e-8,
    )
    steps_per_epoch = math.ceil(len(windows) / batch_sentences)
    steps = epochs * steps_per_epoch
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, round(RECIPE.warm_up * steps), steps
    )
    generator = random.Random(seed)
    model.train()
    epoch_losses = []
    for epoch in range(epochs):
        total, count = 0.0, 0
        started = time.perf_counter()
        batches = shuffle_batches(windows, batch_sentences, RECIPE.bucket_batches, generator)
        for step, batch in enumerate(batches, start=1):
            tokens, mask = pad(batch, padding)
            targets = torch.full_like(tokens, IGNORED)
            for row, window in enumerate(batch):
                for position, word in window.first:
                    targets[row, position] = class_of[sentences[window.sentence].tags[word]]
            # The model's own loss: cross-entropy, a mean over the labelled first pieces.
            loss = model(input_ids=tokens, attention_mask=mask, labels=targets).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), RECIPE.clip_norm)
            optimizer.step()
            schedule.step()
            labelled = int((targets != IGNORED).sum())
            total += loss.item() * labelled
            count += labelled
            if step % 50 == 0 or step == steps_per_epoch:
                log.info(
                    "epoch %d of %d, step %d of %d: loss %.4f, %.0f s",
                    *(epoch + 1, epochs, step, steps_per_epoch),
                    *(total / count, time.perf_counter() - started),
                )
        epoch_losses.append(total / count)
    return epoch_losses


def make_legal(tags: list[str]) -> list[str]:
    """IOB2 repaired: an I- that does not continue an entity of its type becomes B-."""
    legal: list[str] = []
    previous = "O"
    for tag in tags:
        if tag.startswith("I-") and previous[2:] != tag[2:]:
            tag = "B-" + tag[2:]
        legal.append(tag)
        previous = tag
    return legal


@torch.no_grad()
def predict(
    model: transformers.PreTrainedModel,
    sentences: list[Sentence],
    windows: list[list[Window]],
    labels: list[str],
    padding: int,
) -> list[list[str]]:
    """Legal IOB2 tags, one a word: argmax at first pieces, O for words without a piece."""
    model.eval()
    predicted = [["O"] * len(sentence.words) for sentence in sentences]
    flat = sorted((w for cut in windows for w in cut), key=lambda w: len(w.tokens))
    start = 0
    while start < len(flat):
        # Sorted by length, so the last window of a batch is its width.
        end = start + 1
        while end < len(flat) and (end + 1 - start) * len(flat[end].tokens) <= EVALUATION_PIECES:
            end += 1
        batch = flat[start:end]
        start = end
        tokens, mask = pad(batch, padding)
        classes = model(input_ids=tokens, attention_mask=mask).logits.argmax(-1).numpy()
        for row, window in enumerate(batch):
            for position, word in window.first:
                predicted[window.sentence][word] = labels[classes[row, position]]
    return [make_legal(tags) for tags in predicted]


def entity_f1(gold: list[list[str]], predicted: list[list[str]]) -> float:
    """Micro-averaged F1 of whole entities, strict IOB2, as a fraction."""
    return float(seqeval.metrics.f1_score(gold, predicted, mode="strict", scheme=IOB2))


def score(sentences: list[Sentence], predicted: list[list[str]]) -> dict:
    """Entity F1 in each language, their unweighted mean (macro) and over all sentences (micro).

    A language without gold entities is null and not part of the macro.
    """
    per_language: dict[str, float | None] = {}
    for language in sorted({sentence.language for sentence in sentences}):
        mine = [i for i, sentence in enumerate(sentences) if sentence.language == language]
        gold = [sentences[i].tags for i in mine]
        has_entities = any(tag != "O" for tags in gold for tag in tags)
        per_language[language] = (
            entity_f1(gold, [predicted[i] for i in mine]) if has_entities else None
        )
    known = [f1 for f1 in per_language.values() if f1 is not None]
    return {
        "macro_f1": statistics.fmean(known) if known else None,
        "micro_f1": entity_f1([s.tags for s in sentences], predicted) if known else None,
        "per_language": per_language,
    }


def measure_matmul() -> float:
    """Median rate of a float32 product of two square matrices, in GFLOP/s (10^9 a second)."""
    left, right = torch.randn(2, MATMUL_SIZE, MATMUL_SIZE)
    rates = []
    for _ in range(25):
        started = time.perf_counter()
        left @ right
        rates.append(2 * MATMUL_SIZE**3 / (time.perf_counter() - started) / 1e9)
    return statistics.median(rates)


def count_pieces(windows: list[list[Window]]) -> int:
    """Real pieces, specials included, padding excluded."""
    return sum(len(window.tokens) for cut in windows for window in cut)


def run(model_folder: Path, data_folder: Path, limit: int, seed: int) -> dict:
    """Fine-tunes, evaluates and returns the result as JSON-ready data."""
    labels = [line for line in (data_folder / "labels.tsv").read_text("utf-8").split("\n") if line]
    tokenizer = tokenizers.Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    padding = find_special(tokenizer, "[PAD]")
    sentences = {
        name: read_sentences(data_folder / f"{name}.tsv", labels)
        for name in ("train", "dev", "test")
    }
    sentences["train"] = take_evenly(sentences["train"], limit)
    max_pieces = RECIPE.max_pieces
    windows = {n: cut_windows(part, tokenizer, max_pieces) for n, part in sentences.items()}
    for name, part in sentences.items():
        log.info(
            "%s: %d sentences, %d windows, %d pieces",
            *(name, len(part), sum(map(len, windows[name])), count_pieces(windows[name])),
        )

    transformers.logging.set_verbosity_error()
    torch.manual_seed(seed)
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        model_folder,
        dtype=torch.float32,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    matmul = {"before": measure_matmul()}
    load = {"before": os.getloadavg()[0]}
    torch.manual_seed(seed)
    started = time.perf_counter()
    losses = train(model, sentences["train"], windows["train"], labels, padding, seed)
    train_seconds = time.perf_counter() - started
    load["after"] = os.getloadavg()[0]

    scores, seconds = {}, {"training": train_seconds}
    for name in ("dev", "test"):
        started = time.perf_counter()
        predicted = predict(model, sentences[name], windows[name], labels, padding)
        seconds[f"evaluation_{name}"] = time.perf_counter() - started
        scores[name] = score(sentences[name], predicted)
        log.info("%s macro-F1 %.4f", name, scores[name]["macro_f1"])
    matmul["after"] = measure_matmul()

    evaluated = count_pieces(windows["dev"]) + count_pieces(windows["test"])
    evaluation_seconds = seconds["evaluation_dev"] + seconds["evaluation_test"]
    return {
        "command": "python benchmarks/finetune_twin.py"
        f" --model={model_folder.name} --data={data_folder.name} --limit={limit} --seed={seed}",
        "settings": {
            "model": model_folder.name,
            "data": data_folder.name,
            "limit": limit,
            **asdict(RECIPE),
            "dropout": model.config.hidden_dropout_prob,
            "attention_dropout": model.config.attention_probs_dropout_prob,
        },
        "seed": seed,
        "counts": {
            name: {
                "sentences": len(part),
                "windows": sum(map(len, windows[name])),
                "pieces": count_pieces(windows[name]),
            }
            for name, part in sentences.items()
        },
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_loss": losses,
        **scores,
        "seconds": seconds,
        "real_pieces_per_second": {
            "training": RECIPE.epochs * count_pieces(windows["train"]) / train_seconds,
            "evaluation": evaluated / evaluation_seconds,
        },
        "machine": {
            "cpu_count": len(os.sched_getaffinity(0)),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "load_average": load,
            f"matmul_{MATMUL_SIZE}_gflops": matmul,
        },
    }


def main() -> None:
    """Reads the flags, runs, and writes the JSON whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="a Hugging Face folder")
    parser.add_argument("--data", type=Path, required=True, help="an NER task folder")
    parser.add_argument(
        "--limit", type=int, default=0, help="training sentences, evenly by language; 0 is all"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="the JSON to write")
    flags = parser.parse_args()
    if flags.limit < 0:
        parser.error(f"--limit={flags.limit}: expected 0 (everything) or a positive number.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    needed = [flags.model / "config.json", flags.model / "tokenizer.json"]
    needed += [flags.data / name for name in ("labels.tsv", "train.tsv", "dev.tsv", "test.tsv")]
    for path in needed:
        if not path.is_file():
            parser.error(f"{path} does not exist.")
    if not flags.output.parent.is_dir():
        parser.error(f"--output: the folder {flags.output.parent} does not exist.")
    try:
        # Absolute, so that a folder given as `.` has a name; a link keeps the name it was given.
        result = run(flags.model.absolute(), flags.data.absolute(), flags.limit, flags.seed)
    except ValueError as error:
        parser.error(str(error))
    partial = flags.output.with_name(flags.output.name + ".partial")
    partial.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, flags.output)
    log.info("wrote %s", flags.output)


if __name__ == "__main__":
    main()
