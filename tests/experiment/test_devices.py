"""One, two or four devices, parameters replicated or sharded: the same losses, gradients and
scores, to float32's tolerance."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PROGRAM = """
import json, sys
from pathlib import Path
import jax, jax.monitoring, numpy as np
from tests.distill.small import *
from xdistil.config import Stage
from xdistil.data.decoding import find_legal
from xdistil.distill.losses import LossConfig
from xdistil.distill.stages import train_projection
from xdistil.distill.step import StepConfig, init_state, train_step
from xdistil.distill.unfreezing import list_groups, split_params
from xdistil.models.forward import predict_rows
from xdistil.runtime.mesh import count_bytes, shard_batch, shard_params
from xdistil.teacher.signals import Signals

folder, devices, shards = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
assert jax.device_count() == devices
found = {}
compiled = []  # names of what was compiled
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **what: compiled.append(what.get("fun_name"))
    if event == "/jax/core/compile/backend_compile_duration" else None
)

# One step each on rows that hold unequal numbers of subwords, the last of them none.
batch = make_batch(4)
segment = np.where(np.arange(12)[None] < np.array([[12], [7], [3], [0]]), batch.segment, 0)
batch = batch._replace(segment=segment, label_mask=batch.label_mask & (segment > 0))
generator = np.random.default_rng(0)
draw = lambda *shape: generator.normal(size=(4, *shape)).astype(np.float32)
signals = Signals(draw(12, 3), (draw(12, 8),), (draw(2, 12, 12),))
mesh = make_mesh(shards)
place = replicate if shards == 1 else shard_params
names = ("representation", "attention", "logits", "labels")
crf = {"logits_loss": "crf", "labels_loss": "crf", "legal": find_legal(("O", "B-X", "I-X"))}
for name, model, losses, kinds in (
    ("encoder", make_encoder(layers=1), names, {}),
    ("sentences", make_bilstm(), names[2:], crf),
):
    config = LossConfig(model, tuple((n, 1.0) for n in losses), ((1, 1),), ((1, 1),), **kinds)
    config = StepConfig(config, clip=1.0)
    params = init_params(model)
    trainable, frozen = place(mesh, split_params(params, list_groups(params)[:2]))
    state = init_state(config, trainable, frozen, jax.random.key(0))
    state, metrics = train_step(
        state, shard_batch(mesh, batch), shard_batch(mesh, signals), np.float32(1e-2), config=config
    )
    found[name] = {
        "losses": {n: [float(t.sum), float(t.count)] for n, t in metrics.losses.items()},
        "gradient_norm": float(metrics.gradient_norm),
        "moments": [float(abs(np.asarray(x)).sum()) for x in jax.tree.leaves(state.optimizer)],
    }

# A whole plan; 10 sentences are four rows on any of these numbers of devices.
def evaluate(params):
    subwords = make_subwords(6, 3)
    rows = make_rows(subwords)
    predicted = predict_rows(make_bilstm(), params, subwords, rows, 4, 0, mesh)
    gold = subwords.labels[subwords.word >= 0]
    return {"macro_f1": float((predicted.argmax(axis=-1) == gold).mean()), "per_language": {}}

plan = (
    Stage(name="logits", loss="logits", epochs=2.0, lr=1e-2),
    Stage(name="labels", loss="labels", data="train", epochs=2.0, lr=1e-2, keep="last"),
)
teacher = make_teacher()
ready = make_plan(
    plan, folder, teacher=teacher, evaluate=evaluate, batch_size=10, mesh=mesh, place=place
)
# Its stages train the projection of a teacher's word embeddings of width 7.
rows = replicate(mesh, generator.normal(size=(VOCABULARY, 7)).astype(np.float32))
trainer = replace(ready.trainer, teacher_embeddings=rows)
ready = Plan(trainer, train_projection(ready.stages, 7))
placed = teacher.place(ready.trainer.session)
for tree in (placed.params, state.trainable, state.optimizer[1].mu):
    leaves = jax.tree.leaves(tree)
    assert (shards > 1) == any(not x.is_fully_replicated for x in leaves)
    assert count_bytes(tree, shards) == sum(x.addressable_shards[0].data.nbytes for x in leaves)
*_, outcome = run_plan(ready, init_params(make_bilstm()))
found["records"] = [{**record, "seconds": 0} for record in outcome.stages]
found["compilations"] = compiled.count("jit(train_step)")
found["sums"] = [float(np.abs(leaf).sum()) for leaf in jax.tree.leaves(outcome.params)]
found["cached"] = [float(np.abs(v.astype(np.float32)).sum())
                   for texts in ready.trainer.reader.stored.values() for v in texts.values()]
print("FOUND" + json.dumps(found))
"""


def run(folder: Path, devices: int, shards: int = 1) -> dict[str, Any]:
    folder.mkdir()
    flags = os.environ.get("XLA_FLAGS", "")
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(devices), str(shards)],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("FOUND"))
    lines = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    for metrics in lines:
        metrics.pop("tokens_per_second", None)
    return {**json.loads(line.removeprefix("FOUND")), "lines": lines}


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("devices") / "1", 1)


def check(found: Any, expected: Any, where: str = "") -> None:
    """Equal, numbers to a relative 1e-4."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for name in expected:
            check(found[name], expected[name], f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, value in enumerate(expected):
            check(found[i], value, f"{where}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6), where
    else:
        assert found == expected, where


@pytest.mark.parametrize(("devices", "shards"), [(2, 1), (4, 1), (4, 2)])
def test_devices_agree(tmp_path, one, devices, shards):
    """Four rows of which one is empty, split among them; then two stages with their dropout."""
    check(run(tmp_path / "run", devices, shards), one)


def test_the_step_counts_every_row_once(one):
    """What is compared above is not nothing: 5 + 4, 5 + 2 and 3 real subwords."""
    losses = one["encoder"]["losses"]
    assert losses["representation"][1] == 9 + 7 + 3
    assert losses["attention"][1] == 2 * (5**2 + 4**2 + 5**2 + 2**2 + 3**2)
    assert losses["labels"][1] == losses["logits"][1] == 7 + 5 + 2
    assert one["encoder"]["gradient_norm"] > 0.1
    assert one["sentences"]["losses"]["labels"][1] == 7 + 5 + 2
    assert [record["steps"] for record in one["records"]] == [6, 4]
    assert np.isfinite(one["sums"]).all()
    assert one["compilations"] == 4  # the two steps above, and one for each stage
