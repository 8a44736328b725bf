"""The teacher, the student and the baselines of a run, each resumed where it stopped."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xdistil.data.tokenizer import Tokenizer
from xdistil.data.word_alignment import choose_decoding
from xdistil.deploy.jax_backend import open_model
from xdistil.deploy.onnx_export import export_onnx
from xdistil.deploy.quality_gate import check_dev
from xdistil.distill.finetune import finetune
from xdistil.distill.language_gaps import TeacherScores
from xdistil.distill.loop import fit
from xdistil.distill.stages import StageRun
from xdistil.distill.trainer import Trainer
from xdistil.errors import InputError, RefusedError
from xdistil.evaluation import metrics
from xdistil.evaluation.floor import check_floor
from xdistil.evaluation.predict import predict_labels, score_texts, with_labels
from xdistil.evaluation.results import BaselineResult, ExportResult, ScoreName, Scores, StageRecord
from xdistil.experiment.build import BaselineRun, Run
from xdistil.experiment.shared_teacher import hold_teacher, link_teacher, record_preprocessing
from xdistil.models.hf.folder import load_model, save_model
from xdistil.models.subword_means import SubwordMeans
from xdistil.models.types import Model, Params
from xdistil.runtime.mesh import global_max, main_process_first, replicate, shard_params
from xdistil.runtime.session import Session
from xdistil.student.embeddings import teacher_rows
from xdistil.student.initialise import KeptLayers
from xdistil.teacher.file_teacher import FileTeacher
from xdistil.teacher.interface import SignalReader, Teacher
from xdistil.teacher.model_teacher import ModelTeacher

log = logging.getLogger("xdistil")


class Start(NamedTuple):
    """What the student and its baselines start from; host arrays."""

    params: Params
    projected: np.ndarray | None  # f32[V,D] the teacher's word embeddings, and its states of
    # isolated subwords if these are projected too; None where no stage trains how


def train_teacher(run: Run, session: Session) -> Teacher:
    """The teacher after fine-tuning; a model's folder is written to teacher/."""
    teacher, folder = run.teacher, session.workdir / "teacher"
    if not isinstance(teacher, ModelTeacher):
        return teacher
    task = run.corpus.task
    if not global_max(int(folder.exists())):
        if not run.experiment.teacher.shared_folder:
            return replace(teacher, params=_finetune(run, teacher, session))
        with hold_teacher(run, teacher, session) as shared:
            ready = shared.workdir / "teacher"
            if global_max(int(ready.exists())):
                log.info("teacher: it is fine-tuned already, %s", ready)
            else:
                _finetune(run, teacher, shared)
            # Read before it is linked, so that no run keeps a damaged one.
            try:
                loaded = load_model(str(ready), "main", task, run.experiment.dtype)
            except InputError as error:
                raise InputError(
                    f"{str(error).rstrip('.')}: remove {shared.workdir} to fine-tune this shared "
                    "teacher again."
                ) from error
            main_process_first(partial(link_teacher, shared.workdir, session.workdir))
        return replace(teacher, params=loaded.params)
    loaded = load_model(str(folder), "main", task, run.experiment.dtype)
    return replace(teacher, params=loaded.params)


def _finetune(run: Run, teacher: ModelTeacher, session: Session) -> Params:
    """The teacher's parameters after its plan; its folder is written to teacher/."""
    params, task = teacher.params, run.corpus.task
    if run.finetuning:
        texts, model = run.teacher_texts["dev"], teacher.model

        def evaluate(whole: Params) -> Scores:
            placed = shard_params(session.mesh, whole)
            return score_texts(session, task, model, texts, run.teacher_decoding, placed)

        params, dev = finetune(run.finetuning, model, params, session, evaluate, run.metric)
        check_floor(run.corpus, run.metric, dev)
    folder, decoding = session.workdir / "teacher", run.teacher_decoding
    _save(run, folder, teacher.model, params, teacher.tokenizer, decoding)
    return params


