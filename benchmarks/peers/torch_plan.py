"""How long does the whole v3 plan take in a plain PyTorch loop, from start to scores?

    python -m benchmarks.peers.torch_plan --data=FOLDER --model=MINILM --output=FILE.json

FOLDER is a task folder in one language, as `whole_run.py` makes it. The stages, their losses,
batches, learning rates and epochs are those of `plans.py:whole`; nothing else of the library runs.
The loop is what an experienced user would write: sentences are sorted by length into batches and
padded to the longest of a batch, all cores compute, AdamW is fused, frozen parameters have no
gradient, attention maps are computed only in the stage that compares them, and PyTorch's own
attention serves all others. The teacher's logits are computed once and kept in memory; its hidden
states and maps are computed on the fly without a graph. With --dtype=bfloat16 all of it runs with
autocast. Each student stage ends with the parameters
of its best epoch on dev. Only the result is written: no checkpoint and no model. It holds the
seconds of every phase, and dev and test macro-F1 of teacher and student.
"""

import argparse
import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface

from benchmarks.peers.torch_finetune import entity_f1
from benchmarks.peers.torch_recipe import Recipe
from benchmarks.peers.torch_texts import (
    Sentence,
    Texts,
    Window,
    iterate_batches,
    locate_words,
    open_tokenizer,
    pad,
    prepare_texts,
    read_classes,
    read_texts,
)
from benchmarks.peers.torch_training import Loss, Model, compare_words, fit, predict
from benchmarks.plans import SIGNALS, TEACHER, TEXTS, get_config
from xdistil.config import Stage
from xdistil.runtime.process import request_huge_pages

log = logging.getLogger("torch_peer")


class Phases:
    """Seconds by phase, one after another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def end(self, name: str) -> None:
        """Counts the time since the last phase ended as this one's."""
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
    """Attention that returns its probabilities before dropout, which the loss compares: the eager
    attention of transformers returns them after it."""
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    probabilities = scores.softmax(-1)
    dropped = nn.functional.dropout(probabilities, dropout, module.training)
    return (dropped @ value).transpose(1, 2).contiguous(), probabilities


AttentionInterface.register("with_maps", attend)
AttentionMaskInterface.register("with_maps", eager_mask)


def make_student(teacher: Model) -> Model:
    """A BERT from scratch; its word embeddings are the truncated SVD of the teacher's."""
    student, config = get_config("whole").student, copy.deepcopy(teacher.config)
    config.hidden_size, config.intermediate_size = student.hidden_size, student.intermediate_size
    config.num_hidden_layers, config.num_attention_heads = student.layers, student.heads
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = student.dropout
    model = transformers.BertForTokenClassification(config)
    wide = teacher.get_input_embeddings().weight.detach().double()
    _, vectors = torch.linalg.eigh(wide.T @ wide)  # eigenvalues in ascending order
    narrow = wide @ vectors.flip(1)[:, : student.hidden_size]
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(narrow)
    return model


def compare_outputs(
    states: list[torch.Tensor], output: Any, target: Any, mask: torch.Tensor
) -> torch.Tensor:
    """MSE of L+1 projected hidden states with the target's last ones, plus MSE of the L attention
    maps of an output with the target's last ones, in float32."""
    real, maps = mask.float(), output.attentions
    hidden = [
        ((mine.float() - theirs.float()).square().mean(-1) * real).sum() / real.sum()
        for mine, theirs in zip(states, target.hidden_states[-len(states) :], strict=True)
    ]
    # Keys that are padding have probability 0 on both sides, so only queries need a mask.
    pairs = maps[0].shape[1] * real.sum(-1).square().sum()
    attention = [
        ((mine.float() - theirs.float()).square().sum(-1) * real[:, None]).sum() / pairs
        for mine, theirs in zip(maps, target.attentions[-len(maps) :], strict=True)
    ]
    return torch.stack(hidden).mean() + torch.stack(attention).mean()


def compare_representations(
    student: Model, teacher: Model, projections: nn.ModuleList, padding: int
) -> Loss:
    """The loss of the representation stage, with the teacher on the fly."""

    def compute(batch: list[Window]) -> tuple[torch.Tensor, int]:
        inputs = pad(batch, padding)
        wanted = {"output_hidden_states": True, "output_attentions": True}
        with torch.inference_mode():
            target = teacher.base_model(**inputs, **wanted)
        output = student.base_model(**inputs, **wanted)
        states = [project(x) for project, x in zip(projections, output.hidden_states, strict=True)]
        mask = inputs["attention_mask"]
        return compare_outputs(states, output, target, mask), int(mask.sum())

    return compute


@torch.inference_mode()
def measure_loss(model: Model, compute_loss: Loss, texts: Texts) -> float:
    """The mean of a loss over texts, without dropout."""
    model.eval()
    total, count = 0.0, 0
    for batch in iterate_batches(texts):
        mean, items = compute_loss(batch)
        total, count = total + mean.item() * items, count + items
    return total / count


def measure_f1(model: Model, texts: Texts) -> float:
    """Entity F1 of a model's predictions."""
    return entity_f1(texts.sentences, predict(model, texts))


