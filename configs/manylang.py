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

from xdistil.plans import manylang as get_config

__all__ = ["get_config"]
