"""Recipes for many languages: `manylang`, whose teacher starts from scratch, and `multilingual`,
whose teacher is a pre-trained encoder."""

from dataclasses import replace

from xdistil.config import Baseline, Data, Experiment, Stage, Student, Teacher
from xdistil.errors import unknown_variant
from xdistil.plans.named import d42


def manylang(variant: str = "") -> Experiment:
    """Entities in very many languages; the data are set on the command line."""
    teacher = Stage(
        name="train",
        loss="labels",
        data="train",
        epochs=4.0,
        lr=7e-4,
        warmup=0.05,
        weight_decay=0.01,
        batch_size=64,
        keep="last",
    )
    representation = Stage(
        name="representation", loss="representation", data="all", epochs=1.0, lr=4e-3
    )
    logits = Stage(
        name="logits",
        loss="logits",
        data="all",
        unfreeze="gradual",
        epochs=2.0,
        unfreeze_epochs=0.25,
        lr=4e-3,
    )
    labels = Stage(
        name="labels",
        loss="labels",
        data="train",
        unfreeze="gradual",
        epochs=2.0,
        unfreeze_epochs=0.5,
        lr=1e-3,
    )
    experiment = Experiment(
        data=Data(row_length=128, temperature=2.0),
        teacher=Teacher(hidden_size=256, layers=4, heads=4, vocabulary_size=30000, plan=(teacher,)),
        student=Student(embedding_size=32, hidden_size=128, vocabulary="seen"),
        plan=(representation, logits, labels),
        baselines=(Baseline(lrs="4e-3", epochs=6.0, patience=0),),
    )
    if variant == "smoke":
        experiment.data.limit = experiment.data.transfer_limit = 1000
        for stage in (teacher, representation, logits, labels):
            stage.epochs = stage.unfreeze_epochs = 1.0
        logits.unfreeze = labels.unfreeze = "all"
        experiment.baselines[0].epochs = 1.0
        experiment.speed_seconds = 1.0
    elif variant:
        raise unknown_variant("manylang", variant, ["smoke"])
    return experiment


def multilingual(variant: str = "") -> Experiment:
    """Entities in many languages with a teacher that was pre-trained on them; data and teacher are
    set on the command line."""
    finetune = Stage(
        name="finetune",
        loss="labels",
        data="train",
        epochs=3.0,
        lr=1e-4,
        schedule="linear",
        warmup=0.1,
        weight_decay=0.01,
        batch_size=32,
        keep="last",
    )
    representation, logits, labels = d42()
    experiment = Experiment(
        data=Data(row_length=128, temperature=2.0, swapped=25000, spliced=25000, replaced=50000),
        teacher=Teacher(vocabulary="seen", subwords="own", plan=(finetune,)),
        student=Student(
            embedding_size=64,
            hidden_size=390,
            vocabulary="seen",
            vocabulary_size=25000,
            train_embedding_projection=True,
            project_states=True,
        ),
        plan=(
            replace(representation, data="all", epochs=0.5, patience=0),
            replace(logits, data="all", epochs=4.0, unfreeze_epochs=0.1, lr=4e-3, patience=0),
            replace(
                labels,
                labels_loss="crf",
                epochs=4.0,
                unfreeze_epochs=1.0,
                lr=1e-3,
                batch_size=64,
                patience=0,
            ),
        ),
        baselines=(Baseline(lrs="1e-3,2e-3,4e-3", epochs=10.0, patience=0),),
        batch_size=128,
    )
    unmade = replace(experiment.data, swapped=0, spliced=0, replaced=0)
    if variant == "smoke":
        experiment.data.limit = experiment.data.transfer_limit = 200
        experiment.data.swapped = experiment.data.spliced = experiment.data.replaced = 50
        experiment.student.embedding_size, experiment.student.hidden_size = 16, 32
        experiment.student.vocabulary_size = 0
        experiment.plan = tuple(replace(stage, unfreeze="all") for stage in experiment.plan)
        for stage in (finetune, *experiment.plan):
            stage.epochs, stage.unfreeze_epochs = 1.0, 0.0
        experiment.baselines, experiment.speed_seconds = (), 1.0
    elif variant == "large":
        experiment.data.swapped = experiment.data.spliced = 100000
        experiment.data.replaced = 200000
        experiment.plan[0].epochs = 0.25
        experiment.plan[1].epochs, experiment.plan[1].unfreeze_epochs = 6.0, 0.05
    elif variant == "english":
        # Mentions are known in English alone, and texts with others would all be English.
        experiment.data = replace(experiment.data, train_languages="en", swapped=0)
        # A thousand sentences are few steps for an epoch.
        finetune.epochs, experiment.baselines[0].epochs = 10.0, 50.0
        experiment.plan[1].logits_loss = "crf"
    elif variant == "classify":
        # Two of the three kinds of made texts are made of tags.
        experiment.data = unmade
        experiment.plan[0].epochs = 1.0
        experiment.plan[1].epochs, experiment.plan[1].unfreeze_epochs = 12.0, 0.25
        # What was measured.
        experiment.teacher.subwords = "student"
        experiment.plan[2].labels_loss = "ce"
        student = experiment.student
        student.train_embedding_projection = student.project_states = False
        student.embedding_size, student.hidden_size = 100, 370
        student.vocabulary_size = 16000
    elif layers := {"first3": "0,1,2", "first6": "0,1,2,3,4,5"}.get(variant):
        experiment.data, experiment.teacher.finetune = unmade, False
        experiment.student = Student(
            kind="transformer", keep_layers=layers, start="pretrained", vocabulary="seen"
        )
        experiment.student.dropout = 0.1
        experiment.plan = (replace(finetune, epochs=4.0, keep="best"),)
        experiment.baselines = ()
    elif variant:
        known = ("classify", "english", "first3", "first6", "large", "smoke")
        raise unknown_variant("multilingual", variant, known)
    return experiment
