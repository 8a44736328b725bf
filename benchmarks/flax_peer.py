"""The step of `step_contest.py` on the fly with the Flax modules of transformers 4.57.

    python3.11 -m venv hf && hf/bin/pip install transformers==4.57.3 jax==0.10.2 flax==0.12.8
    python benchmarks/step_contest.py ... --hf-flax=hf/bin/python

The last release of transformers with Flax modules does not go with the one that xdistil needs, so
that this peer has an environment and a process of its own: `step_contest.py` starts it with a file
of batches and two shapes, and it says when it has read them, then answers every line on its
standard input with one step and the real pieces of it. Every sentence is padded to one length, as
the Flax examples of transformers have it.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from transformers import BertConfig, FlaxBertModel

Params = dict[str, Any]
Batch = dict[str, Any]


def build(shape: dict[str, Any], seed: int) -> FlaxBertModel:
    """A BERT of a shape (BertConfig's own fields), without a pooler, its weights random."""
    return FlaxBertModel(BertConfig(**shape), seed=seed, add_pooling_layer=False)


def read_feed(path: Path) -> Iterator[tuple[Batch, int]]:
    """The file's batches again and again, and the real pieces of each."""
    with np.load(path) as arrays:
        names = ("input_ids", "attention_mask", "token_type_ids")
        batches = [
            dict(zip(names, values, strict=True))
            for values in zip(*(arrays[name] for name in names), strict=True)
        ]
    return itertools.cycle([(batch, int(batch["attention_mask"].sum())) for batch in batches])


def draw_sides(student: BertConfig, teacher: BertConfig) -> list[Params]:
    """Projections of the student's hidden states to the teacher's width."""
    generator = np.random.default_rng(0)
    shape = (student.hidden_size, teacher.hidden_size)
    return [
        {
            "kernel": generator.normal(0, shape[0] ** -0.5, shape).astype(np.float32),
            "bias": np.zeros(shape[1], np.float32),
        }
        for _ in range(student.num_hidden_layers + 1)
    ]


def measure_loss(output: Any, target: Any, sides: list[Params], mask: jax.Array) -> jax.Array:
    """Squares of the differences of hidden states and of attention maps, each a mean."""
    layers = len(output.attentions)
    places = mask[:, :, None]
    pairs = (mask[:, :, None] * mask[:, None, :])[:, None]
    hidden = [
        jnp.sum(jnp.square((mine @ side["kernel"] + side["bias"] - theirs) * places))
        for mine, side, theirs in zip(
            output.hidden_states, sides, target.hidden_states[-layers - 1 :], strict=True
        )
    ]
    maps = [
        jnp.sum(jnp.square((mine - theirs) * pairs))
        for mine, theirs in zip(output.attentions, target.attentions[-layers:], strict=True)
    ]
    width, heads = target.hidden_states[-1].shape[-1], target.attentions[-1].shape[1]
    loss = sum(hidden) / len(hidden) / (mask.sum() * width)
    return loss + sum(maps) / len(maps) / (pairs.sum() * heads)


def main() -> None:
    """One step for every line read."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batches", type=Path, required=True)
    parser.add_argument("--teacher", type=json.loads, required=True, help="BertConfig's fields")
    parser.add_argument("--student", type=json.loads, required=True, help="BertConfig's fields")
    parser.add_argument("--rate", type=float, required=True, help="of AdamW")
    flags = parser.parse_args()
    large, small = build(flags.teacher, 0), build(flags.student, 1)
    feed = read_feed(flags.batches)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(
            flags.rate,
            weight_decay=0.01,
            mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params),
        ),
    )
    params = {"student": small.params, "sides": draw_sides(small.config, large.config)}
    state = (params, optimizer.init(params), jax.random.key(2))

    def advance(state: Any, teacher: Params, batch: Batch) -> tuple[Any, jax.Array]:
        params, memory, key = state
        key, dropout = jax.random.split(key)
        wanted = {"output_hidden_states": True, "output_attentions": True}
        target = large(**batch, **wanted, params=teacher)

        def lose(params: Params) -> jax.Array:
            output = small(
                **batch, **wanted, params=params["student"], dropout_rng=dropout, train=True
            )
            mask = batch["attention_mask"].astype(jnp.float32)
            return measure_loss(output, target, params["sides"], mask)

        loss, gradient = jax.value_and_grad(lose)(params)
        updates, memory = optimizer.update(gradient, memory, params)
        return (optax.apply_updates(params, updates), memory, key), loss

    step = jax.jit(advance, donate_argnums=0)
    print("ready", flush=True)
    for _ in sys.stdin:
        batch, real = next(feed)
        state, loss = step(state, large.params, batch)
        jax.block_until_ready((state, loss))
        print(real, flush=True)


if __name__ == "__main__":
    main()
