"""A small run of tagging in two languages, whose errors are counted by hand."""

import copy

from tests.evaluation.test_report import RESULTS
from xdistil.data.examples import Example, Task
from xdistil.evaluation import metrics
from xdistil.evaluation.page.files import Predictions, RunFiles

TASK = Task("tagging", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
EVIL = "</script><script>alert(1)</script>"
# (words, gold, teacher, student, language)
TEXTS = [
    ("Anna Lee saw Rome", "B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC", "B-PER O O B-LOC", "en"),
    ("Rome is old", "B-LOC O O", "B-PER O O", "B-LOC O O", "en"),
    ("he left Oslo", "O O B-LOC", "O O B-LOC", "O O B-LOC", "en"),
    ("ذهبت آنا إلى روما", "O B-PER O B-LOC", "O B-PER O B-LOC", "O O O B-LOC", "ar"),
    (f'x{EVIL} & "q" \x07 said', "B-PER O O O O", "O O O O O", "B-PER O O O B-LOC", "ar"),
]  # fmt: skip
OUTLINE = {
    "format": 1,
    "task": "tagging",
    "stages": [
        {"plan": "teacher", "name": "train", "steps": 40},
        {"plan": "student", "name": "logits/bilstm", "steps": 100},
        {"plan": "student", "name": "labels", "steps": 50},
    ],
    "sentences": {"train": {"ar": 7, "en": 4321}, "dev": {"ar": 2, "en": 3}},
    "transfer": 9876,
}
METRICS = [
    {"plan": plan, "stage": stage, "step": step, "event": event, **numbers}
    for plan, stage, step, event, numbers in (
        ("teacher", "train", 20, "train", {"loss_labels": 1.5}),
        ("teacher", "train", 20, "evaluation", {"monitor": 0.5, "dev_macro_f1": 0.5}),
        ("student", "logits/bilstm", 50, "train", {"loss_logits": 0.5}),
        ("student", "logits/bilstm", 100, "train", {"loss_logits": 0.25}),
        ("student", "logits/bilstm", 100, "evaluation", {"monitor": 0.3}),
        ("student", "labels", 10, "train", {"loss_labels": 0.125}),
    )
]


def examples(column: int) -> list[Example]:
    return [
        Example(tuple(text[0].split(" ")), tuple(text[column].split(" ")), text[4])
        for text in TEXTS
    ]


def tagging_run() -> RunFiles:
    """A finished run whose scores are those of TEXTS."""
    results = copy.deepcopy(RESULTS)
    gold, teacher, student = map(examples, (1, 2, 3))
    for name, found in (("teacher", teacher), ("student", student)):
        results[name]["test"] = metrics.score(TASK, gold, [each.labels for each in found])
    labels = {
        name: [each.labels for each in found]
        for name, found in (("gold", gold), ("teacher", teacher), ("student", student))
    }
    return RunFiles(
        name="run",
        results=results,
        outline=OUTLINE,
        metrics=METRICS,
        predictions=Predictions("test", student, labels),
    )
