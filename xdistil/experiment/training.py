"""The phases of a run: teacher, student, baselines, export. Each goes on where it was cut off."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xdistil.config import Stage, split_names
from xdistil.data.batches import rows_per_batch, steps_per_epoch
from xdistil.data.tokenizer import Tokenizer
from xdistil.deploy.jax_backend import open_model
from xdistil.deploy.onnx_export import export_onnx
from xdistil.deploy.preprocessing import write_preprocessing
from xdistil.distill.course import Course, Leg
from xdistil.distill.finetune import finetune
from xdistil.distill.recipes import plan_stages
from xdistil.errors import RefusedError
from xdistil.evaluation.results import ExportResult
from xdistil.experiment.build import find_texts
from xdistil.experiment.courses import make_course, run_course, score_texts, without_signals
from xdistil.experiment.legs import draw_legs
from xdistil.experiment.setting import Setting
from xdistil.models.hf.folder import Model, Transformer, load_model, save_model
from xdistil.models.types import Params
from xdistil.runtime.mesh import global_max, main_process_first, shard_params
from xdistil.student.initialise import init_student, start_embeddings
from xdistil.student.layer_selection import select_layers
from xdistil.student.tokenizer import settle_start
from xdistil.student.vocabulary_transfer import transfer_vocabulary
from xdistil.teacher.model_teacher import Reader, params_fingerprint

log = logging.getLogger("xdistil")


def train_teacher(setting: Setting) -> Params:
    """The fine-tuned teacher's parameters, host arrays; its HF folder is written to teacher/."""
    prepared, folder = setting.prepared, setting.workdir / "teacher"
    model = _require_teacher(setting)
    task = prepared.corpus.task
    if global_max(int(folder.exists())):
        return load_model(str(folder), "main", task, setting.experiment.dtype).params
    params = prepared.teacher_params
    if prepared.teacher_stages:
        params = finetune(setting, model, params)
    _save(setting, folder, model, params, prepared.tokenizer)
    return params


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
        params=shard_params(setting.mesh, params),
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
    course = _student_course(setting, "student", legs, teacher)
    records: list[dict[str, Any]] = []
    for outcome in run_course(setting, course, start):
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
    batch_rows = rows_per_batch(texts.subwords, setting.experiment.data.row_length, size)
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
        leg = Leg(planned, without_signals(texts), without_signals(prepared.student_texts["dev"]))
        course = _student_course(setting, f"baseline-{index}-{number}", (leg,), None)
        for outcome in run_course(setting, course, start):
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


def export_student(setting: Setting) -> ExportResult | None:
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
    record: ExportResult = {"bytes": None, "refused": None}
    try:
        record["bytes"] = export_onnx(opened, folder, dev).stat().st_size
        if setting.experiment.export == "int8":
            # Its packages belong to an extra: whoever asks for no file needs none of them.
            from xdistil.deploy.quantize import quantize_onnx, record_outcome, render_outcome

            outcome = quantize_onnx(opened, folder, dev, test)
            log.info("%s\n\n%s\n", outcome.path, render_outcome(outcome))
            record |= record_outcome(outcome)
    except RefusedError as error:  # what was trained and scored stands without the file
        log.warning(str(error))
        record["refused"] = str(error)
    return record


def _save(
    setting: Setting, folder: Path, model: Model, params: Params, tokenizer: Tokenizer
) -> None:
    """A model folder, written by the first process before any other goes on."""

    def save(first: bool) -> None:
        if first:
            extra = write_preprocessing(setting.experiment.data)
            save_model(folder, model, params, setting.prepared.corpus.task, tokenizer, extra)

    main_process_first(save)


def first_student(setting: Setting, trained: Params | None) -> Params:
    """The student's parameters before its first stage, host arrays.

    Args:
        trained: the fine-tuned teacher's; None where a file takes its place, or there is none.
    """
    prepared, student = setting.prepared, settle_start(setting.experiment)
    teacher = prepared.teacher_params if student.start == "pretrained" else trained
    if prepared.kept_layers and teacher is not None:
        model = _require_teacher(setting)
        return select_layers(model, teacher, prepared.kept_layers, prepared.kept)[1]
    table, kept = None, prepared.kept
    if teacher is not None:
        table = np.asarray(teacher["embeddings"]["word_embeddings"]["embedding"])
        if prepared.at_words:
            own = prepared.student_tokenizer
            table, kept = transfer_vocabulary(own, prepared.tokenizer, table), None
    key = jax.random.fold_in(jax.random.key(setting.experiment.seed), 1)
    start = (student, table, kept, prepared.vectors, key)
    if prepared.checkpoint_params is not None:
        return start_embeddings(prepared.checkpoint_params, *start)
    return init_student(prepared.student, *start)


def _student_course(
    setting: Setting, name: str, legs: tuple[Leg, ...], teacher: Reader | None
) -> Course:
    student, dev = setting.prepared.student, setting.prepared.student_texts["dev"]
    evaluate = partial(score_texts, setting, student, dev)
    return make_course(setting, name, legs, evaluate, student.config.padding_id, teacher)
