"""The phases of a run: teacher, student, baselines, scores. Each goes on where it was cut off."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xdistil.answers import answer, with_answers
from xdistil.config import Stage, split_names
from xdistil.data.batches import rows_per_batch, steps_per_epoch
from xdistil.data.examples import Example, write_tsv
from xdistil.data.signals import SignalFolder
from xdistil.data.tokenizer import Tokenizer
from xdistil.data.words import name_classes
from xdistil.distill.checkpoint import Checkpoints
from xdistil.distill.course import Course, Leg, Source
from xdistil.distill.loop import Outcome, run_plan
from xdistil.distill.recipes import PlannedStage, plan_stages
from xdistil.distill.teacher import Reader, params_fingerprint
from xdistil.errors import RefusedError
from xdistil.legs import draw_legs
from xdistil.meeting import settle_start
from xdistil.mesh import agree, first_process_first, replicate, spread
from xdistil.models.folders import Loaded, Model, Transformer, load_model, save_model
from xdistil.models.hub import find_folder
from xdistil.models.kept_layers import make_of_layers
from xdistil.models.structs import Params
from xdistil.models.student import count_parameters, init_student, start_embeddings
from xdistil.models.transplant import transplant_embeddings
from xdistil.prepare import Texts, find_texts
from xdistil.results import scores
from xdistil.results.export import export_onnx
from xdistil.results.gazetteer import tag_with_names
from xdistil.results.jax_model import open_model
from xdistil.results.record import record_input
from xdistil.results.report import HELD_OUT
from xdistil.results.speed import Runner, measure_speed
from xdistil.setting import Setting

log = logging.getLogger("xdistil")

_TOGETHER = 256  # texts that are answered between two looks for a signal to stop


def train_teacher(setting: Setting) -> Params:
    """The fine-tuned teacher's parameters, host arrays; its HF folder is written to teacher/."""
    prepared, folder = setting.prepared, setting.workdir / "teacher"
    model = _require_teacher(setting)
    task = prepared.corpus.task
    if agree(int(folder.exists())):
        return load_model(str(folder), "main", task, setting.experiment.dtype).params
    params = prepared.teacher_params
    if prepared.teacher_stages:
        experiment = setting.experiment
        legs = tuple(
            Leg(
                planned,
                train=_bare(find_texts(experiment, prepared, "teacher", planned.stage)),
                dev=_bare(prepared.teacher_texts["dev"]),
            )
            for planned in prepared.teacher_stages
        )
        course = _course(setting, "teacher", legs, model, None)
        for outcome in _run(setting, course, params):
            params = outcome.params
        warn_if_hopeless(setting, outcome.records[-1]["dev"])
    _save(setting, folder, model, params, prepared.tokenizer)
    return params


def warn_if_hopeless(setting: Setting, dev: dict[str, Any]) -> None:
    """Says so when a teacher's scores on dev are no better than answers without a model."""
    corpus, name = setting.prepared.corpus, setting.main_score
    if corpus.task.kind == "tagging":
        floor = tag_with_names(corpus.train, corpus.dev)
        what = "looking up the names of train"
    else:
        ((commonest, _),) = Counter(example.labels for example in corpus.train).most_common(1)
        floor = [commonest or ()] * len(corpus.dev)
        what = "always answering the commonest class of train"
    least = scores.score(corpus.task, corpus.dev, floor)[name] or 0.0
    if (dev[name] or 0.0) <= least:
        log.warning(
            "The teacher is no help: its %s on dev is %.4f, that of %s %.4f. Is it fine-tuned "
            "(teacher.finetune), long enough (teacher.plan), and with its own tokenizer?",
            name,
            dev[name] or 0.0,
            what,
            least,
        )


def _require_teacher(setting: Setting) -> Transformer:
    model = setting.prepared.teacher
    assert model is not None  # the flow asks for one only where no file takes its place
    return model


def freeze_teacher(setting: Setting, params: Params) -> Reader:
    """The trained teacher as a source of signals."""
    prepared = setting.prepared
    reads = prepared.tokenizer if prepared.at_words else prepared.student_tokenizer
    return Reader(
        model=_require_teacher(setting),
        params=spread(setting.mesh, params),
        padding_id=reads.pad,
        kept=None if prepared.at_words else prepared.kept,
        fingerprint=params_fingerprint(params),
        mesh=setting.mesh,
    )


