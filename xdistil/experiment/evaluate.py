"""The results of a run: predictions, scores, sizes and speed of its models."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

from xdistil.annotators.agreement import summarise_answers
from xdistil.data.corpus import Corpus
from xdistil.data.examples import Example, Task, write_tsv
from xdistil.data.packing import PackedTexts
from xdistil.data.word_alignment import choose_decoding
from xdistil.distill.stages import StageRun
from xdistil.evaluation import metrics
from xdistil.evaluation.floor import check_floor
from xdistil.evaluation.gazetteer import tag_with_names
from xdistil.evaluation.original import count_kept, score_as_original
from xdistil.evaluation.predict import predict_labels, with_labels
from xdistil.evaluation.results import (
    HELD_OUT,
    Agreement,
    AnnotatorsResult,
    BaselineResult,
    GazetteerResult,
    ModelName,
    ModelResult,
    OriginalResult,
    Parameters,
    Results,
    Scores,
    Sizes,
    StageRecord,
    WorstLanguages,
)
from xdistil.evaluation.speed import Runner, measure_speed
from xdistil.evaluation.worst import compare_worst
from xdistil.experiment.build import Run
from xdistil.experiment.shared_predictions import predict_once
from xdistil.experiment.sources import open_before
from xdistil.models.hf.folder import Loaded, load_model
from xdistil.models.hf.hub import find_folder
from xdistil.models.types import Params, count_parameters
from xdistil.runtime.mesh import replicate, shard_params
from xdistil.runtime.session import Session
from xdistil.teacher.file_teacher import FileTeacher
from xdistil.teacher.interface import NoTeacher
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.teacher.signals import SignalSpec

log = logging.getLogger("xdistil")

_TOGETHER = 256  # texts that are predicted between two checks for a signal to stop

Labels = list[tuple[str, ...]]  # of each text


def evaluate(
    run: Run,
    session: Session,
    stages: Sequence[StageRecord],
    baselines: Sequence[tuple[BaselineResult, Params]],
) -> Results:
    """The content of results.json.

    The folders teacher/ and student/ are loaded again, so that what is scored is what is handed
    over. Test is read here for the first time. In a run without labels the student's predictions
    are also compared with the teacher's, and gold files are scored where there are any. In a run
    without a teacher the student is compared with the checkpoint that it started from.
    """
    log.info("predicting and scoring")
    corpus, gold = run.corpus, run.corpus.gold
    splits = {"dev": "dev" if gold else "gold_dev", "test": "test"}
    predicted_on = splits if gold else {**splits, HELD_OUT: "dev"}
    for split, key in splits.items():
        if key in run.texts:
            examples = run.texts[key].examples
            wanted = [example.labels or () for example in examples]
            _write_labels(session, corpus.task, "gold", split, examples, wanted)
    rows: dict[ModelName, ModelResult] = {}
    loaded: dict[ModelName, Loaded] = {}
    match run.teacher:
        case ModelTeacher():
            loaded["teacher"] = _load(run, session, "teacher")
        case FileTeacher():
            rows["teacher"] = _score_file(run, session, run.teacher)
        case NoTeacher():
            rows["before"] = _score_before(run, session)
    loaded["student"] = _load(run, session, "student")
    labels: dict[ModelName, dict[str, Labels]] = {}
    for name, model in loaded.items():
        texts = run.teacher_texts if name == "teacher" else run.texts
        here = {split: texts[key] for split, key in predicted_on.items() if key in texts}
        labels[name] = _predict_splits(run, session, name, model, here)
        scores = {
            split: metrics.score(corpus.task, each.examples, labels[name][split])
            for split, each in here.items()
            if split in splits
        }
        trained = run.finetuning if name == "teacher" else run.stages
        rows[name] = {
            "labels": _count_labelled(run, trained),
            "parameters": cast(Parameters, count_parameters(model.params)),
            "bytes": measure_bytes(session.workdir / name),
            "dev": scores.get("dev"),
            "test": scores.get("test"),
        }
    compared = rows
    if not gold:
        rows["student"]["agreement"] = _score_agreement(run, predicted_on, labels)
    elif not _is_trained(run, rows.get("teacher")):
        compared = {"student": rows["student"]}
    speedup, compression = None, None
    if "teacher" in loaded:
        if run.experiment.speed_seconds:
            log.info("measuring the speed of teacher and student")
        speedup = measure_speed(
            _runner(loaded["teacher"], run.teacher_texts["dev"]),
            _runner(loaded["student"], run.texts["dev"]),
            row_length=run.experiment.data.row_length,
            seconds=run.experiment.speed_seconds if session.writes else 0.0,
            seed=run.experiment.seed,
        )
        counts = [count_parameters(loaded[name].params)["total"] for name in ("teacher", "student")]
        compression = counts[0] / counts[1]
    content: dict[str, object] = {
        "format": 1,
        "task": corpus.task.name,
        "seed": run.experiment.seed,
        "gold": gold,
        "selected_on": _name_selection(corpus),
        **{str(name): row for name, row in rows.items()},
        "retention": _compute_retention(run, compared),
        **_compare_worst(run, compared),
        "compression": compression,
        "stages": [
            {key: value for key, value in stage.items() if key != "seconds"} for stage in stages
        ],
        **({"passes": _count_passes(run, stages)} if isinstance(run.teacher, ModelTeacher) else {}),
        "baselines": [_score_baseline(run, session, row, params) for row, params in baselines],
        "gazetteer": _score_gazetteer(run),
        **_summarise_annotators(run),
        **_score_as_original(run, labels),
        "timing": {
            "stages": {stage["name"]: stage["seconds"] for stage in stages},
            "speedup": speedup,
        },
    }
    return cast(Results, content)


def _is_trained(run: Run, teacher: ModelResult | None) -> bool:
    """False for a teacher that is not fine-tuned in this run and does worse than without a model,
    such as an encoder whose head was never trained."""
    if teacher is None or run.finetuning or teacher["dev"] is None:
        return True
    return check_floor(run.corpus, run.metric, teacher["dev"])


def _name_selection(corpus: Corpus) -> str:
    if corpus.silver_dev:
        return "votes"
    return "dev" if corpus.gold else "agreement"


def _summarise_annotators(run: Run) -> dict[str, AnnotatorsResult]:
    """The key `annotators` of the results; empty where there are none."""
    if run.voted is None:
        return {}
    corpus = run.corpus
    gold = corpus.dev if corpus.gold and not corpus.silver_dev else corpus.gold_dev or ()
    voted, calibration = run.voted, run.voted.calibration
    calibrations = {} if calibration is None else {voted.votes: calibration}
    found = summarise_answers(voted.texts, gold, corpus.task, calibrations)
    found["votes"] = voted.votes
    found["left_out"] = dict(zip(("units", "texts"), voted.left_out, strict=True))
    if calibration is not None:
        found["calibration"] = calibration.as_json()
    return {"annotators": cast(AnnotatorsResult, found)}


def _score_as_original(
    run: Run, labels: dict[ModelName, dict[str, Labels]]
) -> dict[str, OriginalResult]:
    """The key `original` of the results; empty where nothing is tagged, or there is no gold."""
    split = "test" if "test" in run.texts else "dev"
    if run.corpus.task.kind != "tagging" or not run.corpus.gold:
        return {}
    examples = run.texts[split].examples
    kept = count_kept(examples, run.student.tokenizer)
    scores = {
        name: score_as_original(examples, predicted[split], kept)
        for name, predicted in labels.items()
    }
    return {"original": cast(OriginalResult, scores)}


def _count_passes(run: Run, stages: Sequence[StageRecord]) -> float:
    """How often the teacher has read the texts that the stages learn from: once where its signals
    are cached, and in every step that computes some."""
    passes = 0.0
    cached: dict[str, SignalSpec] = {}
    for choice in run.teacher.plan(run.requests):
        if choice.cached:
            cached[choice.texts] = choice.spec
            passes += choice.texts != "dev" and not choice.grows
    for stage, record in zip(run.stages, stages, strict=True):
        known = cached.get(stage.texts, SignalSpec())
        if stage.spec.union(known) != known:
            passes += record["steps"] / stage.count_steps(run.experiment.batch_size).epoch
    return passes


def measure_bytes(folder: Path) -> Sizes:
    """Sizes of a model folder's parts: model file(s), tokenizer files, everything but its card."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "README.md"]
    sizes = {path.name: path.stat().st_size for path in paths}
    return {
        "model": sum(size for name, size in sizes.items() if name.endswith(".safetensors")),
        "tokenizer": sum(size for name, size in sizes.items() if name.startswith("tokenizer")),
        "folder": sum(sizes.values()),
    }


