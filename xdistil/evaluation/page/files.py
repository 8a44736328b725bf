"""The files of a workdir that a page is made from."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from xdistil.data.examples import UNKNOWN_LANGUAGE, Example
from xdistil.data.label_lists import read_cell
from xdistil.evaluation.results import Results, Split, find_scores, name_other, scored_split
from xdistil.runtime.json_io import finite

_MARK = "\ufeff"


class PlannedStage(TypedDict):
    """A stage of a plan, as planned."""

    plan: str  # teacher, student or a baseline's, as in metrics.jsonl
    name: str
    steps: int  # that it may take at most


class Outline(TypedDict):
    """The content of outline.json: what a run is going to do, and on how many texts."""

    format: int  # 1
    task: str
    stages: list[PlannedStage]
    sentences: dict[str, dict[str, int]]  # by split (train, dev, test) and language
    transfer: int


@dataclass(frozen=True)
class Predictions:
    """The labels of models on the same texts, and the gold labels if there are any."""

    split: Split
    texts: list[Example]  # with the labels of the student
    labels: dict[str, list[tuple[str, ...]]]  # by model; "gold" among them


@dataclass(frozen=True)
class RunFiles:
    """A run as its workdir shows it."""

    name: str  # of the folder
    results: Results | None  # None: the run has not ended
    outline: Outline | None = None  # None: an earlier version began the run
    metrics: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)  # seconds by phase, so far
    predictions: Predictions | None = None


def read_run(workdir: Path, results: Results | None = None) -> RunFiles:
    """What the workdir holds, which may change meanwhile: what is missing or half written is left
    out.

    Args:
        results: those of a run that ends, whose results.json is not written yet.
    """
    results = json.loads(json.dumps(finite(results or _read_json(workdir / "results.json"))))
    return RunFiles(
        name=workdir.resolve().name,
        results=results,
        outline=_read_json(workdir / "outline.json"),
        metrics=_read_lines(workdir / "metrics.jsonl"),
        environment=_read_json(workdir / "environment.json") or {},
        config=_read_json(workdir / "config.json") or {},
        times=_read_json(workdir / "times.json") or {},
        predictions=results and _read_predictions(workdir / "predictions", results),
    )


def parse_predictions(text: str, kind: str, languages: Collection[str]) -> list[Example]:
    """The examples that `write_tsv` wrote.

    Args:
        kind: of the task.
        languages: those that may stand before a label.
    """
    examples = []
    for line in text.removeprefix(_MARK).split("\n")[:-1]:
        *inputs, cell = line.split("\t")
        if kind == "multilabel":
            found = read_cell(cell)
            spoken = found.language or UNKNOWN_LANGUAGE
            examples.append(Example(tuple(inputs), found.labels, spoken))
            continue
        language, colon, rest = cell.partition(":")
        if not colon or language not in languages:
            language, rest = UNKNOWN_LANGUAGE, cell
        if kind == "tagging":
            examples.append(Example(tuple(inputs[0].split(" ")), tuple(rest.split(" ")), language))
        else:
            examples.append(Example(tuple(inputs), (rest,), language))
    return examples


def _read_predictions(folder: Path, results: Results) -> Predictions | None:
    """The predictions on the split that models are compared on; None without the student's."""
    split = scored_split(results)
    scores = find_scores(results, "student", split)
    languages = scores["per_language"].keys() if scores else ()
    found: dict[str, list[Example]] = {}
    for name in ("gold", name_other(results), "student"):
        path = folder / f"{name}.{split}.tsv"
        if path.exists():
            found[name] = parse_predictions(
                path.read_text(encoding="utf-8"), results["task"], languages
            )
    texts = found.get("student")
    if not texts:
        return None
    labels = {
        name: [each.labels or () for each in examples]
        for name, examples in found.items()
        if [each.inputs for each in examples] == [each.inputs for each in texts]
    }
    return Predictions(split, texts, labels)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON lines; the last one may be half written."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = []
    for line in text.split("\n"):
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in lines if isinstance(line, dict)]