def distil(setting: Setting, teacher: Reader | None, start: Params) -> list[dict[str, Any]]:
    """Runs the student's plan from its first parameters; returns the record of every sub-stage.

    From the first stage that learns logits or labels on, student/ holds the student that was best
    on dev after a sub-stage.
    """
    prepared = setting.prepared
    legs = draw_legs(setting, teacher)
    course = _course(setting, "student", legs, prepared.student, teacher)
    records: list[dict[str, Any]] = []
    for outcome in _run(setting, course, start):
        records = outcome.records
        if not legs[len(records) - 1].planned.learns_head:
            continue
        *earlier, last = [
            record["dev"][setting.main_score] or 0.0
            for record, leg in zip(records, legs, strict=False)
            if leg.planned.learns_head
        ]
        if all(last > value for value in earlier):
            _save(
                setting,
                setting.workdir / "student",
                prepared.student,
                outcome.params,
                prepared.student_tokenizer,
            )
    return records


def train_baseline(setting: Setting, start: Params, index: int, least_steps: int) -> dict[str, Any]:
    """The same student from the same start on labels alone, the best of its learning rates on dev.

    Args:
        start: the first parameters, as the distilled student has them.
        least_steps: steps that it may take at least, as many as the whole plan.
    """
    prepared = setting.prepared
    baseline = setting.experiment.baselines[index]
    stage = Stage(
        name="labels",
        loss="labels",
        data="train",
        patience=baseline.patience,
        label_fraction=baseline.label_fraction,
    )
    texts = find_texts(setting.experiment, prepared, "student", stage)
    size = setting.experiment.batch_size
    batch_rows = rows_per_batch(texts.pieces, setting.experiment.data.row_length, size)
    epochs = baseline.epochs or least_steps / steps_per_epoch(texts.rows, batch_rows)
    best: dict[str, Any] = {}
    for number, lr in enumerate(split_names(baseline.lrs)):
        (planned,) = plan_stages(
            (replace(stage, lr=float(lr), epochs=epochs),),
            f"baselines[{index}]",
            prepared.student,
            None,
            setting.experiment.student.train_embeddings,
        )
        leg = Leg(planned, _bare(texts), _bare(prepared.student_texts["dev"]))
        course = _course(setting, f"baseline-{index}-{number}", (leg,), prepared.student, None)
        for outcome in _run(setting, course, start):
            dev = outcome.records[-1]["dev"]
            value = dev[setting.main_score] or 0.0
            if not best or value > (best["dev"][setting.main_score] or 0.0):
                best = {
                    "name": baseline.name,
                    "labels": len(texts.examples),
                    "lr": float(lr),
                    "steps": outcome.records[-1]["steps"],
                    "limit": outcome.records[-1]["limit"],
                    "dev": dev,
                    "params": outcome.params,
                }
    return best


