"""How long does the whole v3 plan take in a plain PyTorch loop, from start to scores?

    python benchmarks/torch_plan.py --data=FOLDER --model=MINILM --output=FILE.json

FOLDER is a task folder in one language, as `whole_plan.py` makes it. The stages, their losses,
batches, learning rates and epochs are those of `plans.py:whole`; none of the library's code runs.
What a practised hand would do is done: batches are cut from sentences sorted by length and padded
to their longest, all cores compute, AdamW is fused, what is frozen has no gradient, attention maps
are made in the one stage that compares them and PyTorch's own attention serves all others. The
teacher's logits are computed once and kept in memory; its hidden states and maps come on the fly
without a graph. Each student stage ends with the parameters that were best on dev at the end of an
epoch. Nothing but the result is written: no checkpoint and no model.

Counted are the seconds of every phase, and dev and test macro-F1 of teacher and student.
"""

import argparse
import json
import logging
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from finetune_twin import (
    EVALUATION_PIECES,
    RECIPE,
    Sentence,
    Window,
    cut_windows,
    entity_f1,
    find_special,
    pad,
    predict,
    read_sentences,
    shuffle_batches,
)
from plans import get_config
from torch import nn
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface
from watch import SIGNALS, TEACHER, TEXTS

from xdistil.config import Stage
from xdistil.runtime.process import ask_for_huge_pages

log = logging.getLogger("torch_plan")

Model = transformers.PreTrainedModel
# A batch's loss as a mean, and the number of things it is the mean of.
Loss = Callable[[list[Window]], tuple[torch.Tensor, int]]


@dataclass(frozen=True)
class Texts:
    """Sentences, the windows of each, and where its words begin among those of all sentences."""

    sentences: list[Sentence]
    windows: list[list[Window]]
    starts: np.ndarray  # i64[sentences]
    words: int


class Phases:
    """Seconds by phase, one after another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def end(self, name: str) -> None:
        """What has passed since the last phase ended was this one."""
        now = time.monotonic()
        self.seconds[name], self._since = now - self._since, now
        log.info("%s: %.1f s", name, self.seconds[name])


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: object,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention that hands out its probabilities before dropout, which are what the loss compares:
    the eager attention of transformers hands them out after it."""
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    probabilities = scores.softmax(-1)
    dropped = nn.functional.dropout(probabilities, dropout, module.training)
    return (dropped @ value).transpose(1, 2).contiguous(), probabilities


AttentionInterface.register("with_maps", attend)
AttentionMaskInterface.register("with_maps", eager_mask)


def prepare_texts(sentences: list[Sentence], tokenizer: tokenizers.Tokenizer) -> Texts:
    """Cuts sentences into windows."""
    ends = np.cumsum([len(sentence.words) for sentence in sentences])
    starts = np.concatenate([[0], ends[:-1]])
    windows = cut_windows(sentences, tokenizer, RECIPE.max_pieces)
    return Texts(sentences, windows, starts, int(ends[-1]))


def read_transfer(path: Path) -> list[Sentence]:
    """The sentences of a file without labels."""
    lines = path.read_text("utf-8").split("\n")
    return [Sentence(line.split(" "), [], "") for line in lines if line]


def locate_words(batch: list[Window], texts: Texts) -> tuple[torch.Tensor, ...]:
    """(rows, positions in the row, numbers among all words) of the first pieces of words."""
    found = [
        (row, position, texts.starts[window.sentence] + word)
        for row, window in enumerate(batch)
        for position, word in window.first
    ]
    return tuple(torch.from_numpy(np.array(found, np.int64).T))


def sort_batches(windows: Iterable[list[Window]]) -> Iterator[list[Window]]:
    """All windows by length, in batches of about `EVALUATION_PIECES` padded pieces."""
    batch: list[Window] = []
    for window in sorted((w for cut in windows for w in cut), key=lambda w: len(w.tokens)):
        if batch and (len(batch) + 1) * len(window.tokens) > EVALUATION_PIECES:
            yield batch
            batch = []
        batch.append(window)
    yield batch


def make_student(teacher: Model, classes: int) -> Model:
    """A BERT from scratch; its word embeddings are the truncated SVD of the teacher's."""
    student, source = get_config("whole").student, teacher.config
    model = transformers.BertForTokenClassification(
        transformers.BertConfig(
            vocab_size=source.vocab_size,
            hidden_size=student.hidden_size,
            num_hidden_layers=student.layers,
            num_attention_heads=student.heads,
            intermediate_size=student.intermediate_size,
            hidden_act=source.hidden_act,
            hidden_dropout_prob=student.dropout,
            attention_probs_dropout_prob=student.dropout,
            max_position_embeddings=source.max_position_embeddings,
            type_vocab_size=source.type_vocab_size,
            num_labels=classes,
        )
    )
    wide = teacher.get_input_embeddings().weight.detach().double()
    _, vectors = torch.linalg.eigh(wide.T @ wide)  # eigenvalues ascend
    narrow = wide @ vectors.flip(1)[:, : student.hidden_size]
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(narrow)
    return model


