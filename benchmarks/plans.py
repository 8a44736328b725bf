"""Which experiments do `whole_plan.py` and `scaling.py` run?

    python train.py --config=benchmarks/plans.py:whole --config.data.folder=FOLDER \\
        --config.teacher.model=MINILM --workdir=runs/whole

A config file of `train.py`; `torch_plan.py` reads its numbers from here as well, so that both sides
have the same stages, rates, batches and epochs. Nothing is counted here.

Variants (after the colon):
  whole    the recipe of XtremeDistilTransformers (v3): a student of 3 x 192
  scaling  the two unlabelled stages of XtremeDistil's D4.2: a BiLSTM, a fine-tuned teacher
"""

from xdistil.config import Data, Experiment, Stage, Student, Teacher
from xdistil.errors import InputError


def get_config(arg: str = "whole") -> Experiment:
    """The experiment of a variant; folder and teacher come from the command line."""
    if arg == "whole":
        return _whole()
    if arg == "scaling":
        return _scaling()
    raise InputError(f"benchmarks/plans.py has no variant {arg!r}: it takes whole or scaling.")


def _whole() -> Experiment:
    """Two epochs a stage. With frozen word embeddings, gradual unfreezing has two sub-stages, the
    head and everything; the recipe's third, everything once more, is a stage of its own."""
    finetune = Stage(
        name="finetune",
        loss="labels",
        data="train",
        epochs=2.0,
        lr=5e-5,
        schedule="linear",
        warmup=0.1,
        weight_decay=0.01,
        batch_size=32,
        keep="last",
    )
    representation = Stage(
        name="representation",
        loss="representation+attention",
        hidden_loss="mse",
        hidden_map="last",
        attention_map="last",
        epochs=2.0,
        lr=5e-4,
    )
    logits = {"loss": "logits", "epochs": 2.0, "lr": 3e-4}
    labels = {"loss": "labels", "data": "train", "epochs": 2.0, "lr": 1e-4, "batch_size": 32}
    return Experiment(
        teacher=Teacher(plan=(finetune,)),
        student=Student(
            kind="transformer",
            hidden_size=192,
            layers=3,
            heads=12,
            intermediate_size=3072,
            train_embeddings=False,
        ),
        plan=(
            representation,
            Stage(name="logits", unfreeze="gradual", **logits),
            Stage(name="logits-again", **logits),
            Stage(name="labels", unfreeze="gradual", **labels),
            Stage(name="labels-again", **labels),
        ),
        batch_size=128,
        speed_seconds=0.0,
    )


def _scaling() -> Experiment:
    """One epoch a sub-stage. Labelled texts are few and English, so that dev and test are short and
    what grows is the transfer set, which carries no language."""
    return Experiment(
        data=Data(languages="en", limit=2000),
        teacher=Teacher(finetune=False, cache="always"),
        student=Student(embedding_size=50, hidden_size=200, vocabulary="seen"),
        plan=(
            Stage(name="representation", loss="representation", epochs=1.0, lr=2e-3),
            Stage(name="logits", loss="logits", unfreeze="gradual", epochs=1.0, lr=2e-3),
        ),
        batch_size=32,
        speed_seconds=0.0,
    )
