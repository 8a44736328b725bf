"""The tiny task and its config, which the tests of whole runs train on."""

import json
import random
from pathlib import Path
from typing import Any

from xdistil.data.examples import Task

CONFIG = """
from xdistil.config import Baseline, Experiment, Stage, Student, Teacher


def get_config(arg=""):
    teacher = Stage(name="train", loss="labels", data="train", epochs=12.0, lr=1e-2, keep="last")
    gradual = {"unfreeze": "gradual", "epochs": 1.0, "lr": 1e-2}
    experiment = Experiment(
        dtype="float32",
        plan=(
            Stage(name="representation", loss="representation", epochs=1.0, lr=1e-2),
            Stage(name="logits", loss="logits", **gradual),
            Stage(
                name="labels",
                loss="labels",
                data="train",
                label_fraction=0.5,
                gap_weight=2.0,
                sampling="doubtful",
                lr=1e-2,
            ),
        ),
        teacher=Teacher(hidden_size=8, layers=1, heads=2, vocabulary_size=150, plan=(teacher,)),
        student=Student(embedding_size=4, hidden_size=6, vocabulary="seen", train_embeddings=False),
        baselines=(Baseline(lrs="1e-2", epochs=1.0, label_fraction=0.5),),
        batch_size=16,
        eval_every=8,
        log_every=2,
        speed_seconds=0.1,
    )
    experiment.data.row_length = 32
    return experiment
"""
LABELS = ("O", "B-PER", "I-PER", "B-LOC")
TASK = Task("tagging", LABELS)
PARTS = ("representation", "logits/head", "logits/projection", "logits/bilstm", "labels")
NAMES = {"en": (["Anna", "Bob", "Carl"], ["Rome", "Oslo"]), "el": (["Άννα", "Νίκος"], ["Ρόδος"])}
FILLERS = {"en": ["and", "then", "went", "to", "see", "the"], "el": ["και", "μετά", "πήγε", "στο"]}


def write_task(folder: Path) -> Path:
    """60 train, 16 dev and 20 test sentences in two languages, 40 more without labels."""
    folder.mkdir(parents=True)
    draw = random.Random(0)

    def make(count: int, labelled: bool) -> str:
        lines = []
        for _ in range(count):
            language = draw.choice(["en", "en", "el"])
            words, tags = [], []
            for _ in range(draw.randint(2, 6)):
                people, places = NAMES[language]
                kind = draw.randint(0, 4)
                if kind == 0:
                    words += [draw.choice(people), draw.choice(people)]
                    tags += ["B-PER", "I-PER"]
                elif kind == 1:
                    words.append(draw.choice(places))
                    tags.append("B-LOC")
                else:
                    words.append(draw.choice(FILLERS[language]))
                    tags.append("O")
            text = " ".join(words)
            lines.append(f"{text}\t{language}:{' '.join(tags)}" if labelled else text)
        return "\n".join(lines) + "\n"

    for name, count in (("train", 60), ("dev", 16), ("test", 20)):
        (folder / f"{name}.tsv").write_text(make(count, True), encoding="utf-8")
    (folder / "transfer.txt").write_text(make(40, False), encoding="utf-8")
    (folder / "labels.tsv").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    return folder


def write_run(base: Path) -> tuple[Path, Path]:
    """The tiny config and its data, below a folder."""
    (base / "tiny.py").write_text(CONFIG, encoding="utf-8")
    return base / "tiny.py", write_task(base / "data")


def arguments(config: Path, data: Path, workdir: Path, *more: str) -> list[str]:
    return [f"--config={config}", f"--config.data.folder={data}", f"--workdir={workdir}", *more]


def read_json(path: Path) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in {path}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def read_lines(workdir: Path) -> list[dict[str, Any]]:
    text = (workdir / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
