"""Recipes for any task: `ner` and `classify`, and the variants that they share."""

from dataclasses import replace

from xdistil.config import Baseline, Data, Experiment, Student, Teacher
from xdistil.errors import unknown_variant
from xdistil.plans.named import annotators, annotators_gold, d42, labels_only, v3, without_labels


def ner(variant: str = "d4.2") -> Experiment:
    """Any named-entity task; data and teacher are set on the command line."""
    variants = _list_variants(Data(), bilstm_size=300)
    representation, logits, labels = d42()
    variants["large"] = Experiment(
        student=Student(embedding_size=48, hidden_size=290, vocabulary="seen"),
        plan=(
            replace(representation, data="all", epochs=1.0, patience=0),
            replace(logits, data="all", epochs=4.0, unfreeze_epochs=0.25, lr=4e-3, patience=0),
            replace(labels, epochs=2.0, unfreeze_epochs=0.5, batch_size=64, patience=0),
        ),
        baselines=(Baseline(lrs="1e-3,2e-3,4e-3", epochs=10.0, patience=0),),
        batch_size=128,
    )
    return _choose("ner", variants, variant)


def classify(variant: str = "d4.2") -> Experiment:
    """Any classification task; data and teacher are set on the command line."""
    rows = Data(row_length=128)  # texts are longer than sentences
    return _choose("classify", _list_variants(rows, bilstm_size=200), variant)


def _list_variants(data: Data, bilstm_size: int) -> dict[str, Experiment]:
    """The variants that tagging and classification share, by name."""
    bilstm = Student(embedding_size=50, hidden_size=bilstm_size, vocabulary="seen")
    transformer = Student(
        kind="transformer", hidden_size=192, layers=3, heads=12, intermediate_size=768
    )
    own_layers = Student(
        kind="transformer", keep_layers="last:2", start="pretrained", vocabulary="seen"
    )
    states, *rest = v3()
    (labels,) = labels_only()
    own_pieces = replace(bilstm, tokenizer_pieces=8000, vocabulary="all")
    (gold,) = Teacher().plan
    votes = replace(gold, name="votes", data="silver")
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
        "annotators": Experiment(
            data=data,
            student=own_pieces,
            plan=annotators(),
            baselines=(Baseline(),),
            batch_size=32,
        ),
        "annotators-gold": Experiment(
            data=data,
            student=own_pieces,
            plan=annotators_gold(),
            baselines=(Baseline(),),
            batch_size=32,
        ),
        "annotators-encoder": Experiment(
            data=data,
            teacher=Teacher(plan=(votes,)),
            student=bilstm,
            plan=without_labels(d42()),
            batch_size=32,
        ),
        "annotators-encoder-gold": Experiment(
            data=data,
            teacher=Teacher(plan=(votes, gold)),
            student=bilstm,
            plan=d42(),
            baselines=(Baseline(),),
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
            plan=tuple(replace(stage, epochs=1.0, unfreeze_epochs=1.0) for stage in d42()),
            speed_seconds=1.0,
        ),
    }


def _choose(name: str, variants: dict[str, Experiment], variant: str) -> Experiment:
    if variant not in variants:
        raise unknown_variant(name, variant, variants)
    return variants[variant]
