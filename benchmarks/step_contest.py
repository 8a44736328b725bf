"""How fast is a step here, and how fast in PyTorch?

    python benchmarks/step_contest.py --model=MINILM --data=wikiann5 --seconds=20 --output=FILE.json

Two of the cases of `steps.py` run in PyTorch as well, with the modules of `transformers`, in turns
with ours and on the same sentences, on all cores of the process and on one (where other work holds
a core, PyTorch's threads wait for each other, and one alone may be faster):

- a BERT-base teacher and a student of 6 x 384 on the fly, all hidden states (through side
  projections) and attention maps. PyTorch has length-sorted batches of as many sentences as fill
  4,096 positions with their padding, `torch.inference_mode` for the teacher, eager attention (no
  other gives maps out), a fused AdamW. Another contestant is the same with every sentence padded
  or cut to 32 pieces, 128 sentences a batch; and with --hf-flax=PYTHON, on a CPU, the same in the
  Flax modules of transformers 4.57 (`flax_peer.py` says how its environment is made).
- fine-tuning of the model itself: 32 sentences a batch, in PyTorch length-sorted, with either of
  its attentions, AdamW, clipped at 1.0, dropout as in the model's config.

Texts, weights, arithmetic and clock are as in `steps.py`; in bfloat16 PyTorch's student runs by
autocast, its teacher wholly. A contestant of ours takes the teacher's signals from the cache.
"""

import dataclasses
import itertools
import json
import math
import os
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import measure
import numpy as np
from measure import Action, Counts
from steps import (
    BATCHES,
    PRODUCT_SIZES,
    RATE,
    STATES_AND_MAPS,
    STUDENTS,
    Setting,
    Texts,
    describe_setting,
    design_teacher,
    make_parser,
    make_setting,
    run_steps,
    start_finetuning,
    start_training,
)

from xdistil.data import batches
from xdistil.data.subwords import Pieces
from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.models.hf.folder import load_model
from xdistil.runtime.mesh import make_mesh
from xdistil.runtime.process import ask_for_huge_pages
from xdistil.student.design import design_student

FINETUNING_SENTENCES = 32  # a step
# A run takes step after step; the first behind a turn of another library is slower than others.
TURN_SECONDS = 2.5
FIXED_LENGTH = 32  # pieces, where every sentence is padded to one length
IGNORED = -100  # the class of a position that PyTorch's cross-entropy leaves out


def sort_into_batches(
    pieces: Pieces, sentences: float = math.inf, positions: float = math.inf
) -> list[list[int]]:
    """Segments of like lengths together, then the batches shuffled.

    Args:
        sentences: segments in a batch, at most.
        positions: segments times the longest of them, at most.
    """
    lengths = np.diff(pieces.start)
    found: list[list[int]] = [[]]
    for segment in np.argsort(lengths, kind="stable").tolist():
        size = len(found[-1]) + 1
        if size > 1 and (size > sentences or size * lengths[segment] > positions):
            found.append([])
        found[-1].append(segment)
    order = np.random.default_rng(0).permutation(len(found))
    return [found[index] for index in order]


def make_torch_feed(
    texts: Texts, groups: list[list[int]], device: str, length: int = 0
) -> Iterator[tuple[dict[str, Any], Any, int]]:
    """Batches in PyTorch again and again: a model's arguments, its labels, and the real pieces.

    Args:
        length: pieces in every row; 0: as many as the longest of the batch.
    """
    import torch

    lengths = np.diff(texts.pieces.start)
    feed = []
    for group in groups:
        longest = int(lengths[group].max())
        batch, real = measure.pad_segments(
            texts.pieces, group, length or longest, texts.tokenizer.pad
        )
        inputs = {
            "input_ids": torch.from_numpy(batch.tokens).long().to(device),
            "attention_mask": torch.from_numpy(batch.segment).long().to(device),
            "token_type_ids": torch.from_numpy(batch.token_type).long().to(device),
        }
        labels = np.where(batch.label_mask, batch.labels, IGNORED)
        if texts.task.kind == "classification":
            labels = labels[:, 0]
        feed.append((inputs, torch.from_numpy(labels).long().to(device), real))
    return itertools.cycle(feed)


