"""Plans of the papers, and the variants of the experiments in configs/. Imports no JAX.

A plan is a tuple of `config.Stage`. Every function returns new objects, which a config may change.
"""

from dataclasses import replace

from xdistil.config import Baseline, Data, Experiment, Stage, Student
from xdistil.errors import InputError, suggest


def d42() -> tuple[Stage, ...]:
    """D4.2 of XtremeDistil (table 3): representation, then logits, then labels, the last two with
    gradual unfreezing."""
    return (
        Stage(name="representation", loss="representation", epochs=5.0, lr=2e-3, patience=5),
        Stage(
            name="logits",
            loss="logits",
            unfreeze="gradual",
            epochs=8.0,
            thaw_epochs=2.0,
            lr=2e-3,
            patience=5,
        ),
        Stage(
            name="labels",
            loss="labels",
            data="train",
            unfreeze="gradual",
            epochs=4.0,
            thaw_epochs=2.0,
            lr=5e-4,
            patience=5,
        ),
    )


def v3() -> tuple[Stage, ...]:
    """The recipe of XtremeDistilTransformers: the last L+1 hidden states and L attention maps
    together, then logits and labels, each with the head alone before everything."""
    return (
        Stage(
            name="representation",
            loss="representation+attention",
            representation="mse",
            layers="last",
            attention="last",
            epochs=2.0,
            lr=5e-4,
        ),
        Stage(name="logits", loss="logits", unfreeze="gradual", epochs=2.0, lr=3e-4),
        Stage(name="labels", loss="labels", data="train", unfreeze="gradual", epochs=2.0, lr=1e-4),
    )


def labels_only() -> tuple[Stage, ...]:
    """D0-S: the student on labels alone."""
    return (Stage(name="labels", loss="labels", data="train", epochs=10.0, lr=1e-3, patience=3),)


def without_labels(plan: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The same plan for texts without labels: no labels loss, and every stage on the transfer
    texts.

    Raises:
        InputError: no stage is left.
    """
    stages = []
    for stage in plan:
        losses = [loss for loss in stage.loss.split("+") if loss != "labels"]
        if losses:
            stages.append(replace(stage, loss="+".join(losses), data="transfer"))
    if not stages:
        raise InputError("plan learns labels alone, and there are none: name a plan with logits.")
    return tuple(stages)


def ner(variant: str = "d4.2") -> Experiment:
    """The experiment of a variant of configs/ner.py; the command line names data and teacher."""
    variants = _list_variants(Data(), bilstm_size=300)
    representation, logits, labels = d42()
    variants["large"] = Experiment(
        student=Student(embedding_size=48, hidden_size=290, vocabulary="seen"),
        plan=(
            replace(representation, data="all", epochs=1.0, patience=0),
            replace(logits, data="all", epochs=4.0, thaw_epochs=0.25, lr=4e-3, patience=0),
            replace(labels, epochs=2.0, thaw_epochs=0.5, batch_size=64, patience=0),
        ),
        baselines=(Baseline(lrs="1e-3,2e-3,4e-3", epochs=10.0, patience=0),),
        batch_size=128,
    )
    return _choose("ner", variants, variant)


def classify(variant: str = "d4.2") -> Experiment:
    """The experiment of a variant of configs/classify.py; the command line names data and
    teacher."""
    rows = Data(row_length=128)  # texts are longer than the sentences of tagging
    return _choose("classify", _list_variants(rows, bilstm_size=200), variant)


def _list_variants(data: Data, bilstm_size: int) -> dict[str, Experiment]:
    """What tagging and classification have in common: an experiment for each name."""
    bilstm = Student(embedding_size=50, hidden_size=bilstm_size, vocabulary="seen")
    transformer = Student(
        kind="transformer", hidden_size=192, layers=3, heads=12, intermediate_size=768
    )
    own_layers = Student(
        kind="transformer", keep_layers="last:2", start="pretrained", vocabulary="seen"
    )
    states, *rest = v3()
    (labels,) = labels_only()
    return {
        "d4.2": Experiment(
            data=data, student=bilstm, plan=d42(), baselines=(Baseline(),), batch_size=32
        ),
        "v3": Experiment(data=data, student=transformer, plan=v3(), batch_size=32),
        "layers": Experiment(
            data=data,
            student=own_layers,
            plan=tuple(replace(stage, lr=1e-4) for stage in v3()),
            baselines=(Baseline(lrs="5e-5,1e-4,2e-4"),),
            batch_size=32,
        ),
        "relations": Experiment(
            data=data,
            student=replace(transformer, heads=6),
            plan=(replace(states, loss="relations"), *rest),
            baselines=(Baseline(lrs="3e-4,5e-4,1e-3"),),
            batch_size=32,
        ),
        "labels": Experiment(data=data, student=bilstm, plan=labels_only(), batch_size=32),
        "continue": Experiment(
            data=data,
            student=Student(kind="checkpoint"),
            plan=(replace(labels, epochs=20.0, patience=5),),
            batch_size=16,
        ),
        "smoke": Experiment(
            data=replace(data, limit=200, transfer_limit=400),
            student=Student(embedding_size=16, hidden_size=32, vocabulary="seen"),
            plan=tuple(replace(stage, epochs=1.0, thaw_epochs=1.0) for stage in d42()),
            speed_seconds=1.0,
        ),
    }


def _choose(name: str, variants: dict[str, Experiment], variant: str) -> Experiment:
    if variant not in variants:
        raise InputError(f"{name} has no variant {variant!r}{suggest(variant, variants)}.")
    return variants[variant]