def compare_representations(
    student: Model, teacher: Model, sides: nn.ModuleList, padding: int
) -> Loss:
    """MSE of the last L+1 hidden states behind a projection each, plus MSE of L attention maps."""

    def loss_of(batch: list[Window]) -> tuple[torch.Tensor, int]:
        tokens, mask = pad(batch, padding)
        inputs = {"input_ids": tokens, "attention_mask": mask}
        wanted = {"output_hidden_states": True, "output_attentions": True}
        with torch.inference_mode():
            target = teacher.base_model(**inputs, **wanted)
        output = student.base_model(**inputs, **wanted)
        real = mask.float()
        states = [
            ((side(state) - aim).square().mean(-1) * real).sum() / real.sum()
            for side, state, aim in zip(
                sides, output.hidden_states, target.hidden_states[-len(sides) :], strict=True
            )
        ]
        maps = output.attentions
        # Keys that are padding have probability 0 on both sides, so only queries need a mask.
        pairs = maps[0].shape[1] * real.sum(-1).square().sum()
        attention = [
            ((own - aim).square().sum(-1) * real[:, None]).sum() / pairs
            for own, aim in zip(maps, target.attentions[-len(maps) :], strict=True)
        ]
        return torch.stack(states).mean() + torch.stack(attention).mean(), int(real.sum())

    return loss_of


def compare_words(model: Model, texts: Texts, targets: torch.Tensor, padding: int) -> Loss:
    """Cross-entropy with classes i64[words], or MSE with logits f32[words, C]."""
    measure = nn.functional.mse_loss if targets.is_floating_point() else nn.functional.cross_entropy

    def loss_of(batch: list[Window]) -> tuple[torch.Tensor, int]:
        tokens, mask = pad(batch, padding)
        rows, positions, words = locate_words(batch, texts)
        logits = model(input_ids=tokens, attention_mask=mask).logits[rows, positions]
        return measure(logits, targets[words]), len(words)

    return loss_of


@torch.inference_mode()
def measure_loss(model: Model, loss_of: Loss, texts: Texts) -> float:
    """The mean of a loss over texts, without dropout."""
    model.eval()
    total, count = 0.0, 0
    for batch in sort_batches(texts.windows):
        mean, things = loss_of(batch)
        total, count = total + mean.item() * things, count + things
    return total / count


def compute_logits(teacher: Model, texts: Texts, padding: int) -> torch.Tensor:
    """The teacher's logits f32[words, C] at the first pieces of words."""
    teacher.eval()
    logits = torch.zeros(texts.words, teacher.config.num_labels)
    for batch in sort_batches(texts.windows):
        tokens, mask = pad(batch, padding)
        rows, positions, words = locate_words(batch, texts)
        with torch.inference_mode():
            output = teacher(input_ids=tokens, attention_mask=mask).logits
        logits[words] = output[rows, positions]
    return logits


def read_classes(texts: Texts, labels: list[str]) -> torch.Tensor:
    """The gold classes i64[words]."""
    class_of = {label: index for index, label in enumerate(labels)}
    tags = [tag for sentence in texts.sentences for tag in sentence.tags]
    return torch.tensor([class_of[tag] for tag in tags])


def make_schedule(stage: Stage, steps: int) -> Callable[[int], float]:
    """The learning rate of a step as a share of the stage's: warm-up, then its schedule to 0."""
    warmup = round(stage.warmup * steps)

    def share(step: int) -> float:
        if step < warmup:
            return step / warmup
        done = (step - warmup) / max(steps - warmup, 1)
        return 1 - done if stage.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2

    return share


def learn(
    stage: Stage,
    model: Model,
    trainable: list[nn.Parameter],
    loss_of: Loss,
    texts: Texts,
    monitor: Callable[[], float] | None,
    seed: int,
) -> None:
    """Trains a stage in place.

    Args:
        trainable: parameters that learn; the model's others are frozen.
        monitor: what is best when least, read on dev after every epoch; without it, the last
            parameters are kept.
    """
    batch = stage.batch_size or get_config("whole").batch_size
    steps = round(stage.epochs) * math.ceil(len(texts.windows) / batch)
    model.requires_grad_(False)
    for parameter in trainable:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trainable if p.ndim > 1], "weight_decay": stage.weight_decay},
            {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=stage.lr,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, make_schedule(stage, steps))
    generator = random.Random(seed)
    best, best_value = None, math.inf
    for _ in range(round(stage.epochs)):
        model.train()
        for windows in shuffle_batches(texts.windows, batch, RECIPE.bucket_batches, generator):
            loss, _ = loss_of(windows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trainable, stage.clip)
            optimizer.step()
            schedule.step()
        if monitor and (value := monitor()) < best_value:
            best_value = value
            best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if best is not None:
        model.load_state_dict(best)


