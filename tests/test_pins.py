"""File names and keys that existing workdirs and shared caches depend on.

If one of these tests fails, old workdirs cannot be resumed, or caches are recomputed silently.
"""

import ast
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import train
from tests.distill.small import (
    init_params,
    make_bilstm,
    make_encoder,
    make_plan,
    make_session,
    make_teacher,
    run_plan,
)
from tests.models import samples
from xdistil.config import Stage
from xdistil.data.packing import pack
from xdistil.data.subwords import Subwords
from xdistil.data.word_alignment import WordAlignment
from xdistil.teacher.cache import open_cache
from xdistil.teacher.signals import PlacedModel, SignalSpec, params_fingerprint

ROOT = Path(__file__).parents[1]


# --- names of cached signals ----------------------------------------------------------------------

# Two sentences, written out: the numbers of a random generator may change between versions.
TEXTS = Subwords(
    tokens=np.array([2, 5, 9, 3, 2, 7, 3], np.int32),
    token_type=np.zeros(7, np.int8),
    labels=np.array([0, 1, 2, 0, 0, 1, 0], np.int32),
    label_mask=np.array([0, 1, 1, 0, 0, 1, 0], bool),
    word=np.array([-1, 0, 1, -1, -1, 0, -1], np.int32),
    start=np.array([0, 4, 7], np.int64),
    example=np.array([0, 1], np.int32),
)
WORDS = WordAlignment(np.array([-1, 0, 1, -1, -1, 2, -1], np.int32), 3)
EVERYTHING = SignalSpec(logits=True, hidden=(0, 2), attention=(1,), vectors=(0,))
LOGITS = SignalSpec(logits=True)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> PlacedModel:
    session = make_session(tmp_path_factory.mktemp("session"))
    return replace(make_teacher().place(session), fingerprint="f" * 64)


@pytest.mark.parametrize(
    ("changes", "settings", "spec", "names"),
    [
        (
            {},
            {},
            EVERYTHING,
            "attention-2-8916b7f461675de3 hidden-0-297147758b0ebf9c hidden-2-9bbf82e18ae01126 "
            "keys-1-8a81aad200db6936 logits-a5d0c5c7e549f335 queries-1-1483770db7f0fe1b "
            "values-1-60241af584ab2441",
        ),
        ({}, {"words": WORDS}, LOGITS, "logits-469cb630df6ab6f9"),
        ({}, {"kind": "int8"}, LOGITS, "logits-532e0216be4a0746"),
        ({"remap": np.arange(20, dtype=np.int32)}, {}, LOGITS, "logits-fc486bc5ff8c5065"),
        (
            {"model": make_bilstm(), "params": init_params(make_bilstm())},
            {},
            LOGITS,
            "logits-8b4327eba187d373",
        ),
    ],
    ids=["every signal", "by word", "int8", "a vocabulary of its own", "a BiLSTM"],
)
def test_names_of_cached_signals(tmp_path, teacher, changes, settings, spec, names):
    placed, rows = replace(teacher, **changes), pack(TEXTS, 12, 0)
    open_cache(tmp_path, placed, TEXTS, rows, spec, 4, **settings)
    assert sorted(path.stem for path in tmp_path.glob("*.npy")) == names.split()


def test_fingerprint_of_parameters():
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = params_fingerprint({"layer_0": {"kernel": kernel}, "bias": np.ones(2)})
    assert found == "d2c65f5d49e3685cf0457927ed91078c9d855e2f1f3600f01a43338be83d5fd0"


def test_text_of_models_in_the_names_of_their_signals():
    """The text holds the names of classes and config fields: it must not change in any family."""
    models = {each.model_type: samples.make_encoder(each, "tagging", 3) for each in samples.CONFIGS}
    assert {
        name: hashlib.sha256(str(model).encode()).hexdigest()[:16] for name, model in models.items()
    } == {
        "bert": "81f437564cbf66c0",
        "electra": "1236fb319d810ef4",
        "xlm-roberta": "4ce7699c23fc164c",
        "deberta-v2": "db5a0797de03ab86",
        "distilbert": "4dfcc071db323726",
        "mpnet": "1eb7051ce6f2fb75",
        "modernbert": "c13a1852a117da56",
        "albert": "b4f93d0ed7148b56",
        "rembert": "132f3874649d19be",
        "gpt2": "2af3db37708ba7d0",
    }


# --- a finished workdir ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    """A finished smoke run of the quickstart, with cached signals and frozen embeddings."""
    folder = tmp_path_factory.mktemp("pins") / "run"
    flags = [
        f"--config={ROOT}/configs/quickstart.py:smoke",
        "--config.teacher.cache=always",
        "--config.student.train_embeddings=False",
        "--config.plan[2].unfreeze=all",
        f"--workdir={folder}",
    ]
    assert train.main(flags) == 0
    return folder


