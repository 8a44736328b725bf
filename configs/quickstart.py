"""A synthetic corpus, a teacher from scratch, and a student of a twelfth of its size. Offline.

python train.py --config=configs/quickstart.py --workdir=runs/quickstart

Cost: under 4 minutes on 2 CPU cores. Expected test macro-F1 over seeds 0 to 2: teacher 90 to 92,
student 95, student on labels alone 81 to 85, gazetteer baseline 29 to 33.

The corpus has eight languages in seven scripts. Most names in its test set occur nowhere else. The
teacher is a transformer of 4 layers x 128. It is trained on all labelled sentences. The student is
a BiLSTM and is trained with the plan D4.2. It sees the labels of a tenth of the sentences, like the
label-only baseline; this is the setting of table 6 of XtremeDistil. The student scores higher than
its teacher, because word order and suffixes suit a BiLSTM (with all labels it reaches 97) and there
are many unlabelled texts. A pre-trained teacher is harder to beat.

Variants (after the colon):
  smoke   the same with 200 sentences and tiny models, to check that everything runs
"""

from xdistil.plans import quickstart as get_config

__all__ = ["get_config"]
