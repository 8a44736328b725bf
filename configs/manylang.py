"""Named entities in very many languages: a multilingual teacher from scratch, and its student.

python train.py --config=configs/manylang.py --config.data.folder=FOLDER --workdir=runs/manylang

FOLDER holds train.tsv, dev.tsv, test.tsv, labels.tsv and transfer.txt, its tags with their language
(`yo:B-PER I-PER O`). The teacher is a transformer of 4 layers x 256 whose tokenizer is trained on
these texts, so that no script is unknown to it; an encoder from elsewhere may know few of them. The
student is a BiLSTM that learns from it on the labelled and the unlabelled texts, then on the
labels. Languages are drawn at temperature 2: one with a hundredth of the sentences of another is
read a tenth as often, not a hundredth.

Of 69 languages in 50,149 labelled and 51,996 unlabelled sentences: teacher of 10.97M parameters,
student of 1.18M; 1.4% of the Chinese words hold an unknown piece, 0.6% of the Korean ones, less in
all other languages. Test macro-F1 to expect of 20,000 sentences each (data.limit=20000,
data.transfer_limit=20000; an hour on one busy CPU core): teacher 39, student 46, labels only 46. A
small transformer from scratch is a worse tagger than the BiLSTM that it teaches, and no help to it.

Variants (after the colon):
  smoke   the same on 1,000 labelled and 1,000 unlabelled sentences, an epoch a stage, to see that
          files fit together
"""

from xdistil.config import Baseline, Data, Experiment, Stage, Student, Teacher
from xdistil.errors import InputError


def get_config(arg: str = "") -> Experiment:
    """The experiment of a variant; the data come from the command line."""
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
        thaw_epochs=0.25,
        lr=4e-3,
    )
    labels = Stage(
        name="labels",
        loss="labels",
        data="train",
        unfreeze="gradual",
        epochs=2.0,
        thaw_epochs=0.5,
        lr=1e-3,
    )
    experiment = Experiment(
        data=Data(row_length=128, temperature=2.0),
        teacher=Teacher(hidden_size=256, layers=4, heads=4, vocabulary_size=30000, plan=(teacher,)),
        student=Student(embedding_size=32, hidden_size=128, vocabulary="seen"),
        plan=(representation, logits, labels),
        baselines=(Baseline(lrs="4e-3", epochs=6.0, patience=0),),
    )
    if arg == "smoke":
        experiment.data.limit = experiment.data.transfer_limit = 1000
        for stage in (teacher, representation, logits, labels):
            stage.epochs = stage.thaw_epochs = 1.0
        logits.unfreeze = labels.unfreeze = "all"
        experiment.baselines[0].epochs = 1.0
        experiment.speed_seconds = 1.0
    elif arg:
        raise InputError(f"configs/manylang.py has no variant {arg!r}: it takes none, or smoke.")
    return experiment
