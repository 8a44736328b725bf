"""Any classification of texts or pairs, with one or any number of labels: a distilled student.

python train.py --config=configs/classify.py:d4.2 --config.data.folder=FOLDER \
    --config.teacher.model=MODEL --workdir=runs/classify

FOLDER holds train.tsv, dev.tsv, test.tsv, labels.tsv and transfer.txt. MODEL is a Hugging Face
folder or hub id; docs/teachers.md lists the families.

Cost and expected test accuracy of d4.2 with MiniLM (6 x 384) as the teacher and data.limit=2000, on
2 CPU cores of a shared machine:
  SST-2 (English)               7 minutes: teacher 84, student 82, labels only 76
  SST-2, all 20,000 sentences   48 minutes on one core: teacher 89, student 86, labels only 81
  entailment in 4 languages     40 minutes: teacher 45, student 38, labels only 38; this teacher
                                was pre-trained on English alone

Variants (after the colon):
  d4.2       BiLSTM student: representation, logits, labels, with gradual unfreezing (the default)
  v3         transformer student: several hidden states and attention maps, then logits, then labels
  layers     student made of the teacher's last two layers before fine-tuning; stages as in v3
  relations  transformer student with its own number of heads: relations, then logits, then labels
  annotators, annotators-gold, annotators-encoder, annotators-encoder-gold
             as in configs/ner.py (docs/annotators.md)
  labels     BiLSTM student on labels alone
  continue   fine-tuning of student.checkpoint is continued on other labelled texts, no teacher
  smoke      d4.2 in seconds, to check the files and the model
"""

from xdistil.plans import classify as get_config

__all__ = ["get_config"]