def make_adamw(parameters: Any) -> Any:
    """AdamW with decay on matrices only, as in our recipe; fused, its fastest kind."""
    import torch

    parameters = list(parameters)
    return torch.optim.AdamW(
        [
            {"params": [x for x in parameters if x.ndim > 1], "weight_decay": 0.01},
            {"params": [x for x in parameters if x.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=RATE,
        fused=True,
    )


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


def start_torch_distillation(
    setting: Setting,
    teacher: EncoderConfig,
    student: EncoderConfig,
    groups: list[list[int]],
    device: str,
    length: int = 0,
) -> Action:
    """The step of STATES_AND_MAPS with the modules of `transformers`."""
    import torch
    import transformers

    def build(shape: EncoderConfig) -> Any:
        config = transformers.BertConfig(**describe_bert(shape), attn_implementation="eager")
        return transformers.BertModel(config, add_pooling_layer=False).to(device)

    arithmetic = getattr(torch, setting.dtype)
    large, small = build(teacher).eval().to(arithmetic), build(student).train()
    layers = student.layers
    sides = torch.nn.ModuleList(
        torch.nn.Linear(student.hidden_size, teacher.hidden_size) for _ in range(layers + 1)
    ).to(device)
    parameters = [*small.parameters(), *sides.parameters()]
    optimizer = make_adamw(parameters)
    feed = make_torch_feed(setting.texts, groups, device, length)

    def step() -> tuple[Counts, Any]:
        inputs, _, real = next(feed)
        wanted = {"output_hidden_states": True, "output_attentions": True}
        with torch.inference_mode():
            target = large(**inputs, **wanted)
        with torch.autocast(device, arithmetic, enabled=setting.dtype != "float32"):
            output = small(**inputs, **wanted)
            mapped = [side(state) for side, state in zip(sides, output.hidden_states, strict=True)]
        mask = inputs["attention_mask"].float()
        places = mask[:, :, None]
        pairs = (mask[:, :, None] * mask[:, None, :])[:, None]
        hidden = [
            ((mine.float() - theirs.float()) * places).square().sum()
            for mine, theirs in zip(mapped, target.hidden_states[-layers - 1 :], strict=True)
        ]
        maps = [
            ((mine.float() - theirs.float()) * pairs).square().sum()
            for mine, theirs in zip(output.attentions, target.attentions[-layers:], strict=True)
        ]
        loss = torch.stack(hidden).mean() / (mask.sum() * teacher.hidden_size)
        loss = loss + torch.stack(maps).mean() / (pairs.sum() * student.heads)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return {"tokens": real}, device

    return run_steps(step, measure.wait_for_torch, setting.steps)


def start_torch_finetuning(
    setting: Setting, folder: Path, attention: str, groups: list[list[int]], device: str
) -> Action:
    """The step of FINETUNING with the model of `transformers` that the folder holds."""
    import torch
    import transformers

    kinds = {
        "tagging": transformers.AutoModelForTokenClassification,
        "classification": transformers.AutoModelForSequenceClassification,
    }
    model = kinds[setting.texts.task.kind].from_pretrained(
        folder,
        dtype=torch.float32,
        num_labels=len(setting.texts.task.labels),
        attn_implementation=attention,
    )
    model = model.to(device).train()
    optimizer = make_adamw(model.parameters())
    feed = make_torch_feed(setting.texts, groups, device)

    def step() -> tuple[Counts, Any]:
        inputs, labels, real = next(feed)
        with torch.autocast(
            device, getattr(torch, setting.dtype), enabled=setting.dtype != "float32"
        ):
            loss = model(**inputs, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return {"tokens": real}, device

    return run_steps(step, measure.wait_for_torch, setting.steps)


def start_distillation_contest(
    setting: Setting, device: str, hf_flax: Path | None
) -> dict[str, Action]:
    """Ours and the peers' steps of a BERT-base teacher on the fly."""
    texts = setting.texts
    teacher = design_teacher("BERT-base", texts, setting.dtype)
    student = design_student(
        STUDENTS["transformer 6x384"], teacher.config, texts.tokenizer, texts.task, setting.dtype
    )
    assert isinstance(student, Encoder)  # STUDENTS has it so
    start = partial(start_torch_distillation, setting, teacher.config, student.config)
    positions = setting.batch_rows * texts.rows.piece.shape[1]
    in_order = np.random.default_rng(0).permutation(len(texts.pieces.start) - 1).tolist()
    size = max(1, positions // FIXED_LENGTH)
    fixed = [in_order[first : first + size] for first in range(0, len(in_order), size)]
    by_length = sort_into_batches(texts.pieces, positions=positions)
    contestants = {
        "xdistil": start_training(setting, student, STATES_AND_MAPS, teacher, on_the_fly=True),
        "xdistil, from the cache": start_training(setting, student, STATES_AND_MAPS, teacher),
        **measure.on_threads("PyTorch, sorted by length", start(by_length, device)),
        **measure.on_threads(
            f"PyTorch, padded to {FIXED_LENGTH}", start(fixed, device, FIXED_LENGTH)
        ),
    }
    if hf_flax is not None:
        contestants[f"HF Flax, padded to {FIXED_LENGTH}"] = start_flax_distillation(
            setting, teacher.config, student.config, fixed, hf_flax
        )
    return contestants


def start_flax_distillation(
    setting: Setting,
    teacher: EncoderConfig,
    student: EncoderConfig,
    groups: list[list[int]],
    python: Path,
) -> Action:
    """The step of STATES_AND_MAPS with the Flax modules of transformers 4.57.

    Args:
        python: the interpreter of an environment that has them; `flax_peer.py` runs in it.
    """
    texts, size = setting.texts, len(groups[0])
    padded = [
        measure.pad_segments(texts.pieces, group, FIXED_LENGTH, texts.tokenizer.pad)[0]
        for group in groups[:BATCHES]
        if len(group) == size
    ]
    with tempfile.NamedTemporaryFile(suffix=".npz") as batches_of:
        np.savez(
            batches_of,
            input_ids=[batch.tokens for batch in padded],
            attention_mask=[batch.segment for batch in padded],
            token_type_ids=[batch.token_type for batch in padded],
        )
        batches_of.flush()
        command = [str(python), str(Path(__file__).with_name("flax_peer.py"))]
        command += [f"--batches={batches_of.name}", f"--rate={RATE}"]
        command += [f"--teacher={json.dumps(describe_bert(teacher))}"]
        command += [f"--student={json.dumps(describe_bert(student))}"]
        peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def ask() -> str:
            assert peer.stdout is not None  # a pipe
            answer = peer.stdout.readline()
            if not answer:
                raise SystemExit("The peer in HF Flax has ended: what it said stands above.")
            return answer

        ask()  # it has read the batches

    def act() -> Counts:
        assert peer.stdin is not None  # a pipe
        peer.stdin.write("\n")
        peer.stdin.flush()
        return {"tokens": int(ask()), "steps": 1}

    return act


def start_finetuning_contest(setting: Setting, folder: Path, device: str) -> dict[str, Action]:
    """Ours and PyTorch's steps of fine-tuning the model in the folder."""
    texts = setting.texts
    loaded = load_model(str(folder), task=texts.task, dtype=setting.dtype)
    row_length = texts.rows.piece.shape[1]
    rows = batches.fill_up(
        batches.rows_per_batch(texts.pieces, row_length, FINETUNING_SENTENCES), make_mesh().size
    )
    ours = dataclasses.replace(setting, batch_rows=rows)
    groups = sort_into_batches(texts.pieces, sentences=FINETUNING_SENTENCES)
    contestants = {"xdistil": start_finetuning(ours, loaded.model, loaded.params)}
    for attention in ("sdpa", "eager"):
        peer = start_torch_finetuning(setting, folder, attention, groups, device)
        contestants |= measure.on_threads(f"PyTorch, {attention}", peer)
    return contestants


def run_contest(
    contestants: dict[str, Action], products: dict[str, Action], seconds: float
) -> dict[str, Any]:
    """Ours, the peers and the matrix products in turns."""
    turns = measure.take_turns({**contestants, **products}, seconds, turn_seconds=TURN_SECONDS)
    described = {name: measure.describe(turns[name]) for name in turns}
    for name in contestants:
        described[name]["tokens_per_second_of_ours_over_its"] = measure.compare(
            turns["xdistil"], turns[name], "tokens"
        )
    return described


def print_contest(title: str, contest: dict[str, Any]) -> None:
    """A line a contestant."""
    rows = []
    for name, told in contest.items():
        if "tokens_per_second" in told:
            tokens = measure.show(told["tokens_per_second"])
            ratio = measure.show(told["tokens_per_second_of_ours_over_its"], 2)
            rows.append((name, tokens, ratio, ""))
        else:
            rows.append((name, "", "", measure.show(told["operations_per_second"], 1, 1e-9)))
    measure.print_table((title, "real tokens/s", "ours over it", "GFLOP/s"), rows)


def main() -> None:
    """Runs the contests whose names hold --only."""
    parser = make_parser(__doc__.split("\n")[0])
    parser.add_argument("--hf-flax", type=Path, help="the Python of flax_peer.py's environment")
    flags = parser.parse_args()
    if flags.hf_flax and not flags.hf_flax.is_file():
        parser.error(f"--hf-flax={flags.hf_flax}: there is no such interpreter.")
    # JAX would take most of a GPU's memory at its start, and leave PyTorch too little.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    setting = make_setting(flags)
    device = measure.start_torch()
    if flags.hf_flax and device != "cpu":
        parser.error("--hf-flax is a peer on a CPU alone: leave it out on a GPU.")
    contests = {
        "BERT-base on the fly": partial(start_distillation_contest, setting, device, flags.hf_flax),
        "fine-tuning": partial(start_finetuning_contest, setting, flags.model, device),
    }
    size, dtype = PRODUCT_SIZES[setting.dtype], setting.dtype
    products = {
        measure.MATRIX_PRODUCT: measure.multiply_in_jax(size, dtype),
        measure.TORCH_MATRIX_PRODUCT: measure.multiply_in_torch(size, dtype, device),
    }
    told: dict[str, dict[str, Any]] = {}
    for name, start in contests.items():
        if flags.only in name:
            print(f"{name} ...", flush=True)
            told[name] = run_contest(start(), products, flags.seconds)
            result = {**describe_setting(setting), "contests": told}
            measure.write_result(flags.output, flags, result)
    for name, contest in told.items():
        print_contest(name, contest)


if __name__ == "__main__":
    ask_for_huge_pages()
    main()