TOP = (
    ".lock config.json environment.json inputs.json metrics.jsonl outline.json report.html "
    "results.json results.md times.json train.log"
)
MODEL = "README.md config.json model.safetensors tokenizer.json tokenizer_config.json"
# Arrays of packed texts in the cache.
PACKED = (
    "example label_mask labels row_languages row_subword row_position row_quota row_segment start "
    "token_type tokens word"
)
FILES = {
    "": TOP,
    "cache/corpus/": "dev.tsv labels.tsv test.tsv train.tsv transfer.txt",
    "cache/signals/": ".lock hidden-2-DIGEST.crc32 hidden-2-DIGEST.npy logits-DIGEST.crc32 "
    "logits-DIGEST.npy",
    **{
        f"cache/{model}/{texts}/": " ".join(f"{name}.npy" for name in PACKED.split())
        for model, texts in (
            *(("student", texts) for texts in ("train", "dev", "test", "transfer")),
            *(("teacher", texts) for texts in ("train", "dev", "test")),
        )
    },
    "cache/tokenizer/": "tokenizer.json tokenizer_config.json",
    "checkpoints/": "baseline-0-0/STEP student/STEP teacher/STEP",
    "figures/": "course.png languages.png trade-off.png",
    "predictions/": " ".join(
        f"{name}.{split}.tsv"
        for name in ("gold", "student", "teacher")
        for split in ("dev", "test")
    ),
    "student/": MODEL,
    "teacher/": MODEL,
    "tensorboard/": "events.out.tfevents",
}


def test_files_of_a_finished_workdir(workdir):
    files = (str(path.relative_to(workdir)) for path in workdir.rglob("*") if path.is_file())
    listed = {folder + name for folder, names in FILES.items() for name in names.split()}
    assert {normalise(name) for name in files} == listed


def normalise(name: str) -> str:
    """A path without digests, steps, times and the files of Orbax."""
    name = re.sub(r"^(checkpoints/[^/]+)/\d+/.*", r"\1/STEP", name)
    name = re.sub(r"-[0-9a-f]{16}\.", "-DIGEST.", name)
    return re.sub(r"tfevents.*", "tfevents", name)


def test_order_of_the_keys_of_results(workdir):
    results = json.loads((workdir / "results.json").read_text(encoding="utf-8"))
    first = {key: each[0] if isinstance(each, list) else each for key, each in results.items()}
    model = ["labels", "parameters", "bytes", "dev", "test"]
    assert [(key, list(each) if isinstance(each, dict) else []) for key, each in first.items()] == [
        ("format", []),
        ("task", []),
        ("seed", []),
        ("gold", []),
        ("selected_on", []),
        ("teacher", model),
        ("student", model),
        ("retention", []),
        ("compression", []),
        (
            "stages",
            ["name", "groups", "steps", "limit", "best_step", "monitor", "best", "dev"],
        ),
        ("passes", []),
        ("baselines", ["name", "labels", "lr", "steps", "limit", "dev", "test"]),
        ("gazetteer", ["dev", "test"]),
        ("original", ["teacher", "student"]),
        ("timing", ["stages", "speedup", "phases", "total"]),
    ]


def find_checkpoint(plan: Path) -> Path:
    return max(plan.glob("[0-9]*"), key=lambda path: int(path.name))


def read_paths(folder: Path) -> set[str]:
    """The paths of the leaves in a tree that Orbax wrote."""
    tree = json.loads((folder / "_METADATA").read_text(encoding="utf-8"))["tree_metadata"]
    return {"/".join(ast.literal_eval(path)) for path in tree}


def test_keys_of_a_cursor(workdir):
    """Their order does not matter: the seal sorts them."""
    path = find_checkpoint(workdir / "checkpoints" / "student") / "cursor" / "metadata"
    cursor: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert " ".join(sorted(cursor)) == (
        "best best_step checksums done evaluated leg meter metrics patience_used records scores "
        "seal step total_step"
    )
    assert " ".join(cursor["records"][0]) == (
        "name groups steps limit best_step monitor best dev seconds"
    )
    assert " ".join(sorted(cursor["meter"])) == "gradient_norm losses rate seconds step steps"
    assert cursor["checksums"].keys() == {"state", "best"}
    assert len(cursor["records"]) == cursor["leg"] + 1


# The parts of a state that hold a value for each trained parameter.
TREES = ("trainable", "optimizer/1/mu", "optimizer/1/nu")


def test_trees_of_a_checkpoint(workdir):
    folder = find_checkpoint(workdir / "checkpoints" / "student")
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"state", "best", "cursor"}
    frozen = "embeddings/word_embeddings/embedding"
    trained = {
        *(
            f"{layer}/{part}"
            for layer in ("classifier", "projection")
            for part in ("kernel", "bias")
        ),
        *(f"lstm/forward/{part}" for part in ("input_kernel", "recurrent_kernel", "bias")),
        *(f"lstm/backward/{part}" for part in ("input_kernel", "recurrent_kernel", "bias")),
    }
    assert read_paths(folder / "best") == trained | {frozen}
    assert read_paths(folder / "state") == {
        "step",
        "optimizer/0",
        "optimizer/1/count",
        f"frozen/{frozen}",
        *(f"{tree}/{path}" for tree in TREES for path in trained),
    }


def test_side_projections_in_a_checkpoint(tmp_path):
    """Of a student with another width than its teacher, after a representation stage."""
    stage = Stage(name="representation", loss="representation", epochs=1.0)
    student = make_encoder(hidden_size=4)
    plan = make_plan((stage,), tmp_path, student, make_teacher(cache="never"))
    run_plan(plan, init_params(student), save=True)
    folder = find_checkpoint(tmp_path / "checkpoints" / "student")
    sides = {"side_projections/0/kernel", "side_projections/0/bias"}
    assert sides <= read_paths(folder / "best")
    assert {f"{tree}/{path}" for tree in TREES for path in sides} <= read_paths(folder / "state")
