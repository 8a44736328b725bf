"""Any named-entity task: a teacher is fine-tuned and a student is distilled from it.

python train.py --config=configs/ner.py:d4.2 --config.data.folder=FOLDER \
    --config.teacher.model=MODEL --workdir=runs/ner

FOLDER holds train.tsv, dev.tsv, test.tsv, labels.tsv and transfer.txt. MODEL is a Hugging Face
folder or hub id; docs/teachers.md lists the families.

Cost and expected test macro-F1 on WikiANN in five languages, with MiniLM (6 x 384) as the teacher:
  d4.2    under an hour on 2 CPU cores of a shared machine, with data.limit=10000 and
          data.transfer_limit=20000: teacher 67, student 67, labels only 55
  large   5 minutes on one H100: teacher 77, student 77, labels only 71

Variants (after the colon):
  d4.2       BiLSTM student: representation, logits, labels, with gradual unfreezing (the default)
  large      d4.2 for tens of thousands of sentences: labelled texts are transfer texts as well,
             batches are larger and each group of layers is unfrozen earlier
  v3         transformer student: several hidden states and attention maps, then logits, then labels
  layers     student made of the teacher's last two layers before fine-tuning; stages as in v3
  relations  transformer student with its own number of heads: relations, then logits, then labels
  annotators BiLSTM student on the votes of annotators (teacher.labels), no model is loaded
  annotators-gold           then on the gold labels of train, few or many (data.limit)
  annotators-encoder        teacher.model is fine-tuned on the votes and teaches the BiLSTM student
  annotators-encoder-gold   likewise, and teacher and student then learn the gold labels of train
  labels     BiLSTM student on labels alone
  continue   fine-tuning of student.checkpoint is continued on other labelled texts, no teacher
  smoke      d4.2 in seconds, to check the files and the model
"""

from xdistil.plans import ner as get_config

__all__ = ["get_config"]