def _load(run: Run, session: Session, name: str) -> Loaded:
    folder = str(session.workdir / name)
    return load_model(folder, "main", run.corpus.task)


def _score_agreement(
    run: Run, predicted_on: dict[str, str], labels: dict[ModelName, dict[str, Labels]]
) -> Agreement:
    """The student's predictions against the teacher's, by split; None where there are no texts."""
    agreement: dict[str, Scores | None] = dict.fromkeys(predicted_on)
    for split, predicted in labels["student"].items():
        examples = run.texts[predicted_on[split]].examples
        expected = with_labels(examples, labels["teacher"][split])
        agreement[split] = metrics.score(run.corpus.task, expected, predicted)
    return cast(Agreement, agreement)


def _compute_retention(run: Run, rows: dict[ModelName, ModelResult]) -> float | None:
    """The student's main score over the teacher's, on test if there is one."""
    split: Literal["dev", "test"] = "test" if "test" in run.texts else "dev"
    if "teacher" not in rows:
        return None
    teacher, student = rows["teacher"][split], rows["student"][split]
    if teacher is None or student is None:
        return None
    reached, kept = teacher[run.metric], student[run.metric]
    return None if not reached or kept is None else kept / reached


def _compare_worst(run: Run, rows: dict[ModelName, ModelResult]) -> dict[str, WorstLanguages]:
    """The key `worst_10` of the results; empty without a teacher or with few languages."""
    split: Literal["dev", "test"] = "test" if "test" in run.texts else "dev"
    if "teacher" not in rows:
        return {}
    teacher, student = rows["teacher"][split], rows["student"][split]
    if teacher is None or student is None:
        return {}
    score = metrics.LANGUAGE_SCORE[run.corpus.task.name]
    worst = compare_worst(teacher["per_language"], student["per_language"], score)
    return {} if worst is None else {"worst_10": worst}


