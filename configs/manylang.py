"""Named entities in very many languages: a multilingual teacher from scratch, and its student.

python train.py --config=configs/manylang.py --config.data.folder=FOLDER --workdir=runs/manylang

FOLDER holds train.tsv, dev.tsv, test.tsv, labels.tsv and transfer.txt. Tags have a language prefix
(`yo:B-PER I-PER O`). The teacher is a transformer of 4 layers x 256. Its tokenizer is trained on
these texts, so that it knows every script; a pre-trained encoder may know only some. The student is
a BiLSTM. It learns from the teacher on labelled and unlabelled texts, then from the labels.
Languages are sampled at temperature 2: a language with a hundredth of the sentences of another one
is read a tenth as often.

Expected with 69 languages, 50,149 labelled and 51,996 unlabelled sentences: a teacher of 10.97M
parameters and a student of 1.18M. 1.4% of the Chinese words contain an unknown subword, 0.6% of the
Korean words, and fewer in all other languages. Cost and test macro-F1 with 20,000 sentences of each
kind (data.limit=20000, data.transfer_limit=20000): an hour on one CPU core of a shared machine;
teacher 39, student 46, labels only 46. A small transformer from scratch is a worse tagger than the
BiLSTM that it teaches, so here it does not help the student.

Variants (after the colon):
  smoke   the same with 1,000 labelled and 1,000 unlabelled sentences and one epoch per stage, to
          check the files
"""

from xdistil.plans import manylang as get_config

__all__ = ["get_config"]
