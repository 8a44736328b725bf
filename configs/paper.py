"""The plans and tables of the XtremeDistil paper (ACL 2020), on any named-entity task.

python train.py --config=configs/paper.py:d2 --config.data.folder=FOLDER \
    --config.teacher.model=MODEL --workdir=runs/d2
xdistil sweep --config=configs/paper.py:table3 --config.data.folder=FOLDER \
    --config.teacher.model=MODEL --workdir=runs/table3

The first command runs one plan, the second all runs of a table with seeds 0, 1 and 2. Data, teacher
and student are those of configs/ner.py. `--sweep='seed=0'` makes one run for each row, and other
fields are set as in any config. docs/sweeps.md has the runs of each table and the command that
prints it.

Cost and expected test macro-F1 of D4.2 are those of configs/ner.py: under an hour on 2 CPU cores
with data.limit=10000 and data.transfer_limit=20000, and 67, like its teacher. A sweep fine-tunes a
teacher once for each seed.

Variants (after the colon):
  d0, d0-s, d1, d2, d3.1, d3.2, d4.1, d4.2   the strategies of table 3, with a BiLSTM student
  v3, tinybert, pkd, minilmv2                plans of later and other papers, with a transformer
  table3     strategies; D0 has a model for each of LANGUAGES
  table4     D4.2, for the score on dev after each stage
  table6     100 labelled sentences of each language, 30 epochs of them for the teacher
  table7     what the student's word embeddings start from
  table8     which of the teacher's layers the student learns from
  table16    sizes of the student
  transfer   sizes of the transfer set, with D1, D2, D3.2 and D4.2
  others     the plans of later and other papers
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from xdistil.config import Experiment
from xdistil.errors import unknown_variant
from xdistil.plans import PLANS, ner

LANGUAGES = ("de", "en", "fr", "nl", "pt")  # of the data; D0 trains a model for each
LAYERS = (1, 2, 3, 4, 5, 6)  # of the teacher
VECTORS = ""  # a text file of GloVe, fastText or MUSE of width 50, for table 7; empty: none
SEEDS = (0, 1, 2)

STRATEGIES = ("d0", "d0-s", "d1", "d2", "d3.1", "d3.2", "d4.1", "d4.2")
TRANSFORMERS = ("v3", "tinybert", "pkd", "minilmv2")
TABLES = ("table3", "table4", "table6", "table7", "table8", "table16", "transfer", "others")


def get_config(variant: str = "d4.2") -> Experiment:
    """A plan by its name, or what the runs of a table have in common."""
    if variant not in (*PLANS, *TABLES):
        raise unknown_variant("paper", variant, (*PLANS, *TABLES))
    if variant in TRANSFORMERS or variant == "others":
        plan = PLANS["v3" if variant == "others" else variant]()
        return replace(ner("v3"), plan=plan)
    experiment = replace(ner("d4.2"), plan=PLANS[variant if variant in PLANS else "d4.2"]())
    if variant == "table6":
        experiment.data.limit = 100 * len(LANGUAGES)
        (finetune,) = experiment.teacher.plan
        experiment.teacher.plan = (replace(finetune, epochs=30.0),)  # of few sentences
    else:
        experiment.baselines = ()  # the row D0-S
    return experiment


def sweep(variant: str, experiment: Experiment) -> Iterator[dict[str, Any]]:
    """The runs of a table; none of a plan."""
    rows: Iterable[dict[str, Any]] = (
        _list_strategies(experiment) if variant == "table3" else ROWS.get(variant, list)()
    )
    for row in rows:
        for seed in SEEDS:
            yield {**row, "seed": seed}


def _list_strategies(experiment: Experiment) -> Iterator[dict[str, Any]]:
    share = {"data.limit": experiment.data.limit // len(LANGUAGES)} if experiment.data.limit else {}
    for language in LANGUAGES:  # without a teacher of its own, which labels alone do not need
        yield {"plan": "d0", "data.languages": language, **share, "teacher.finetune": False}
    yield from ({"plan": name} for name in STRATEGIES[1:])


def _list_embeddings() -> Iterator[dict[str, Any]]:
    yield {"student.embeddings": "svd", "student.start": "finetuned"}
    yield {"student.embeddings": "svd", "student.start": "pretrained"}
    if VECTORS:
        yield {"student.embeddings": "vectors", "student.vectors": VECTORS}
    yield {"student.embeddings": "random"}


ROWS = {
    "table4": lambda: ({"plan": name} for name in ("d4.2",)),
    "table6": lambda: ({"plan": name} for name in ("d4.2",)),
    "table7": _list_embeddings,
    "table8": lambda: ({"plan[0].hidden_map": layer} for layer in LAYERS),
    "table16": lambda: (
        {"student.embedding_size": embedding, "student.hidden_size": hidden}
        for embedding in (300, 200, 100, 50)
        for hidden in (600, 400, 200, 100)
    ),
    "transfer": lambda: (
        {"plan": name, "data.transfer_limit": limit}
        for name in ("d1", "d2", "d3.2", "d4.2")
        for limit in (2500, 5000, 10000, 20000)
    ),
    "others": lambda: ({"plan": name} for name in TRANSFORMERS),
}