@torch.inference_mode()
def compute_logits(teacher: Model, texts: Texts) -> torch.Tensor:
    """The teacher's logits f32[words,C] at the first subwords of words."""
    teacher.eval()
    logits = torch.zeros(texts.words, len(teacher.config.id2label))
    for batch in iterate_batches(texts):
        rows, positions, words = locate_words(batch, texts)
        logits[words] = teacher(**pad(batch, texts.padding)).logits[rows, positions].float()
    return logits


def fit_stage(
    stage: Stage,
    model: Model,
    trainable: list[nn.Parameter],
    texts: Texts,
    compute_loss: Loss,
    seed: int,
    monitor: Callable[[], float] | None = None,
) -> None:
    """Trains a stage in place.

    Args:
        monitor: lower is better, read on dev after every epoch; without it, the last parameters are
            kept.
    """
    names = ("lr", "weight_decay", "clip", "warmup", "schedule")
    recipe = Recipe(
        batch_size=stage.batch_size or get_config("whole").batch_size,
        epochs=round(stage.epochs),
        **{name: getattr(stage, name) for name in names},
    )
    best: dict[str, torch.Tensor] | None = None
    best_value = math.inf

    def keep_best() -> None:
        nonlocal best, best_value
        if monitor and (value := monitor()) < best_value:
            best_value = value
            best = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    fit(recipe, model, trainable, texts, compute_loss, seed, keep_best)
    if best is not None:
        model.load_state_dict(best)


def expand(stage: Stage, student: Model) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """The sub-stages: their names, and what is trained. The word embeddings stay as they are."""
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


def train_student(teacher: Model, texts: dict[str, Texts], seed: int, phases: Phases) -> Model:
    """Runs the student's plan with the fine-tuned teacher."""
    transfer, train, dev = texts["transfer"], texts["train"], texts["dev"]
    logits = {name: compute_logits(teacher, texts[name]) for name in ("transfer", "dev")}
    phases.end(SIGNALS)
    student = make_student(teacher)

    monitor: Callable[[], float]
    for number, stage in enumerate(get_config("whole").plan):
        for name, trainable in expand(stage, student):
            source, attention, beside = transfer, "sdpa", []
            if "representation" in stage.loss:
                attention = "with_maps"
                projections = nn.ModuleList(
                    nn.Linear(student.config.hidden_size, teacher.config.hidden_size)
                    for _ in range(student.config.num_hidden_layers + 1)
                )
                beside = list(projections.parameters())
                loss = compare_representations(student, teacher, projections, dev.padding)
                monitor = partial(measure_loss, student, loss, dev)
            elif stage.loss == "logits":
                loss = compare_words(student, transfer, logits["transfer"])
                dev_loss = compare_words(student, dev, logits["dev"])
                monitor = partial(measure_loss, student, dev_loss, dev)
            else:
                source, monitor = train, lambda: -measure_f1(student, dev)
                loss = compare_words(student, train, read_classes(train))
            for model in (teacher, student):
                model.set_attn_implementation(attention)
            fit_stage(stage, student, trainable + beside, source, loss, seed + number, monitor)
            phases.end(name)
    return student


def run(data: Path, model: Path, seed: int) -> dict:
    """The whole plan; returns the result as JSON-ready data."""
    began, phases = time.time(), Phases()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(seed)
    tokenizer = open_tokenizer(model)
    texts = read_texts(data, tokenizer)
    lines = filter(None, (data / "transfer.txt").read_text("utf-8").split("\n"))
    transfer = [Sentence(line.split(" "), [], "") for line in lines]
    texts["transfer"] = prepare_texts(transfer, [], tokenizer)
    transformers.logging.set_verbosity_error()
    classes = len(texts["train"].labels)
    teacher = transformers.AutoModelForTokenClassification.from_pretrained(
        model, dtype=torch.float32, num_labels=classes, attn_implementation="sdpa"
    )
    phases.end(TEXTS)
    (finetune,) = get_config("whole").teacher.plan
    train = texts["train"]
    loss = compare_words(teacher, train, read_classes(train))
    fit_stage(finetune, teacher, list(teacher.parameters()), train, loss, seed)
    teacher.requires_grad_(False)
    phases.end(TEACHER)
    student = train_student(teacher, texts, seed, phases)
    scores: dict[str, dict[str, float]] = {}
    for name, trained in (("teacher", teacher), ("student", student)):
        trained.set_attn_implementation("sdpa")
        for split in ("dev", "test"):
            scores.setdefault(split, {})[name] = measure_f1(trained, texts[split])
    return {"began": began, "phases": phases.seconds, **scores}


def main() -> None:
    """Reads the flags, runs, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a task folder in one language")
    parser.add_argument("--model", type=Path, required=True, help="the teacher, a folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--output", type=Path, required=True, help="the JSON to write")
    flags = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    rounded = flags.dtype == "bfloat16"
    # Its cache would keep the rounded weights of the first step until the context ends.
    with torch.autocast("cpu", torch.bfloat16, enabled=rounded, cache_enabled=False):
        result = run(flags.data, flags.model, flags.seed)
    flags.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    request_huge_pages()
    main()
