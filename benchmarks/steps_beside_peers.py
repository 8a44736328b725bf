"""How fast is a training step here, and how fast in PyTorch and in HF Flax?

    python -m benchmarks.steps_beside_peers --model=MINILM --data=wikiann5 --output=FILE.json

Two of the cases of `steps.py` run in PyTorch as well, with the modules of `transformers`, in the
same rounds and on the same sentences, on all cores, in float32 and in bfloat16:

- a BERT-base teacher and a student of 6 x 384 on the fly, all hidden states (through projections)
  and attention maps. PyTorch has length-sorted batches of as many sentences as fill 4,096 positions
  with their padding, `torch.inference_mode` for the teacher, eager attention (no other returns the
  maps), a fused AdamW; another candidate pads or cuts every sentence to 32 subwords, 128 sentences
  per batch. With --hf-flax=PYTHON, on a CPU, the latter runs in the Flax modules of transformers
  4.57 too (`peers/flax_steps.py` says how to make its environment).
- fine-tuning of the model itself: 32 sentences per batch, in PyTorch length-sorted, with either of
  its attentions, AdamW, clipped at 1.0, dropout as in the model's config.

Texts, weights and timing are as in `steps.py`, and so is our arithmetic; in bfloat16 PyTorch's
student runs with autocast, its teacher wholly in bfloat16. A further candidate of ours reads the
teacher's signals from the cache.
"""

import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness, step_inputs, timing
from benchmarks.peers import torch_models
from benchmarks.steps import (
    BATCHES,
    RATE,
    STATES_AND_MAPS,
    Setting,
    Texts,
    describe_setting,
    design_teacher,
    make_parser,
    make_setting,
    make_student,
    run_steps,
    start_finetuning,
    start_training,
)
from benchmarks.timing import Action, Counts
from xdistil.data.batches import fill_up, rows_per_batch
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.hf.folder import load_model
from xdistil.runtime.mesh import make_mesh
from xdistil.runtime.process import request_huge_pages

OURS = "xdistil"
FINETUNING_SENTENCES = 32  # per step
DTYPES = ("float32", "bfloat16")  # of PyTorch's arithmetic
# In a run step follows step; the first one after another library's turn is slower than others.
TURN_SECONDS = 2.5
FIXED_LENGTH = 32  # subwords, where every sentence is padded to one length
IGNORED = -100  # the class of a position that PyTorch's cross-entropy ignores


def make_torch_feed(
    texts: Texts, groups: list[list[int]], device: str, length: int = 0
) -> Iterator[tuple[dict[str, Any], Any, int]]:
    """Batches in PyTorch again and again: a model's arguments, its labels, and the real subwords.

    Args:
        length: subwords in every row; 0: as many as the longest of the batch.
    """
    import torch

    feed = []
    for group in groups:
        batch = step_inputs.pad_segments(texts.subwords, group, texts.tokenizer.pad, length)
        labels = np.where(batch.label_mask, batch.labels, IGNORED)
        if texts.task.kind == "classification":
            labels = labels[:, 0]
        inputs = torch_models.to_torch(batch, device)
        real = int(np.count_nonzero(batch.segment))
        feed.append((inputs, torch.from_numpy(labels).long().to(device), real))
    return itertools.cycle(feed)


def group_by_length(texts: Texts, **limits: float) -> list[list[int]]:
    """Segments of similar lengths in batches, in a shuffled order of the batches."""
    from benchmarks.peers.torch_texts import sort_into_batches

    batches = sort_into_batches(np.diff(texts.subwords.start).tolist(), **limits)
    return [batches[index] for index in np.random.default_rng(0).permutation(len(batches))]


def describe_bert(shape: EncoderConfig) -> dict[str, Any]:
    """The fields of a BertConfig."""
    return {
        "vocab_size": shape.vocabulary_size,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate_size,
        "hidden_dropout_prob": shape.dropout,
        "attention_probs_dropout_prob": shape.attention_dropout,
    }


