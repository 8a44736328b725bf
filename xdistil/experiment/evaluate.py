"""What a run's models score, weigh and take: predictions, scores, sizes and speed."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any, cast

import numpy as np

from xdistil.data.examples import Example, write_tsv
from xdistil.data.word_alignment import name_classes
from xdistil.distill.recipes import PlannedStage
from xdistil.evaluation import metrics
from xdistil.evaluation.gazetteer import tag_with_names
from xdistil.evaluation.results import HELD_OUT, Results
from xdistil.evaluation.speed import Runner, measure_speed
from xdistil.experiment.answers import answer, with_labels
from xdistil.experiment.build import Texts
from xdistil.experiment.setting import Setting
from xdistil.models.hf.folder import Loaded, load_model
from xdistil.models.hf.hub import find_folder
from xdistil.models.types import count_parameters
from xdistil.runtime.mesh import replicate, shard_params
from xdistil.teacher.signal_file import SignalFolder

log = logging.getLogger("xdistil")

_TOGETHER = 256  # texts that are answered between two looks for a signal to stop


def warn_if_below_floor(setting: Setting, dev: dict[str, Any]) -> None:
    """Says so when a teacher's scores on dev are no better than answers without a model."""
    corpus, name = setting.prepared.corpus, setting.main_score
    if corpus.task.kind == "tagging":
        floor = tag_with_names(corpus.train, corpus.dev)
        what = "looking up the names of train"
    else:
        ((commonest, _),) = Counter(example.labels for example in corpus.train).most_common(1)
        floor = [commonest or ()] * len(corpus.dev)
        what = "always answering the commonest class of train"
    least = metrics.score(corpus.task, corpus.dev, floor)[name] or 0.0
    if (dev[name] or 0.0) <= least:
        log.warning(
            "The teacher is no help: its %s on dev is %.4f, that of %s %.4f. Is it fine-tuned "
            "(teacher.finetune), long enough (teacher.plan), and with its own tokenizer?",
            name,
            dev[name] or 0.0,
            what,
            least,
        )


def score(
    setting: Setting, stages: list[dict[str, Any]], baselines: list[dict[str, Any]]
) -> Results:
    """Predictions, scores, sizes and speed: the content of results.json.

    The folders teacher/ and student/ are loaded anew, so that what is scored is what is handed on.
    The test set is read here for the first time. In a run without labels the student's answers are
    compared with the teacher's besides, and gold files are scored where there are any. In a run
    without a teacher the student's row stands beside that of the folder it began as.
    """
    log.info("predicting and scoring")
    prepared, corpus = setting.prepared, setting.prepared.corpus
    task, gold = corpus.task, corpus.gold
    dtype = setting.experiment.dtype
    models = {
        name: load_model(str(setting.workdir / name), "main", task, dtype)
        for name in ("teacher", "student")
        if name == "student" or prepared.teacher is not None
    }
    results: dict[str, Any] = {
        "format": 1,
        "task": task.kind,
        "seed": setting.experiment.seed,
        "gold": gold,
        "selected_on": "dev" if gold else "agreement",
    }
    if prepared.signals is not None:
        results["teacher"] = _score_signals(setting, prepared.signals)
    elif prepared.teacher is None:
        results["before"] = _score_before(setting)
    splits = {"dev": "dev" if gold else "gold_dev", "test": "test"}
    answered = splits if gold else {**splits, HELD_OUT: "dev"}
    answers: dict[str, dict[str, list[tuple[str, ...]]]] = {}
    for name, loaded in models.items():
        texts, stages_of = prepared.student_texts, prepared.student_stages
        if name == "teacher":
            texts, stages_of = prepared.teacher_texts, prepared.teacher_stages
        results[name] = {
            "labels": _count_labelled(setting, stages_of),
            "parameters": count_parameters(loaded.params),
            "bytes": measure_bytes(setting.workdir / name),
        }
        here = {split: texts[key] for split, key in answered.items() if key in texts}
        answers[name] = _answer_splits(setting, name, loaded, here)
        for split in splits:
            results[name][split] = here.get(split) and metrics.score(
                task, here[split].examples, answers[name][split]
            )
    if not gold:
        agreement: dict[str, Any] = dict.fromkeys(answered)
        for split, given in answers["student"].items():
            examples = prepared.student_texts[answered[split]].examples
            expected = with_labels(examples, answers["teacher"][split])
            agreement[split] = metrics.score(task, expected, given)
        results["student"]["agreement"] = agreement
    ready = results.get("teacher", {}).get("dev") if not prepared.teacher_stages else None
    if gold and ready is not None:
        warn_if_below_floor(setting, ready)
    for baseline in baselines:
        params = replicate(setting.mesh, baseline.pop("params"))
        baseline["test"] = None
        if "test" in prepared.student_texts:
            test = prepared.student_texts["test"]
            predicted = answer(setting, prepared.student, params, test)
            baseline["test"] = metrics.score(task, test.examples, predicted)
    gazetteer = None
    if gold and task.kind == "tagging":
        gazetteer = {
            split: examples
            and metrics.score(task, examples, tag_with_names(corpus.train, examples))
            for split, examples in (("dev", corpus.dev), ("test", corpus.test))
        }
    speedup, compression = None, None
    if "teacher" in models:
        log.info("measuring the speed of teacher and student")
        speedup = measure_speed(
            _runner(models["teacher"], prepared.teacher_texts["dev"]),
            _runner(models["student"], prepared.student_texts["dev"]),
            row_length=setting.experiment.data.row_length,
            seconds=setting.experiment.speed_seconds if setting.writes else 0.0,
            seed=setting.experiment.seed,
        )
        counted = [results[name]["parameters"]["total"] for name in ("teacher", "student")]
        compression = counted[0] / counted[1]
    split = "test" if "test" in prepared.student_texts else "dev"
    reached = [
        (results.get(name, {}).get(split) or {}).get(setting.main_score)
        for name in ("teacher", "student")
    ]
    content = {
        **results,
        "retention": None if not reached[0] or reached[1] is None else reached[1] / reached[0],
        "compression": compression,
        "stages": stages,
        "baselines": baselines,
        "gazetteer": gazetteer,
        "timing": {
            "stages": {stage["name"]: stage.pop("seconds") for stage in stages},
            "speedup": speedup,
        },
    }
    return cast(Results, content)


