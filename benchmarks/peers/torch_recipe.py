"""How the PyTorch peers train: batches, learning rates and AdamW."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
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