def expand(stage: Stage, student: Model) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """The sub-stages: their names, and what learns. The word embeddings stay as they start."""
    words = student.get_input_embeddings().weight
    layers = [tensor for tensor in student.base_model.parameters() if tensor is not words]
    head = list(student.classifier.parameters())
    if "representation" in stage.loss:
        yield stage.name, layers
    elif stage.unfreeze == "all":
        yield stage.name, head + layers
    else:
        yield f"{stage.name}/head", head
        yield f"{stage.name}/layers-0-{student.config.num_hidden_layers - 1}", head + layers


def train_student(
    teacher: Model,
    texts: dict[str, Texts],
    labels: list[str],
    padding: int,
    seed: int,
    phases: Phases,
) -> Model:
    """Runs the plan, with the teacher fine-tuned."""
    transfer, train, dev = texts["transfer"], texts["train"], texts["dev"]
    logits = {name: compute_logits(teacher, texts[name], padding) for name in ("transfer", "dev")}
    phases.end(SIGNALS)
    student = make_student(teacher, len(labels))

    def negative_f1() -> float:
        predicted = predict(student, dev.sentences, dev.windows, labels, padding)
        return -entity_f1([sentence.tags for sentence in dev.sentences], predicted)

    for number, stage in enumerate(get_config("whole").plan):
        for name, trainable in expand(stage, student):
            source, attention, beside = transfer, "sdpa", []
            if "representation" in stage.loss:
                attention = "with_maps"
                sides = nn.ModuleList(
                    nn.Linear(student.config.hidden_size, teacher.config.hidden_size)
                    for _ in range(student.config.num_hidden_layers + 1)
                )
                beside = list(sides.parameters())
                loss = compare_representations(student, teacher, sides, padding)
                monitor = partial(measure_loss, student, loss, dev)
            elif stage.loss == "logits":
                loss = compare_words(student, transfer, logits["transfer"], padding)
                dev_loss = compare_words(student, dev, logits["dev"], padding)
                monitor = partial(measure_loss, student, dev_loss, dev)
            else:
                source, monitor = train, negative_f1
                loss = compare_words(student, train, read_classes(train, labels), padding)
            for model in (teacher, student):
                model.set_attn_implementation(attention)
            learn(stage, student, trainable + beside, loss, source, monitor, seed + number)
            phases.end(name)
    return student


def run(data: Path, model: Path, seed: int) -> dict:
    """The whole plan; returns the result as JSON-ready data."""
    began, phases = time.time(), Phases()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(seed)
    labels = [line for line in (data / "labels.tsv").read_text("utf-8").split("\n") if line]
    tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    padding = find_special(tokenizer, "[PAD]")
    texts = {
        name: prepare_texts(read_sentences(data / f"{name}.tsv", labels), tokenizer)
        for name in ("train", "dev", "test")
    }
    texts["transfer"] = prepare_texts(read_transfer(data / "transfer.txt"), tokenizer)
    transformers.logging.set_verbosity_error()
    teacher = transformers.AutoModelForTokenClassification.from_pretrained(
        model, dtype=torch.float32, num_labels=len(labels), attn_implementation="sdpa"
    )
    phases.end(TEXTS)
    (finetune,) = get_config("whole").teacher.plan
    train = texts["train"]
    loss = compare_words(teacher, train, read_classes(train, labels), padding)
    learn(finetune, teacher, list(teacher.parameters()), loss, train, None, seed)
    teacher.requires_grad_(False)
    phases.end(TEACHER)
    student = train_student(teacher, texts, labels, padding, seed, phases)
    scores: dict[str, dict[str, float]] = {}
    for name, trained in (("teacher", teacher), ("student", student)):
        trained.set_attn_implementation("sdpa")
        for split in ("dev", "test"):
            part = texts[split]
            predicted = predict(trained, part.sentences, part.windows, labels, padding)
            f1 = entity_f1([sentence.tags for sentence in part.sentences], predicted)
            scores.setdefault(split, {})[name] = f1
    return {"began": began, "phases": phases.seconds, **scores}


def main() -> None:
    """Reads the flags, runs, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a task folder in one language")
    parser.add_argument("--model", type=Path, required=True, help="the teacher, a folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="the JSON to write")
    flags = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    result = run(flags.data, flags.model, flags.seed)
    flags.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    ask_for_huge_pages()
    main()
