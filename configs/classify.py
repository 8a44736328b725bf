"""Any classification task folder, single texts or pairs, teacher to student.

python train.py --config=configs/classify.py:d4.2 --config.data.folder=FOLDER \
    --config.teacher.model=MODEL --workdir=runs/classify

FOLDER holds train.tsv, dev.tsv, test.tsv, labels.tsv and transfer.txt; MODEL is an HF folder or a
hub id of a family in docs/teachers.md.

Cost and test accuracy to expect, with MiniLM (6 x 384) as the teacher and data.limit=2000, on 2
busy CPU cores: SST-2 (English) 7 minutes, teacher 84, student 81, labels only 77 (all 20,000 of its
sentences: 48 minutes on one core, 89, 86, 81); entailment in four languages 40 minutes, 45, 38, 38,
for that teacher has read English alone.

Variants (after the colon):
  d4.2       BiLSTM student: representation, logits, labels, with gradual unfreezing (the default)
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
    bilstm = Student(embedding_size=50, hidden_size=200, vocabulary="seen")
    rows = Data(row_length=128)  # texts are longer than the sentences of tagging
    if arg == "d4.2":
        return Experiment(
            data=rows, student=bilstm, plan=plan.d42(), baselines=(Baseline(),), batch_size=32
        )
    if arg == "v3":
        return Experiment(
            data=rows,
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
            data=rows,
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
            data=rows,
            student=Student(
                kind="transformer", hidden_size=192, layers=3, heads=6, intermediate_size=768
            ),
            plan=stages,
            baselines=(Baseline(lrs="3e-4,5e-4,1e-3"),),
            batch_size=32,
        )
    if arg == "labels":
        return Experiment(data=rows, student=bilstm, plan=plan.labels_only(), batch_size=32)
    if arg == "continue":
        stages = plan.labels_only()
        stages[0].epochs, stages[0].patience = 20.0, 5
        student = Student(kind="checkpoint")
        return Experiment(data=rows, student=student, plan=stages, batch_size=16)
    if arg == "smoke":
        stages = plan.d42()
        for stage in stages:
            stage.epochs = stage.thaw_epochs = 1.0
        return Experiment(
            data=Data(row_length=128, limit=200, transfer_limit=400),
            student=Student(embedding_size=16, hidden_size=32, vocabulary="seen"),
            plan=stages,
            speed_seconds=1.0,
        )
    raise InputError(
        f"configs/classify.py has no variant {arg!r}: it takes d4.2, v3, layers, relations, "
        "labels, continue or smoke."
    )