def _score_file(run: Run, session: Session, teacher: FileTeacher) -> ModelResult:
    """The scores of a file of signals, where it holds logits of all texts; None elsewhere."""
    scores: dict[str, Scores] = {}
    for split, examples in (("dev", run.corpus.dev), ("test", run.corpus.test)):
        if not examples or (split == "dev" and run.corpus.silver_dev):  # its own labels
            continue
        predicted = teacher.predict(examples)
        if isinstance(predicted, str):
            log.info("no scores of the teacher on %s: %s", split, predicted)
            continue
        scores[split] = metrics.score(run.corpus.task, examples, predicted)
        _write_labels(session, run.corpus.task, "teacher", split, examples, predicted)
    return {
        "labels": None,
        "parameters": None,
        "bytes": None,
        "dev": scores.get("dev"),
        "test": scores.get("test"),
    }


def _score_before(run: Run, session: Session) -> ModelResult:
    """The scores of the checkpoint that a student without a teacher starts from, with its own head
    and subwords; None where it predicts none of the task's labels."""
    corpus, checkpoint = run.corpus, run.experiment.student.checkpoint
    predictor = open_before(checkpoint, corpus.task)
    scores: dict[str, Scores] = {}
    for split, examples in (("dev", corpus.dev), ("test", corpus.test)):
        if examples and predictor is not None:
            predicted: Labels = []
            for first in range(0, len(examples), _TOGETHER):
                session.preemption.raise_if_requested()
                inputs = [example.inputs for example in examples[first : first + _TOGETHER]]
                predicted += [each.labels for each in predictor.predict(inputs)]
            scores[split] = metrics.score(corpus.task, examples, predicted)
            _write_labels(session, corpus.task, "before", split, examples, predicted)
    return {
        "labels": None,
        "parameters": cast(Parameters, count_parameters(load_model(checkpoint).params)),
        "bytes": measure_bytes(find_folder(checkpoint)),
        "dev": scores.get("dev"),
        "test": scores.get("test"),
    }


def _score_baseline(
    run: Run, session: Session, row: BaselineResult, params: Params
) -> BaselineResult:
    scores = None
    if "test" in run.texts:
        test, task = run.texts["test"], run.corpus.task
        placed = replicate(session.mesh, params)
        model = run.student.model.clone(dtype="float32")
        predicted = predict_labels(session, task, model, placed, test, choose_decoding(task))
        scores = metrics.score(task, test.examples, predicted)
    return {**row, "test": scores}


def _score_gazetteer(run: Run) -> GazetteerResult | None:
    corpus = run.corpus
    if not corpus.gold or not corpus.train or corpus.task.kind != "tagging":
        return None

    def score(examples: Sequence[Example] | None) -> Scores | None:
        if not examples:
            return None
        return metrics.score(corpus.task, examples, tag_with_names(corpus.train, examples))

    return {"dev": score(corpus.dev), "test": score(corpus.test)}


def _predict_splits(
    run: Run, session: Session, name: str, loaded: Loaded, texts: dict[str, PackedTexts]
) -> dict[str, Labels]:
    """A model's labels of texts by split; they are written to predictions/."""
    task, shared = run.corpus.task, run.experiment.teacher.shared_folder
    is_teacher = name == "teacher"
    place = shard_params if is_teacher else replicate
    decoding = run.teacher_decoding if is_teacher else run.student_decoding
    params = place(session.mesh, loaded.params)
    labels = {}
    for split, each in texts.items():
        if is_teacher and shared:
            labels[split] = predict_once(
                Path(shared), session, task, loaded, params, each, decoding
            )
        else:
            labels[split] = predict_labels(session, task, loaded.model, params, each, decoding)
        _write_labels(session, task, name, split, each.examples, labels[split])
    return labels


def _write_labels(
    session: Session, task: Task, name: str, split: str, examples: Sequence[Example], labels: Labels
) -> None:
    if session.writes:
        path = session.workdir / "predictions" / f"{name}.{split}.tsv"
        path.parent.mkdir(exist_ok=True)
        write_tsv(path, examples, labels, task.multilabel)


def _runner(loaded: Loaded, texts: PackedTexts) -> Runner:
    return Runner(loaded.model, loaded.params, texts.subwords, loaded.model.config.padding_id)


def _count_labelled(run: Run, stages: Sequence[StageRun]) -> int:
    """Gold sentences that stages learn from, at most."""
    gold = [stage for stage in stages if stage.learns_labels and stage.config.data == "train"]
    shares = [stage.config.label_fraction for stage in gold]
    return round(max(shares, default=0.0) * len(run.corpus.train))
