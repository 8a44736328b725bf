"""A teacher of 3.5 billion parameters is planned from shapes alone, and refused where it is too
large for the devices."""

import json
import math
import os
import resource
import struct
from pathlib import Path

import pytest

from tests.deploy.folders import train_tokenizer
from xdistil.config import Experiment, Stage, Student, Teacher
from xdistil.data.tokenizer import save_tokenizer
from xdistil.errors import InputError
from xdistil.experiment import dry_run, memory
from xdistil.experiment.build import Run, build

# The sizes of XLM-R XL.
ROWS, WIDTH, LAYERS, WIDE, POSITIONS = 250_880, 2560, 36, 10_240, 514
BLOCK = 4 * (WIDTH * WIDTH + WIDTH) + 2 * WIDTH * WIDE + WIDE + WIDTH + 4 * WIDTH
BELOW = (POSITIONS + 1 + 2) * WIDTH
CLASSES = 3
HEAD = WIDTH * CLASSES + CLASSES
TRAINED = LAYERS * BLOCK + BELOW + HEAD  # without word embeddings, of which a few train


def list_tensors() -> dict[str, tuple[int, ...]]:
    """Names and shapes as in the folder of PyTorch."""
    square, norm = (WIDTH, WIDTH), (WIDTH,)
    tensors = {
        "embeddings.word_embeddings.weight": (ROWS, WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (1, WIDTH),
        "embeddings.LayerNorm.weight": norm,
        "embeddings.LayerNorm.bias": norm,
    }
    for i in range(LAYERS):
        for name, shape in (
            *((f"attention.self.{part}", square) for part in ("query", "key", "value")),
            ("attention.output.dense", square),
            ("intermediate.dense", (WIDE, WIDTH)),
            ("output.dense", (WIDTH, WIDE)),
        ):
            tensors[f"encoder.layer.{i}.{name}.weight"] = shape
            tensors[f"encoder.layer.{i}.{name}.bias"] = shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            tensors[f"encoder.layer.{i}.{name}.weight"] = norm
            tensors[f"encoder.layer.{i}.{name}.bias"] = norm
    return tensors


def write_large_model(folder: Path) -> None:
    """A model folder whose 14 GB are a hole in a file, which takes no disk."""
    header, end = {}, 0
    for name, shape in list_tensors().items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    tokenizer = train_tokenizer(folder / "tokenizer")
    save_tokenizer(tokenizer, folder)
    config = {
        "model_type": "xlm-roberta",
        "vocab_size": ROWS,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 32,
        "intermediate_size": WIDE,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 1,
        "pad_token_id": tokenizer.pad,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Experiment:
    folder = tmp_path_factory.mktemp("large")
    for name in ("train", "dev", "test"):
        (folder / f"{name}.tsv").write_text("Anna went\tB-PER O\nBob Lee slept\tB-PER I-PER O\n")
    (folder / "transfer.txt").write_text("Clara stayed in Berlin\n" * 4)
    write_large_model(folder)
    made = Experiment(
        teacher=Teacher(
            model=str(folder), plan=(Stage(name="train", loss="labels", data="train"),)
        ),
        student=Student(embedding_size=8, hidden_size=6, vocabulary="seen"),
        plan=(Stage(name="logits", loss="logits", epochs=1.0),),
        baselines=(),
        dtype="float32",
    )
    made.data.folder, made.data.row_length = str(folder), 32
    made.mesh.teacher_shards = 8
    return made


@pytest.fixture(scope="module")
def run(experiment, tmp_path_factory) -> Run:
    return build(experiment, tmp_path_factory.mktemp("cache"), weights=False)


def test_the_plan_of_a_large_teacher_tells_its_memory_and_takes_none(experiment):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = " ".join(dry_run.describe(experiment).split())
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert taken < 500_000  # kB, of a model of 14 GB
    assert f"{ROWS * WIDTH + TRAINED:,} parameters" in told
    part = 4 * TRAINED / 8 / 1e9
    for words in (
        f"parameters {part:.1f} GB, gradients {part:.1f} GB, AdamW's moments {2 * part:.1f} GB",
        f"without activations: {4 * part:.1f} GB",
        "on each of the 8 devices that share it",
        "it fits on 4 of 16 GB or 2 of 40 GB or 1 of 80 GB",
    ):
        assert words in told


def test_the_type_of_the_arithmetic_adds_copies_of_the_parameters(run):
    shapes = memory.find_shapes(run)
    assert shapes is not None
    small = memory.TeacherShapes(shapes.parameters, (), 2).count_bytes(1)
    assert small.copies == small.parameters // 2
    assert small.parameters == pytest.approx(4 * TRAINED, rel=1e-3)
    assert small.gradients == small.moments == 0
    assert str(small) == "parameters 11.3 GB, copies for the arithmetic 5.7 GB"


def test_a_teacher_that_does_not_fit_is_refused_before_it_is_placed(run, monkeypatch):
    """45.3 GB, an eighth on each device."""
    monkeypatch.setattr(memory, "read_device_memory", lambda: 5.7e9)
    memory.check_memory(run)
    monkeypatch.setattr(memory, "read_device_memory", lambda: 5e9)
    with pytest.raises(
        InputError, match=r"5\.7 GB of each device .* has 5\.0 GB: share it among 16"
    ):
        memory.check_memory(run)


def test_the_memory_of_a_cpu_is_the_machines():
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory.read_device_memory() == machine