def score(
    setting: Setting, stages: list[dict[str, Any]], baselines: list[dict[str, Any]]
) -> dict[str, Any]:
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
            results[name][split] = here.get(split) and scores.score(
                task, here[split].examples, answers[name][split]
            )
    if not gold:
        agreement: dict[str, Any] = dict.fromkeys(answered)
        for split, given in answers["student"].items():
            examples = prepared.student_texts[answered[split]].examples
            expected = with_answers(examples, answers["teacher"][split])
            agreement[split] = scores.score(task, expected, given)
        results["student"]["agreement"] = agreement
    ready = results.get("teacher", {}).get("dev") if not prepared.teacher_stages else None
    if gold and ready is not None:
        warn_if_hopeless(setting, ready)
    for baseline in baselines:
        params = replicate(setting.mesh, baseline.pop("params"))
        baseline["test"] = None
        if "test" in prepared.student_texts:
            test = prepared.student_texts["test"]
            predicted = answer(setting, prepared.student, params, test)
            baseline["test"] = scores.score(task, test.examples, predicted)
    gazetteer = None
    if gold and task.kind == "tagging":
        gazetteer = {
            split: examples and scores.score(task, examples, tag_with_names(corpus.train, examples))
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
    return {
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
        result[split] = scores.score(task, examples, predicted)
        _write_predictions(setting, "teacher", split, examples, predicted)
    return result


def _score_before(setting: Setting) -> dict[str, Any]:
    """A row of the results for the folder that a student without a teacher began as, with a head
    and pieces of its own; scores are null where it answers none of the task's labels."""
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
                setting.stop.check()
                inputs = [example.inputs for example in examples[first : first + _TOGETHER]]
                predicted += [each.labels for each in labeller.answer(inputs)]
            result[split] = scores.score(corpus.task, examples, predicted)
            _write_predictions(setting, "before", split, examples, predicted)
    return result


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


def export_student(setting: Setting) -> dict[str, Any] | None:
    """Writes student/onnx/; None in all processes but the first, which writes.

    Returns:
        `bytes` of the file in float32; where int8 was asked for, what `record_outcome` returns;
        `refused`, why a file was not written, or None.
    """
    if not setting.writes:
        return None
    log.info("exporting the student to ONNX")
    folder, test = setting.workdir / "student", setting.prepared.corpus.test
    dev = setting.prepared.student_texts["dev"].examples  # labelled, be it by the teacher
    opened = open_model(str(folder))
    record: dict[str, Any] = {"bytes": None, "refused": None}
    try:
        record["bytes"] = export_onnx(opened, folder, dev).stat().st_size
        if setting.experiment.export == "int8":
            # Its packages belong to an extra: whoever asks for no file needs none of them.
            from xdistil.results.quantize import quantize_onnx, record_outcome, render_outcome

            outcome = quantize_onnx(opened, folder, dev, test)
            log.info("%s\n\n%s\n", outcome.path, render_outcome(outcome))
            record |= record_outcome(outcome)
    except RefusedError as error:  # what was trained and scored stands without the file
        log.warning(str(error))
        record["refused"] = str(error)
    return record


def _answer_splits(
    setting: Setting, name: str, loaded: Loaded, texts: dict[str, Texts]
) -> dict[str, list[tuple[str, ...]]]:
    """A model's answers to texts by split; they are written to predictions/."""
    lay_out = spread if name == "teacher" else replicate
    params = lay_out(setting.mesh, loaded.params)
    answers = {}
    for split, each in texts.items():
        answers[split] = answer(setting, loaded.model, params, each)
        _write_predictions(setting, name, split, each.examples, answers[split])
    return answers


def _save(
    setting: Setting, folder: Path, model: Model, params: Params, tokenizer: Tokenizer
) -> None:
    """A model folder, written by the first process before any other goes on."""

    def save(first: bool) -> None:
        if first:
            extra = record_input(setting.experiment.data)
            save_model(folder, model, params, setting.prepared.corpus.task, tokenizer, extra)

    first_process_first(save)


def first_student(setting: Setting, trained: Params | None) -> Params:
    """The student's parameters before its first stage, host arrays.

    Args:
        trained: the fine-tuned teacher's; None where a file takes its place, or there is none.
    """
    prepared, student = setting.prepared, settle_start(setting.experiment)
    teacher = prepared.teacher_params if student.start == "pretrained" else trained
    if prepared.kept_layers and teacher is not None:
        model = _require_teacher(setting)
        return make_of_layers(model, teacher, prepared.kept_layers, prepared.kept)[1]
    table, kept = None, prepared.kept
    if teacher is not None:
        table = np.asarray(teacher["embeddings"]["word_embeddings"]["embedding"])
        if prepared.at_words:
            own = prepared.student_tokenizer
            table, kept = transplant_embeddings(own, prepared.tokenizer, table), None
    key = jax.random.fold_in(jax.random.key(setting.experiment.seed), 1)
    start = (student, table, kept, prepared.vectors, key)
    if prepared.checkpoint_params is not None:
        return start_embeddings(prepared.checkpoint_params, *start)
    return init_student(prepared.student, *start)


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
    return Runner(loaded.model, loaded.params, texts.pieces, loaded.model.config.padding_id)


def _count_labelled(setting: Setting, stages: tuple[PlannedStage, ...]) -> int:
    """Labelled sentences that stages learn from, at most."""
    shares = [planned.stage.label_fraction for planned in stages if planned.learns_labels]
    return round(max(shares, default=0.0) * len(setting.prepared.corpus.train))


def _bare(texts: Texts) -> Source:
    return Source(texts.pieces, texts.rows, {})


def _course(
    setting: Setting,
    name: str,
    legs: tuple[Leg, ...],
    model: Model,
    teacher: Reader | None,
) -> Course:
    prepared, experiment = setting.prepared, setting.experiment
    dev = (prepared.teacher_texts if name == "teacher" else prepared.student_texts)["dev"]
    task = prepared.corpus.task

    def evaluate(params: Params) -> dict[str, Any]:
        return scores.score(task, dev.examples, answer(setting, model, params, dev))

    return Course(
        name=name,
        legs=legs,
        teacher=teacher,
        evaluate=evaluate,
        main_score=setting.main_score,
        batch_size=experiment.batch_size,
        padding_id=(prepared.tokenizer if name == "teacher" else prepared.student_tokenizer).pad,
        eval_every=experiment.eval_every,
        log_every=experiment.log_every,
        seed=experiment.seed,
        mesh=setting.mesh,
        lay_out=spread if name == "teacher" else replicate,
        cache=setting.workdir / "cache" / "features",
        diverged=setting.workdir / "diverged",
        stop=setting.stop,
        checkpoint_minutes=experiment.checkpoint_minutes,
    )


def _run(setting: Setting, course: Course, params: Params) -> Iterator[Outcome]:
    checkpoints = Checkpoints(setting.workdir / "checkpoints" / course.name)
    try:
        yield from run_plan(course, params, checkpoints, setting.journal)
    finally:
        checkpoints.close()
