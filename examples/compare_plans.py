"""Runs two plans for the same teacher and student, and compares their scores.

    python examples/compare_plans.py

The data are a small generated corpus, so that nothing is downloaded; it takes about a minute on two
CPU cores. The workdirs are below runs/compare: start the script again, and the finished runs are
read instead of repeated.
"""

from pathlib import Path
from typing import Any

import xdistil
from xdistil.config import Data, Stage, Student, Teacher

WORKDIR = Path("runs/compare")

LOGITS = Stage(name="logits", loss="logits", data="all", epochs=8.0, lr=8e-3)
LABELS = Stage(  # on a tenth of the labels; the teacher has all of them
    name="labels",
    loss="labels",
    data="train",
    label_fraction=0.1,
    epochs=80.0,
    lr=8e-3,
    patience=20,
)
PLANS = {"labels": (LABELS,), "logits-labels": (LOGITS, LABELS)}  # by the name of the workdir

TRAIN = Stage(
    name="train", loss="labels", data="train", epochs=8.0, lr=2e-3, warmup=0.1, batch_size=16
)
FROM_SCRATCH = Teacher(hidden_size=64, layers=2, heads=4, vocabulary_size=2000, plan=(TRAIN,))
TRAINED = Teacher(model=str(WORKDIR / "labels" / "teacher"), finetune=False)


def main() -> None:
    scores: dict[str, Any] = {}
    for name, plan in PLANS.items():
        experiment = xdistil.Experiment(
            data=Data(generate=1500),
            teacher=TRAINED if scores else FROM_SCRATCH,  # the first run's teacher serves all
            student=Student(embedding_size=24, hidden_size=32, dropout=0.1),
            plan=plan,
            speed_seconds=0.0,
        )
        scores[name] = xdistil.run(experiment, WORKDIR / name)["student"]
    print(f"{'plan':16}{'macro-F1 dev':>14}{'macro-F1 test':>15}")
    for name, student in scores.items():
        dev, test = (100 * student[split]["macro_f1"] for split in ("dev", "test"))
        print(f"{name:16}{dev:14.2f}{test:15.2f}")


if __name__ == "__main__":
    main()
