"""Named entities in many languages, by a teacher that was pre-trained on them.

python train.py --config=configs/multilingual.py --config.data.folder=FOLDER \
    --config.teacher.model=MODEL --workdir=runs/multilingual

FOLDER holds train.tsv, dev.tsv, test.tsv, labels.tsv and transfer.txt. Tags have a language prefix
(`yo:B-PER I-PER O`). MODEL is a multilingual encoder, such as one of XLM-R's family. The teacher is
fine-tuned on all labels, with the subwords that the texts hold. The student is a BiLSTM with 25,000
of these subwords, chosen so that languages have the same weight, whose embeddings are a projection
of the teacher's that is trained, and of its states of isolated subwords
(student.train_embedding_projection and student.project_states). It learns by D4.2, with the
labelled texts and 100,000 texts made of them as transfer texts too; its teacher reads its own
subwords, and the labels are learned by sentence. Languages are sampled at temperature 2.

More transfer texts, a file for each language, are added to those of the folder by
--config.data.transfer=FOLDER/transfer.txt,af:NEWS/af.txt,ar:NEWS/ar.txt and so on.

With labels in a few of the languages (data.train_languages), start from the variant `english`. The
training texts of the other languages are used without their labels, and texts are made of them.
Where train.tsv has no other languages, set --config.data.spliced=0 --config.data.replaced=0
--config.plan[1].epochs=12: texts made of the labelled ones would outnumber all others.

Expected with 7 labels and a teacher of 12 layers of 384 and 117.51M parameters: a student of 3.32M,
35.4 times fewer. Results give the teacher's parameters after its vocabulary was trimmed; with the
128,713 subwords of 69 languages these are 70.9M. Measured with 69 languages, 50,149 labelled and
51,996 unlabelled sentences, seed 0, before the projection was trained: test macro-F1 of the teacher
78.8, of the student 72.6, of labels only 68.4. In 13 languages the trained projection gains 1.8
points, and the student keeps 95.5% of its teacher (docs/many_languages.md).

Variants (after the colon):
  classify  texts or pairs with classes instead of tags; no texts are made, and the student has
            16,000 subwords. Sentiment in twelve African languages: accuracy of teacher 57.9,
            student 56.7, labels only 54.2
  english   labels in English alone, texts in all languages (zero-shot transfer): the teacher is
            fine-tuned for ten epochs, no mentions are swapped, and logits are learned by sentence
            too. Macro-F1 in 68 other languages of teacher 43.4, student 43.2, before the projection
            was trained
  first3    the first three layers of the same encoder on labels alone, without a teacher
  first6    likewise the first six
  large     400,000 made texts, read six times, for a GPU
  smoke     a small student, 200 labelled and 200 unlabelled sentences and one epoch per stage, to
            check the files and the model
"""

from xdistil.plans import multilingual as get_config

__all__ = ["get_config"]