def _score_signals(setting: Setting, signals: SignalFolder) -> dict[str, Any]:
    """A teacher's row of the results where all that is known of it is a file: scores of its logits
    on dev and test where they are there, null elsewhere."""
    corpus, task = setting.prepared.corpus, setting.prepared.corpus.task
    result: dict[str, Any] = {"labels": None, "parameters": None, "bytes": None}
    for split, examples in (("dev", corpus.dev), ("test", corpus.test)):
        result[split] = None
        if not examples or "logits" not in signals.values:
            continue
        if np.any(signals.find_texts(examples, task) < 0):
            log.info("%s has not all texts of %s: no scores of the teacher", signals.path, split)
            continue
        place = signals.locate(examples, task, split)
        classes = np.where(place < 0, -1, signals.values["logits"][place].argmax(axis=-1))
        if task.kind == "classification" and np.any(classes < 0):
            log.info("%s has no values of some texts of %s", signals.path, split)
            continue
        predicted = name_classes(classes, examples, task)
        result[split] = metrics.score(task, examples, predicted)
        _write_predictions(setting, "teacher", split, examples, predicted)
    return result


def _score_before(setting: Setting) -> dict[str, Any]:
    """A row of the results for the folder that a student without a teacher began as, with a head
    and subwords of its own; scores are null where it answers none of the task's labels."""
    corpus, labeller = setting.prepared.corpus, setting.prepared.before
    checkpoint = setting.experiment.student.checkpoint
    result: dict[str, Any] = {
        "labels": None,
        "parameters": count_parameters(load_model(checkpoint).params),
        "bytes": measure_bytes(find_folder(checkpoint)),
    }
    for split, examples in (("dev", corpus.dev), ("test", corpus.test)):
        result[split] = None
        if examples and labeller is not None:
            predicted = []
            for first in range(0, len(examples), _TOGETHER):
                setting.stop.raise_if_requested()
                inputs = [example.inputs for example in examples[first : first + _TOGETHER]]
                predicted += [each.labels for each in labeller.predict(inputs)]
            result[split] = metrics.score(corpus.task, examples, predicted)
            _write_predictions(setting, "before", split, examples, predicted)
    return result


def _answer_splits(
    setting: Setting, name: str, loaded: Loaded, texts: dict[str, Texts]
) -> dict[str, list[tuple[str, ...]]]:
    """A model's answers to texts by split; they are written to predictions/."""
    place = shard_params if name == "teacher" else replicate
    params = place(setting.mesh, loaded.params)
    answers = {}
    for split, each in texts.items():
        answers[split] = answer(setting, loaded.model, params, each)
        _write_predictions(setting, name, split, each.examples, answers[split])
    return answers


def _write_predictions(
    setting: Setting,
    name: str,
    split: str,
    examples: list[Example],
    predicted: list[tuple[str, ...]],
) -> None:
    if setting.writes:
        path = setting.workdir / "predictions" / f"{name}.{split}.tsv"
        path.parent.mkdir(exist_ok=True)
        write_tsv(path, examples, predicted)


def measure_bytes(folder: Path) -> dict[str, int]:
    """Sizes of a model folder's parts: model file(s), tokenizer files, everything but its card."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "README.md"]
    sizes = {path.name: path.stat().st_size for path in paths}
    return {
        "model": sum(size for name, size in sizes.items() if name.endswith(".safetensors")),
        "tokenizer": sum(size for name, size in sizes.items() if name.startswith("tokenizer")),
        "folder": sum(sizes.values()),
    }


def _runner(loaded: Loaded, texts: Texts) -> Runner:
    return Runner(loaded.model, loaded.params, texts.subwords, loaded.model.config.padding_id)


def _count_labelled(setting: Setting, stages: tuple[PlannedStage, ...]) -> int:
    """Labelled sentences that stages learn from, at most."""
    shares = [planned.stage.label_fraction for planned in stages if planned.learns_labels]
    return round(max(shares, default=0.0) * len(setting.prepared.corpus.train))