def pseudo_label_dev(run: Run, teacher: Teacher, session: Session) -> Run:
    """A run without labels, its held-out texts labelled by the teacher.

    Logs a warning if the teacher gives all of them the same label: agreement with it then means
    nothing.
    """
    assert isinstance(teacher, ModelTeacher)  # whose head named the task
    texts, task = run.teacher_texts["dev"], run.corpus.task
    params = shard_params(session.mesh, teacher.params)
    decoding = run.teacher_decoding
    predicted = predict_labels(session, task, teacher.model, params, texts, decoding)
    everywhere = set(predicted if task.multilabel else chain.from_iterable(predicted))
    if len(everywhere) == 1:
        (same,) = everywhere
        log.warning(
            "The teacher predicts %r everywhere in the held-out texts: agreement with it means "
            "little. Are the texts of its kind, and is its tokenizer its own?",
            same,
        )
    labelled = with_labels(texts.examples, predicted)
    dev = {"dev": replace(run.texts["dev"], examples=labelled)}
    return replace(
        run,
        corpus=replace(run.corpus, dev=labelled),
        teacher_texts={**run.teacher_texts, "dev": replace(texts, examples=labelled)},
        texts={**run.texts, **dev},
    )


def lending_teacher(run: Run, teacher: Teacher) -> Teacher:
    """The teacher that lends layers or word embeddings: before its fine-tuning, or `teacher`."""
    return run.teacher if run.experiment.student.start == "pretrained" else teacher


def start_student(
    run: Run,
    teacher: Teacher,
    means: SubwordMeans | None = None,
    states: np.ndarray | None = None,
) -> Start:
    """What the student has before its first stage.

    Args:
        teacher: after fine-tuning.
        means: the mean states of the teacher that lends them, where embeddings are `contextual`.
        states: of each of the student's subwords in isolation, where they are projected.
    """
    source = lending_teacher(run, teacher)
    lent = source.params if isinstance(source, ModelTeacher) else {}
    params, projected = run.student.params(lent, run.experiment.seed, means), None
    if run.experiment.student.train_embedding_projection:
        assert not isinstance(run.student, KeptLayers)  # `validate` asks
        size = run.student.model.config.vocabulary_size
        projected = teacher_rows(run.student.embeddings, lent, size, states)
    return Start(params, projected)


def score_teacher(run: Run, teacher: Teacher, session: Session) -> TeacherScores | None:
    """The teacher's scores on dev; None where no stage weighs languages by them.

    Args:
        teacher: after fine-tuning.
    """
    if not any(stage.weighs_languages for stage in run.stages):
        return None
    task = run.corpus.task
    if isinstance(teacher, ModelTeacher):
        params = shard_params(session.mesh, teacher.params)
        dev, decoding = run.teacher_texts["dev"], run.teacher_decoding
        scores = score_texts(session, task, teacher.model, dev, decoding, params)
    else:
        assert isinstance(teacher, FileTeacher)
        predicted = teacher.predict(run.corpus.dev)
        assert not isinstance(predicted, str)  # `build` asks
        scores = metrics.score(task, run.corpus.dev, predicted)
    return TeacherScores(scores, metrics.LANGUAGE_SCORE[task.name])


def make_trainer(
    run: Run,
    session: Session,
    name: str,
    reader: SignalReader,
    decoding: str,
    start: Start,
    teacher_scores: TeacherScores | None = None,
) -> Trainer:
    """What the stages of the student's plan, or of a baseline, share.

    Args:
        decoding: of the tags that are scored.
    """
    model, dev, task = run.student.model, run.texts["dev"], run.corpus.task
    return Trainer(
        name=name,
        session=session,
        reader=reader,
        evaluate=partial(score_texts, session, task, model, dev, decoding),
        metric=run.metric,
        place=replicate,
        padding_id=model.config.padding_id,
        teacher_scores=teacher_scores,
        teacher_embeddings=replicate(session.mesh, start.projected),
    )


