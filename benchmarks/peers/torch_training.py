"""The training loop of the PyTorch peers, and what a tagger predicts."""

import logging
import math
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.peers.torch_recipe import Recipe, make_adamw, make_schedule
from benchmarks.peers.torch_texts import (
    Texts,
    Window,
    iterate_batches,
    locate_words,
    pad,
    shuffle_batches,
)
from xdistil.data.decoding import decode_tags

log = logging.getLogger("torch_peer")

Model = Any  # a module of transformers

# The mean loss of a batch, and the number of items that it is the mean of.
Loss = Callable[[list[Window]], tuple[torch.Tensor, int]]


def compare_words(model: Model, texts: Texts, targets: torch.Tensor) -> Loss:
    """Cross-entropy with classes i64[words], or MSE with logits f32[words,C]."""
    measure = nn.functional.mse_loss if targets.is_floating_point() else nn.functional.cross_entropy

    def compute(batch: list[Window]) -> tuple[torch.Tensor, int]:
        rows, positions, words = locate_words(batch, texts)
        logits = model(**pad(batch, texts.padding)).logits[rows, positions]
        return measure(logits, targets[words]), len(words)

    return compute


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


@torch.inference_mode()
def predict(model: Model, texts: Texts) -> list[list[str]]:
    """Legal IOB2 tags, one per word, by the logits of its first subword; O where it has none.

    They are decoded as xdistil does, so that scores differ by the training alone.
    """
    model.eval()
    found: list[dict[int, np.ndarray]] = [{} for _ in texts.sentences]
    for batch in iterate_batches(texts):
        logits = model(**pad(batch, texts.padding)).logits.float().numpy()
        for row, window in enumerate(batch):
            found[window.sentence] |= {
                word: logits[row, position] for position, word in window.first
            }
    predicted = [["O"] * len(sentence.words) for sentence in texts.sentences]
    for tags, words in zip(predicted, found, strict=True):
        if words:
            place = sorted(words)
            begins = np.diff(place, prepend=-2) > 1
            classes = decode_tags(np.stack([words[at] for at in place]), begins, texts.labels)
            for at, tag in zip(place, classes.tolist(), strict=True):
                tags[at] = texts.labels[tag]
    return predicted
