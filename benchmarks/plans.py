"""The experiments that `whole_run.py` runs, and the names of their phases.

    python train.py --config=benchmarks/plans.py:whole --config.data.folder=FOLDER \\
        --config.teacher.model=MINILM --workdir=runs/whole

A config file of `train.py`. `peers/torch_plan.py` reads its numbers from here as well, so that both
sides have the same stages, learning rates, batches and epochs. Nothing here imports JAX.

Variants (after the colon):
  whole    the recipe of XtremeDistilTransformers (v3): a student of 3 layers x 192
  scaling  the two unlabelled stages of XtremeDistil's D4.2: a BiLSTM, a fine-tuned teacher
"""

from dataclasses import replace

from xdistil.config import Data, Experiment, Stage, Student, Teacher
from xdistil.errors import InputError

# The phases of a run outside the student's stages, as the tables name them.
START = "start and imports"
TEXTS = "texts read and tokenised"
TEACHER = "teacher fine-tuned"
SIGNALS = "teacher outputs cached"
CHECKPOINTS = "checkpoints between stages"
REST = "scores and the rest"


def get_config(arg: str = "whole") -> Experiment:
    """The experiment of a variant; the folder and the teacher come from the command line."""
    if arg == "whole":
        return _whole()
    if arg == "scaling":
        return _scaling()
    raise InputError(f"benchmarks/plans.py has no variant {arg!r}: it takes whole or scaling.")


def _whole() -> Experiment:
    """Two epochs per stage. With frozen word embeddings, gradual unfreezing has two sub-stages: the
    head, then all layers. The recipe's third, all layers again, is a stage of its own."""
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
    logits = Stage(name="logits", loss="logits", unfreeze="gradual", epochs=2.0, lr=3e-4)
    labels = replace(logits, name="labels", loss="labels", data="train", lr=1e-4, batch_size=32)
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
            logits,
            replace(logits, name="logits-again", unfreeze="all"),
            labels,
            replace(labels, name="labels-again", unfreeze="all"),
        ),
        batch_size=128,
        speed_seconds=0.0,
    )


def _scaling() -> Experiment:
    """One epoch per sub-stage. Labelled texts are few and English, so that dev and test are short
    and only the transfer set grows, which carries no language."""
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
