"""The distillation step of `steps_beside_peers.py` with the Flax modules of transformers 4.57.

    python3.11 -m venv hf && hf/bin/pip install transformers==4.57.3 jax==0.10.2 flax==0.12.8
    python -m benchmarks.steps_beside_peers ... --hf-flax=hf/bin/python

The last release of transformers with Flax modules does not work beside the one that xdistil needs,
so this peer has its own environment and process. `steps_beside_peers.py` starts it with a file of
batches and two shapes. It says when it has read them, then answers every line on its standard input
with one step and the real subwords of it. Every sentence is padded to one length, as in the Flax
examples of transformers.
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
from transformers import BertConfig, FlaxBertModel  # type: ignore[attr-defined]  # of 4.57

Params = dict[str, Any]
Batch = dict[str, Any]


def read_feed(path: Path) -> Iterator[tuple[Batch, int]]:
    """The file's batches again and again, and the real subwords of each."""
    with np.load(path) as file:
        columns = zip(*file.values(), strict=True)
        batches = [dict(zip(file.files, values, strict=True)) for values in columns]
    return itertools.cycle([(batch, int(batch["attention_mask"].sum())) for batch in batches])


def draw_projections(student: BertConfig, teacher: BertConfig) -> list[Params]:
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


def measure_loss(output: Any, target: Any, projections: list[Params], mask: jax.Array) -> jax.Array:
    """Mean squared differences of hidden states and of attention maps."""
    layers, pairs = len(output.attentions), (mask[:, :, None] * mask[:, None, :])[:, None]
    hidden = [
        jnp.mean(jnp.square(mine @ project["kernel"] + project["bias"] - theirs), -1) * mask
        for mine, project, theirs in zip(
            output.hidden_states, projections, target.hidden_states[-layers - 1 :], strict=True
        )
    ]
    maps = [
        jnp.mean(jnp.square(mine - theirs) * pairs, 1)
        for mine, theirs in zip(output.attentions, target.attentions[-layers:], strict=True)
    ]
    loss = sum(map(jnp.sum, hidden)) / len(hidden) / mask.sum()
    return loss + sum(map(jnp.sum, maps)) / len(maps) / pairs.sum()


def main() -> None:
    """One step for every line read."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batches", type=Path, required=True)
    parser.add_argument("--teacher", type=json.loads, required=True, help="BertConfig's fields")
    parser.add_argument("--student", type=json.loads, required=True, help="BertConfig's fields")
    parser.add_argument("--rate", type=float, required=True, help="of AdamW")
    flags = parser.parse_args()
    large, small = (
        FlaxBertModel(BertConfig(**shape), seed=seed, add_pooling_layer=False)
        for seed, shape in enumerate((flags.teacher, flags.student))
    )
    feed = read_feed(flags.batches)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(
            flags.rate,
            weight_decay=0.01,
            mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params),
        ),
    )
    params = {"student": small.params, "projections": draw_projections(small.config, large.config)}
    state = (params, optimizer.init(params), jax.random.key(2))

    def advance(state: Any, teacher: Params, batch: Batch) -> tuple[Any, jax.Array]:
        params, memory, key = state
        key, dropout = jax.random.split(key)
        wanted = {"output_hidden_states": True, "output_attentions": True}
        target = large(**batch, **wanted, params=teacher)

        def compute_loss(params: Params) -> jax.Array:
            output = small(
                **batch, **wanted, params=params["student"], dropout_rng=dropout, train=True
            )
            mask = batch["attention_mask"].astype(jnp.float32)
            return measure_loss(output, target, params["projections"], mask)

        loss, gradient = jax.value_and_grad(compute_loss)(params)
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
