"""Named entities in many languages, by a teacher that was pre-trained on them.

python train.py --config=configs/multilingual.py --config.data.folder=FOLDER \
    --config.teacher.model=MODEL --workdir=runs/multilingual

FOLDER holds train.tsv, dev.tsv, test.tsv, labels.tsv and transfer.txt. Tags have a language prefix
(`yo:B-PER I-PER O`). MODEL is a multilingual encoder, such as one of XLM-R's family. The teacher is
fine-tuned on all labels, with the subwords that the texts hold. The student is a BiLSTM with 16,000
of these subwords, chosen so that languages have the same weight. It learns by D4.2, with the
labelled texts and 100,000 texts made of them as transfer texts too. Languages are sampled at
temperature 2.

More transfer texts, a file for each language, are added to those of the folder by
--config.data.transfer=FOLDER/transfer.txt,af:NEWS/af.txt,ar:NEWS/ar.txt and so on.

With labels in a few of the languages (data.train_languages), start from the variant `english`:
texts are made in the languages with labels alone.

Expected with 7 labels and a teacher of 12 layers of 384 and 117.51M parameters: a student of 3.28M,
35.8 times fewer. Results give the teacher's parameters after its vocabulary was trimmed; with the
128,713 subwords of 69 languages these are 70.9M. Measured with twelve languages, 7,198 labelled and
9,776 unlabelled sentences, seed 0, on two CPU cores: test macro-F1 of the teacher 71.3, of the
student 61.4, of labels only 47.6; with 69 languages and 50,149 labelled sentences 77.3, 64.5 and
60.7. A student of 40,000 subwords without made texts had 65.3 there (docs/results.md).

Variants (after the colon):
  classify  texts or pairs with classes instead of tags; no texts are made. Sentiment in twelve
            African languages: accuracy of teacher 57.9, student 56.7, labels only 54.2
  english   labels in English alone, texts in all languages (zero-shot transfer)
  first3    the first three layers of the same encoder on labels alone, without a teacher
  first6    likewise the first six
  smoke     a small student, 200 labelled and 200 unlabelled sentences and one epoch per stage, to
            check the files and the model
"""

from xdistil.plans import multilingual as get_config

__all__ = ["get_config"]