def start_torch_steps(
    setting: Setting, parameters: list[Any], compute_loss: Any, feed: Iterator[Any], device: str
) -> Action:
    """Steps in PyTorch with a loss of a batch's arguments and labels."""
    import torch

    from benchmarks.peers.torch_recipe import make_adamw

    optimizer = make_adamw(parameters, RATE, weight_decay=0.01)

    def step() -> tuple[Counts, Any]:
        inputs, labels, real = next(feed)
        loss = compute_loss(inputs, labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return {"tokens": real}, device

    return run_steps(step, torch_models.wait_for_torch, setting.steps)


def start_torch_distillation(
    setting: Setting,
    teacher: EncoderConfig,
    student: EncoderConfig,
    groups: list[list[int]],
    device: str,
    dtype: str,
    length: int = 0,
) -> Action:
    """The step of STATES_AND_MAPS with the modules of `transformers`."""
    import torch
    import transformers

    from benchmarks.peers.torch_plan import compare_outputs

    def build(shape: EncoderConfig) -> Any:
        config = transformers.BertConfig(**describe_bert(shape))
        model: Any = transformers.BertModel(config, add_pooling_layer=False)
        model.set_attn_implementation("eager")
        return model.to(device)

    arithmetic = getattr(torch, dtype)
    large, small = build(teacher).eval().to(arithmetic), build(student).train()
    projections = torch.nn.ModuleList(
        torch.nn.Linear(student.hidden_size, teacher.hidden_size) for _ in range(student.layers + 1)
    ).to(device)
    wanted = {"output_hidden_states": True, "output_attentions": True}

    def compute_loss(inputs: dict[str, Any], _: Any) -> Any:
        with torch.inference_mode():
            target = large(**inputs, **wanted)
        with torch.autocast(device, arithmetic, enabled=dtype != "float32"):
            output = small(**inputs, **wanted)
            pairs = zip(projections, output.hidden_states, strict=True)
            states = [project(state) for project, state in pairs]
        return compare_outputs(states, output, target, inputs["attention_mask"])

    feed = make_torch_feed(setting.texts, groups, device, length)
    parameters = [*small.parameters(), *projections.parameters()]
    return start_torch_steps(setting, parameters, compute_loss, feed, device)


def start_torch_finetuning(
    setting: Setting,
    folder: Path,
    attention: str,
    groups: list[list[int]],
    device: str,
    dtype: str,
) -> Action:
    """The step of FINETUNING with the model of `transformers` that the folder holds."""
    import torch

    task = setting.texts.task
    model = torch_models.open_in_torch(folder, task.kind, attention, num_labels=len(task.labels))
    model = model.to(device).train()
    arithmetic = getattr(torch, dtype)

    def compute_loss(inputs: dict[str, Any], labels: Any) -> Any:
        with torch.autocast(device, arithmetic, enabled=dtype != "float32"):
            return model(**inputs, labels=labels).loss

    feed = make_torch_feed(setting.texts, groups, device)
    return start_torch_steps(setting, list(model.parameters()), compute_loss, feed, device)


def start_flax_distillation(
    setting: Setting,
    teacher: EncoderConfig,
    student: EncoderConfig,
    groups: list[list[int]],
    python: Path,
) -> Action:
    """The step of STATES_AND_MAPS with the Flax modules of transformers 4.57.

    Args:
        python: the interpreter of an environment that has them; `peers/flax_steps.py` runs in it.
    """
    texts, size = setting.texts, len(groups[0])
    padded = [
        step_inputs.pad_segments(texts.subwords, group, texts.tokenizer.pad, FIXED_LENGTH)
        for group in groups[:BATCHES]
        if len(group) == size
    ]
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        arrays: dict[str, Any] = {
            name: np.stack([getattr(batch, field) for batch in padded])
            for name, field in torch_models.ARGUMENTS.items()
        }
        np.savez(file, **arrays)
        file.flush()
        command = [str(python), str(harness.ROOT / "benchmarks" / "peers" / "flax_steps.py")]
        command += [f"--batches={file.name}", f"--rate={RATE}"]
        command += [f"--teacher={json.dumps(describe_bert(teacher))}"]
        command += [f"--student={json.dumps(describe_bert(student))}"]
        peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def read_answer() -> str:
            assert peer.stdout is not None  # a pipe
            answer = peer.stdout.readline()
            if not answer:
                raise SystemExit("The HF Flax process has ended; its own message is above.")
            return answer

        read_answer()  # it has read the batches

    def act() -> Counts:
        assert peer.stdin is not None  # a pipe
        peer.stdin.write("\n")
        peer.stdin.flush()
        return {"tokens": int(read_answer()), "steps": 1}

    return act


def list_distillation(setting: Setting, device: str, hf_flax: Path | None) -> dict[str, Action]:
    """Our steps and the peers', with a BERT-base teacher on the fly."""
    texts = setting.texts
    teacher = design_teacher("BERT-base", texts, setting.dtype)
    student: Any = make_student("transformer 6x384", teacher, texts, setting.dtype)
    start = partial(start_torch_distillation, setting, teacher.config, student.config)
    positions = setting.batch_rows * texts.rows.subword.shape[1]
    by_length = group_by_length(texts, positions=positions)
    shuffled = np.random.default_rng(0).permutation(len(texts.subwords.start) - 1).tolist()
    size = max(1, positions // FIXED_LENGTH)
    fixed = [shuffled[first : first + size] for first in range(0, len(shuffled), size)]
    padded = f"padded to {FIXED_LENGTH}"
    candidates = {
        OURS: start_training(setting, student, STATES_AND_MAPS, teacher, on_the_fly=True),
        f"{OURS}, from the cache": start_training(setting, student, STATES_AND_MAPS, teacher),
        **{
            f"PyTorch, sorted by length, {dtype}": start(by_length, device, dtype)
            for dtype in DTYPES
        },
        f"PyTorch, {padded}, float32": start(fixed, device, "float32", FIXED_LENGTH),
    }
    if hf_flax is not None:
        candidates[f"HF Flax, {padded}"] = start_flax_distillation(
            setting, teacher.config, student.config, fixed, hf_flax
        )
    return candidates


def list_finetuning(setting: Setting, folder: Path, device: str) -> dict[str, Action]:
    """Our steps and PyTorch's of fine-tuning the model in the folder."""
    texts = setting.texts
    loaded: Any = load_model(str(folder), task=texts.task, dtype=setting.dtype)
    rows = rows_per_batch(texts.subwords, texts.rows.subword.shape[1], FINETUNING_SENTENCES)
    ours = replace(setting, batch_rows=fill_up(rows, make_mesh().size))
    groups = group_by_length(texts, sentences=FINETUNING_SENTENCES)
    candidates = {OURS: start_finetuning(ours, loaded.model, loaded.params)}
    for attention in ("sdpa", "eager"):
        for dtype in DTYPES:
            peer = start_torch_finetuning(setting, folder, attention, groups, device, dtype)
            candidates[f"PyTorch, {attention}, {dtype}"] = peer
    return candidates


def main() -> None:
    """Runs the cases whose names contain --only."""
    parser = make_parser(__doc__)
    parser.add_argument("--hf-flax", type=Path, help="the Python of flax_steps.py's environment")
    flags = parser.parse_args()
    if flags.hf_flax and not flags.hf_flax.is_file():
        parser.error(f"--hf-flax={flags.hf_flax}: there is no such interpreter.")
    # JAX would take most of a GPU's memory at its start, and leave PyTorch too little.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    setting = make_setting(flags, flags.row_length)
    device = torch_models.start_torch()
    if flags.hf_flax and device != "cpu":
        parser.error("--hf-flax runs on a CPU only: leave it out on a GPU.")
    products = {
        timing.MATRIX_PRODUCT: timing.multiply_in_jax(setting.dtype),
        timing.TORCH_MATRIX_PRODUCT: torch_models.multiply_in_torch(setting.dtype, device),
    }

    def compare(list_candidates: Any, *args: Any) -> dict[str, Any]:
        actions = {**list_candidates(setting, *args), **products}
        turns = timing.time_rounds(actions, flags.seconds, turn_seconds=TURN_SECONDS)
        return timing.describe_comparison(turns, OURS, "tokens")

    cases = {
        "BERT-base on the fly": partial(compare, list_distillation, device, flags.hf_flax),
        "fine-tuning": partial(compare, list_finetuning, flags.model, device),
    }
    for name, case in harness.run_cases(cases, flags, describe_setting(setting)).items():
        timing.print_comparison(name, case, OURS, "tokens")


if __name__ == "__main__":
    request_huge_pages()
    main()
