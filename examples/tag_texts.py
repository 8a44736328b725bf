"""Finds the entities of a few texts with a student.

    python examples/tag_texts.py [MODEL]

MODEL is a model folder or a hub id; by default it is the student of the quickstart, whose corpus
has invented names.
"""

import sys

import xdistil

TEXTS = [
    "Every new doctor lied near Nelbrivi .",
    "The small doctor married Hakelnel Kelha near the letter .",
    "Bir öğretmen Yıldız Holding'den güzel Kargülde kenti'de istifa etti .",
]


def main(model: str) -> None:
    tagger = xdistil.load(model)
    if not isinstance(tagger, xdistil.Tagger):
        sys.exit(f"{model} is a classifier: use its method `classify`.")
    for tagged in tagger.tag(TEXTS):
        print(tagged.text)
        for entity in tagged.entities:
            where = f"{entity.start}-{entity.end}"
            print(f"  {entity.type}  {where:>6}  {entity.score:.2f}  {entity.text}")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["runs/quickstart/student"])
