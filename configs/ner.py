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

from xdistil.plans import ner as get_config

__all__ = ["get_config"]
