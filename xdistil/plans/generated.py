"""The recipe `quickstart`, on a generated corpus."""

from xdistil.config import Baseline, Data, Experiment, Stage, Student, Teacher
from xdistil.errors import unknown_variant


def quickstart(variant: str = "") -> Experiment:
    """Entities of a synthetic corpus; nothing has to be set."""
    teacher = Stage(
        name="train",
        loss="labels",
        data="train",
        epochs=5.0,
        lr=1e-3,
        warmup=0.1,
        weight_decay=0.01,
        batch_size=16,
        keep="last",
    )
    representation = Stage(name="representation", loss="representation", epochs=1.0, lr=4e-3)
    logits = Stage(
        name="logits", loss="logits", unfreeze="gradual", epochs=4.0, unfreeze_epochs=0.5, lr=4e-3
    )
    labels = Stage(
        name="labels",
        loss="labels",
        data="train",
        unfreeze="gradual",
        epochs=4.0,
        unfreeze_epochs=2.0,
        lr=5e-4,
        label_fraction=0.1,
    )
    experiment = Experiment(
        data=Data(generate=8000),
        teacher=Teacher(
            family="modernbert",
            hidden_size=128,
            layers=4,
            heads=4,
            vocabulary_size=3500,
            plan=(teacher,),
        ),
        student=Student(embedding_size=7, hidden_size=14, dropout=0.1),
        plan=(representation, logits, labels),
        baselines=(
            Baseline(label_fraction=0.1, lrs="8e-3,1.6e-2,3.2e-2"),
            Baseline(name="labels only, all", lrs="8e-3"),
        ),
        speed_seconds=3.0,
    )
    if variant == "smoke":
        experiment.data.generate = 200
        experiment.teacher.hidden_size = experiment.student.hidden_size = 16
        experiment.teacher.layers = 2
        experiment.teacher.vocabulary_size = 1500
        experiment.student.embedding_size = 8
        for stage in (teacher, representation, logits, labels):
            stage.epochs = stage.unfreeze_epochs = 1.0
        for baseline in experiment.baselines:
            baseline.lrs, baseline.epochs = "8e-3", 1.0
        logits.unfreeze = "all"  # a sub-stage costs seconds of compilation, whatever its size
        experiment.baselines = experiment.baselines[:1]
        experiment.speed_seconds = 0.2
    elif variant:
        raise unknown_variant("quickstart", variant, ["smoke"])
    return experiment
