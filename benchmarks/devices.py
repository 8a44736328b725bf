"""Do one, two and four devices take the same steps, and what does a step cost on each?

    python -m benchmarks.devices --rounds=3 --output=devices.json

A host is split into 1, 2 or 4 devices (`XLA_FLAGS=--xla_force_host_platform_device_count`), each in
a process of its own, one after the other in every round. Each takes 20 steps of every stage of a
small plan, one stage starting from the other: hidden states and attention maps on the fly, logits
from the cache, labels. The teacher is an encoder of 4 x 128, the student one of 2 x 128, texts
(sentences of 5 to 20 subwords) and weights are random, dropout is on, a batch is 32 rows of 64 for
all, split among the devices.

The table gives the largest relative difference of a stage's 20 losses from those of one device, and
the median seconds of a step after the first, which compiles. The devices share the cores of the
machine: the seconds show what splitting a batch costs or gains there, not how steps scale.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks import harness, step_inputs, timing
from xdistil.config import Stage
from xdistil.data.batches import make_batches
from xdistil.data.packing import PackedTexts, pack
from xdistil.distill.step import init_state, train_step
from xdistil.distill.unfreezing import merge_params, split_params
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bert import Encoder
from xdistil.runtime.mesh import make_mesh, replicate, shard_batch
from xdistil.runtime.process import request_huge_pages
from xdistil.teacher.signals import arrange_signals, compute_signals, signal_names
from xdistil.teacher.storage import gather_signals

DEVICES = (1, 2, 4)
STEPS = 20
ROW_LENGTH = 64
VOCABULARY, CLASSES = 4000, 7
STUDENT = EncoderConfig("bert", VOCABULARY, 128, 128, layers=2, heads=4, intermediate_size=512)
TEACHER = replace(STUDENT, layers=4)
FOUND = "FOUND "  # starts the line with the result of a process
PLAN = (
    Stage(
        name="representation and attention",
        loss="representation+attention",
        hidden_loss="mse",
        hidden_map="last",
        attention_map="last",
        lr=5e-4,
    ),
    Stage(name="logits", loss="logits", lr=3e-4),
    Stage(name="labels", loss="labels", data="train", lr=1e-4),
)


def run_plan(batch_rows: int) -> dict[str, dict[str, list[float]]]:
    """Losses and seconds of every step of each stage, on the devices that this process has."""
    student, teacher = (Encoder(shape, "tagging", CLASSES) for shape in (STUDENT, TEACHER))
    mesh = make_mesh()
    teacher_params = replicate(mesh, teacher.init_params(jax.random.key(1)))
    params = jax.device_get(student.init_params(jax.random.key(0)))
    generator = np.random.default_rng(0)
    lengths = generator.integers(5, 21, STEPS * batch_rows * ROW_LENGTH // 12)  # enough
    subwords = step_inputs.draw_sentences(generator, lengths, VOCABULARY, CLASSES)
    rows = pack(subwords, ROW_LENGTH, 0)
    # float16 by subword, as the cache holds them; the same numbers for every count of devices.
    logits = (
        np.random.default_rng(1).normal(size=(len(subwords.tokens), CLASSES)).astype(np.float16)
    )
    found = {}
    texts = PackedTexts([], subwords, rows)
    for index, stage in enumerate(step_inputs.plan_on(texts, PLAN, student, teacher.config)):
        spec = stage.spec
        cached = {} if spec.attention else {name: logits for name in signal_names(spec)}
        trainable, frozen = replicate(mesh, split_params(params, stage.trainable))
        state = init_state(stage.step, trainable, frozen, jax.random.key(index))
        state = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
        losses, seconds = [], []
        columns = partial(gather_signals, cached, rows)
        feed = make_batches(subwords, rows, columns, batch_rows, 1.0, index, 0)
        for _ in range(STEPS):
            batch, values = next(feed)
            start = time.perf_counter()
            batch = shard_batch(mesh, batch)
            if spec.attention:
                signals = compute_signals(teacher_params, batch, model=teacher, spec=spec)
            else:
                signals = arrange_signals(spec, dict(shard_batch(mesh, values)))
            state, metrics = train_step(
                state, batch, signals, np.float32(stage.config.lr), config=stage.step
            )
            jax.block_until_ready(state.trainable)
            seconds.append(time.perf_counter() - start)
            losses.append(sum(float(tally.mean()) for tally in metrics.losses.values()))
        params = jax.device_get(merge_params(state.trainable, state.frozen))
        found[stage.name] = {"losses": losses, "seconds": seconds}
    return found


def run_on(devices: int, batch_rows: int) -> dict[str, dict[str, list[float]]]:
    """`run_plan` in a process that has this many devices."""
    print(f"{devices} devices ...", flush=True)
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-m", "benchmarks.devices", f"--on={devices}"]
    done = subprocess.run(
        [*command, f"--batch-rows={batch_rows}"],
        cwd=harness.ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,  # its messages are shown below
    )
    if done.returncode:
        raise SystemExit(f"{devices} devices failed:\n{done.stderr[-3000:]}")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith(FOUND))
    return json.loads(line.removeprefix(FOUND))


def compare_rounds(rounds: list[dict[int, Any]]) -> dict[str, Any]:
    """For each stage and count of devices: differences of losses from one device, and seconds."""
    result: dict[str, Any] = {}
    for stage in rounds[0][DEVICES[0]]:
        result[stage] = {}
        of_one = [found[DEVICES[0]][stage] for found in rounds]
        for devices in DEVICES:
            own = [found[devices][stage] for found in rounds]
            pairs = list(zip(own, of_one, strict=True))
            ratios = [np.divide(mine["losses"], one["losses"]) for mine, one in pairs]
            seconds = [[statistics.median(each["seconds"][1:]) for each in pair] for pair in pairs]
            result[stage][str(devices)] = {
                "first_loss": own[0]["losses"][0],
                "last_loss": own[0]["losses"][-1],
                "largest_relative_difference": float(np.abs(np.subtract(ratios, 1)).max()),
                "seconds": timing.summarise([mine for mine, _ in seconds]),
                "seconds_over_one_device": timing.summarise([m / one for m, one in seconds]),
            }
    return result


def main() -> None:
    """Runs every count of devices in rounds; with --on, the plan in this very process."""
    parser = harness.make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each count of devices")
    parser.add_argument("--batch-rows", type=int, default=32, help="a multiple of 4")
    parser.add_argument("--on", type=int, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.on:
        if jax.device_count() != flags.on:
            raise SystemExit(f"{jax.device_count()} devices instead of {flags.on}.")
        print(FOUND + json.dumps(run_plan(flags.batch_rows)))
        return
    rounds = [{n: run_on(n, flags.batch_rows) for n in DEVICES} for _ in range(flags.rounds)]
    stages = compare_rounds(rounds)
    harness.write_result(flags.output, flags, {"steps": STEPS, "stages": stages})
    rows = [
        (
            f"{stage}, {devices}",
            f"{told['first_loss']:.4f} to {told['last_loss']:.4f}",
            f"{told['largest_relative_difference']:.1e}",
            harness.show(told["seconds"], 1, 1000),
            harness.show(told["seconds_over_one_device"], 2),
        )
        for stage, counts in stages.items()
        for devices, told in counts.items()
    ]
    header = ("stage, devices", "loss", "differs by", "milliseconds per step", "over one device")
    harness.print_table(header, rows)


if __name__ == "__main__":
    request_huge_pages()
    main()
