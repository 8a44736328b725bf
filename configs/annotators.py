"""What students learn of annotators' votes, by how votes are combined and who learns them.

xdistil sweep --config=configs/annotators.py --config.data.folder=FOLDER \
    --config.teacher.labels=ANSWERS --config.teacher.model=MODEL --workdir=runs/annotators
xdistil table runs/annotators --rows=variant,teacher.votes,data.limit

FOLDER holds train.tsv, dev.tsv, test.tsv and labels.tsv with gold labels, ANSWERS are files of
answers to the texts of train (docs/annotators.md), and MODEL is an encoder. Of FOLDER's train only
the rows with gold read labels. The sweep has these rows, each with seeds 0, 1 and 2:

  variant=votes,votes=majority|share|learned   the student of the votes
  variant=encoder                              MODEL is fine-tuned on learned votes and teaches
  variant=votes-gold                           learned votes, then GOLD gold sentences
  variant=encoder-gold                         the same for MODEL and its student
  variant=gold,data.limit=GOLD                 the student of GOLD gold sentences alone, which it
                                               reads ten times as often
  variant=gold                                 the student of all gold sentences

A variant alone is one run: python train.py --config=configs/annotators.py:encoder and the same
flags. `smoke` is the sweep in seconds, with one epoch each and one seed. --sweep='seed=0' makes one
run for each row.
`python -m benchmarks.annotators` has the scores of annotators and votes themselves.

All students are BiLSTMs of 2 x 300 units with embeddings of 50, on subwords of their own, or on
those of MODEL where it teaches.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from xdistil.config import Experiment, Stage
from xdistil.errors import unknown_variant
from xdistil.plans import ner

GOLD = 200  # sentences, where gold is little
LITTLE_EPOCHS = 60.0  # on them alone
SEEDS = (0, 1, 2)
VOTES = ("majority", "share", "learned")
RECIPES = {  # variants whose runs have no baseline: the table has rows of gold alone
    "votes": "annotators",
    "votes-gold": "annotators-gold",
    "encoder": "annotators-encoder",
    "encoder-gold": "annotators-encoder-gold",
    "gold": "annotators-gold",
}
SMOKE = "smoke-"  # begins the variants of runs with one epoch


def get_config(variant: str = "") -> Experiment:
    """The experiment of a variant; without one, of the sweep."""
    name = variant.removeprefix(SMOKE) if variant.startswith(SMOKE) else variant
    name = "votes" if name in ("", "smoke") else name
    if name not in RECIPES:
        raise unknown_variant("annotators", variant, RECIPES)
    experiment = replace(ner(RECIPES[name]), baselines=())
    if name == "gold":
        votes, _ = experiment.plan
        experiment.plan = (replace(votes, name="gold", data="train"),)
    if not name.startswith("encoder"):
        experiment.speed_seconds = 0.0
    if variant.startswith("smoke"):
        experiment = shorten(experiment)
    return experiment


def shorten(experiment: Experiment) -> Experiment:
    """The same with one epoch in each stage."""

    def once(plan: tuple[Stage, ...]) -> tuple[Stage, ...]:
        return tuple(replace(each, epochs=1.0, unfreeze="all") for each in plan)

    teacher = replace(experiment.teacher, plan=once(experiment.teacher.plan))
    return replace(experiment, plan=once(experiment.plan), teacher=teacher, speed_seconds=0.0)


def sweep(variant: str = "") -> Iterator[dict[str, Any]]:
    """The runs of the table, or of the short one; none of another variant."""
    if variant not in ("", "smoke"):
        return
    none = {"teacher.model": ""}
    rows: list[dict[str, Any]] = [
        *({"variant": "votes", "teacher.votes": votes, **none} for votes in VOTES),
        {"variant": "encoder"},
        {"variant": "votes-gold", "data.limit": GOLD, **none},
        {"variant": "encoder-gold", "data.limit": GOLD},
        {"variant": "gold", "data.limit": GOLD, **none},
        {"variant": "gold", **none},
    ]
    if not variant:
        rows[-2]["plan[0].epochs"] = LITTLE_EPOCHS
    for row in rows:
        for seed in SEEDS if not variant else SEEDS[:1]:
            name = SMOKE + row["variant"] if variant else row["variant"]
            yield {**row, "variant": name, "seed": seed}