def train_student(
    run: Run,
    session: Session,
    reader: SignalReader,
    start: Start,
    teacher_scores: TeacherScores | None = None,
) -> list[StageRecord]:
    """Runs the student's plan from its start; returns the record of every stage.

    From the first stage that trains the head on, student/ holds the student that was best on dev
    after a stage.
    """
    records: list[StageRecord] = []
    decoding = run.student_decoding
    trainer = make_trainer(run, session, "student", reader, decoding, start, teacher_scores)
    for outcome in fit(trainer, run.stages, start.params):
        records = outcome.stages
        if is_best_head(records, run.stages, run.metric):
            _save(
                run,
                session.workdir / "student",
                run.student.model,
                outcome.params,
                run.student.tokenizer,
                run.student_decoding,
            )
    return records


def is_best_head(
    records: Sequence[StageRecord], stages: Sequence[StageRun], metric: ScoreName
) -> bool:
    """Whether the last stage trained the head, and to a better score than every one before."""
    if not stages[len(records) - 1].trains_head:
        return False
    *earlier, last = [
        record["dev"][metric] or 0.0
        for record, stage in zip(records, stages, strict=False)
        if stage.trains_head
    ]
    return all(last > value for value in earlier)


def train_baseline(
    run: Run, session: Session, index: int, start: Start
) -> tuple[BaselineResult, Params]:
    """The same student from the same start on labels alone: (its row of the results, parameters)
    for the learning rate that is best on dev.

    Args:
        start: that of the distilled student. States of the teacher are not projected here: what
            its layers say of subwords is distillation.
    """
    baseline: BaselineRun = run.baselines[index]
    if start.projected is not None:
        width = baseline.stages[0].step.projected_width
        start = start._replace(projected=start.projected[:, :width])
    best: BaselineResult | None = None
    params: Params = {}
    decoding = choose_decoding(run.corpus.task)
    for number, (lr, stage) in enumerate(zip(baseline.lrs, baseline.stages, strict=True)):
        name = f"baseline-{index}-{number}"
        trainer = make_trainer(run, session, name, SignalReader(), decoding, start)
        for outcome in fit(trainer, (stage,), start.params):
            record = outcome.stages[-1]
            value = record["dev"][run.metric] or 0.0
            if best is None or value > (best["dev"][run.metric] or 0.0):
                params = outcome.params
                best = {
                    "name": baseline.config.name,
                    "labels": len(stage.train.examples),
                    "lr": lr,
                    "steps": record["steps"],
                    "limit": record["limit"],
                    "dev": record["dev"],
                    "test": None,  # read once, at the end
                }
    assert best is not None  # `validate` asks for at least one learning rate
    return best, params


def export_student(run: Run, session: Session) -> ExportResult | None:
    """Writes student/onnx/; None in all processes but the first, which writes."""
    if not session.writes:
        return None
    log.info("exporting the student to ONNX")
    folder, test = session.workdir / "student", run.corpus.test
    dev = run.texts["dev"].examples  # labelled, perhaps by the teacher
    opened = open_model(str(folder))
    record: ExportResult = {"bytes": None, "refused": None}
    try:
        record["bytes"] = export_onnx(opened, folder, dev).stat().st_size
        if run.experiment.export == "int8":
            # Its packages belong to an extra: whoever asks for no file needs none of them.
            from xdistil.deploy.quantize import quantize_onnx, record_outcome, render_outcome

            check_dev(opened.task, dev)
            outcome = quantize_onnx(opened, folder, dev, test)
            log.info("%s\n\n%s\n", outcome.path, render_outcome(outcome))
            record |= record_outcome(outcome)
    except RefusedError as error:  # what was trained and scored stands without the file
        log.warning(str(error))
        record["refused"] = str(error)
    return record


def _save(
    run: Run, folder: Path, model: Model, params: Params, tokenizer: Tokenizer, decoding: str
) -> None:
    """A model folder, written by the first process before the others continue."""

    def save(first: bool) -> None:
        if first:
            extra = record_preprocessing(run, decoding)
            save_model(folder, model, params, run.corpus.task, tokenizer, extra)

    main_process_first(save)
