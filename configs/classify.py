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

from xdistil.plans import classify as get_config

__all__ = ["get_config"]
