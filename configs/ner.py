"""Any named-entity task folder, teacher to student.

python train.py --config=configs/ner.py:d4.2 --config.data.folder=FOLDER \
    --config.teacher.model=MODEL --workdir=runs/ner

FOLDER holds train.tsv, dev.tsv, test.tsv, labels.tsv and transfer.txt; MODEL is an HF folder or a
hub id of a family in docs/teachers.md.

Cost and test macro-F1 to expect, of WikiANN in five languages with MiniLM (6 x 384) as the teacher:
d4.2 with data.limit=10000 and data.transfer_limit=20000 takes under an hour on 2 busy CPU cores
(teacher 67, student 67, labels only 55); large takes 5 minutes on one H100 (77, 77, 71).

Variants (after the colon):
  d4.2       BiLSTM student: representation, logits, labels, with gradual unfreezing (the default)
  large      d4.2 for tens of thousands of sentences: labelled texts serve as transfer texts too,
             batches are larger and the groups thaw sooner
  v3         transformer student: several hidden states and attention maps, then logits, then labels
  layers     the teacher's own last two layers, as they were before fine-tuning; stages as in v3
  relations  transformer student with heads of its own: relations, then logits, then labels
  labels     the BiLSTM student on labels alone
  continue   the student of student.checkpoint tuned on other labelled texts, without a teacher
  smoke      d4.2 cut down to seconds, to see that files and models fit together
"""

from xdistil.config import Baseline, Data, Experiment, Student
from xdistil.distill import plan
from xdistil.errors import InputError


def get_config(arg: str = "d4.2") -> Experiment:
    """The experiment of a variant; data and teacher come from the command line."""
    bilstm = Student(embedding_size=50, hidden_size=300, vocabulary="seen")
    if arg == "d4.2":
        return Experiment(student=bilstm, plan=plan.d42(), baselines=(Baseline(),), batch_size=32)
    if arg == "large":
        representation, logits, labels = plan.d42()
        representation.data = logits.data = "all"
        representation.epochs, logits.epochs, labels.epochs = 1.0, 4.0, 2.0
        logits.thaw_epochs, labels.thaw_epochs = 0.25, 0.5
        representation.patience = logits.patience = labels.patience = 0
        logits.lr, labels.batch_size = 4e-3, 64
        return Experiment(
            student=Student(embedding_size=48, hidden_size=290, vocabulary="seen"),
            plan=(representation, logits, labels),
            baselines=(Baseline(lrs="1e-3,2e-3,4e-3", epochs=10.0, patience=0),),
            batch_size=128,
        )
    if arg == "v3":
        return Experiment(
            student=Student(
                kind="transformer", hidden_size=192, layers=3, heads=12, intermediate_size=768
            ),
            plan=plan.v3(),
            batch_size=32,
        )
    if arg == "layers":
        stages = plan.v3()
        for stage in stages:
            stage.lr = 1e-4
        return Experiment(
            student=Student(
                kind="transformer", keep_layers="last:2", start="pretrained", vocabulary="seen"
            ),
            plan=stages,
            baselines=(Baseline(lrs="5e-5,1e-4,2e-4"),),
            batch_size=32,
        )
    if arg == "relations":
        stages = plan.v3()
        stages[0].loss = "relations"
        return Experiment(
            student=Student(
                kind="transformer", hidden_size=192, layers=3, heads=6, intermediate_size=768
            ),
            plan=stages,
            baselines=(Baseline(lrs="3e-4,5e-4,1e-3"),),
            batch_size=32,
        )
    if arg == "labels":
        return Experiment(student=bilstm, plan=plan.labels_only(), batch_size=32)
    if arg == "continue":
        stages = plan.labels_only()
        stages[0].epochs, stages[0].patience = 20.0, 5
        student = Student(kind="checkpoint")
        return Experiment(student=student, plan=stages, batch_size=16)
    if arg == "smoke":
        stages = plan.d42()
        for stage in stages:
            stage.epochs = stage.thaw_epochs = 1.0
        return Experiment(
            data=Data(limit=200, transfer_limit=400),
            student=Student(embedding_size=16, hidden_size=32, vocabulary="seen"),
            plan=stages,
            speed_seconds=1.0,
        )
    raise InputError(
        f"configs/ner.py has no variant {arg!r}: it takes d4.2, large, v3, layers, relations, "
        "labels, continue or smoke."
    )
