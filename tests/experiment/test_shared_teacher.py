"""A teacher that runs share: what tells teachers apart, and that it is fine-tuned once."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from tests.distill.small import (
    TASK,
    make_encoder,
    make_session,
    make_subwords,
    make_teacher,
    make_texts,
    same,
)
from xdistil.config import Experiment, Stage, Teacher
from xdistil.data.examples import Example
from xdistil.data.packing import SoftLabels
from xdistil.distill.stages import StageRun, plan_stages
from xdistil.errors import InputError
from xdistil.experiment import training
from xdistil.experiment.build import Run
from xdistil.experiment.shared_teacher import fingerprint_teacher
from xdistil.experiment.training import train_teacher
from xdistil.teacher.interface import NoTeacher

STAGE = Stage(name="train", loss="labels", data="train")
WEIGHTS = "weights.npy"


def make_run(stage: Stage = STAGE, **fields: Any) -> Run:
    """A run as far as its teacher; `fields` of the experiment."""
    texts = make_texts()
    examples = [Example(("a", "b"), ("O", "B-PER"), "en")]
    texts["dev"] = replace(texts["dev"], examples=examples)
    tokenizer: Any = SimpleNamespace(backend=SimpleNamespace(to_str=lambda: "{}"))
    unused: Any = SimpleNamespace(task=TASK, train=[])
    return Run(
        experiment=Experiment(**fields),
        corpus=unused,
        teacher=replace(make_teacher(), tokenizer=tokenizer),
        finetuning=plan_stages((stage,), "plan", make_encoder(), NoTeacher(), texts),
        teacher_texts=texts,
        student=unused,
        texts={},
        stages=(),
        baselines=(),
    )


def make_soft(stage: StageRun, share: float) -> StageRun:
    """The stage with probabilities in the place of labels."""
    place = np.where(stage.train.subwords.label_mask, 0, -1)
    soft = SoftLabels(np.array([[share, 1 - share, 0]], np.float32), place)
    return replace(stage, train=replace(stage.train, soft_labels=soft))


def digest(run: Run) -> str:
    return fingerprint_teacher(run, run.teacher)


def test_a_fingerprint_holds_whatever_decides_the_weights():
    run = make_run()
    (stage,), dev = run.finetuning, run.teacher_texts["dev"]
    shifted = jax.tree.map(lambda x: x + np.float32(1), run.teacher.params)
    other = [replace(dev.examples[0], language="de")]
    cut = replace(Experiment().data, max_length=12)
    different = {
        "itself": run,
        "seed": make_run(seed=1),
        "batch size": make_run(batch_size=3),
        "batch size of the stage": make_run(replace(STAGE, batch_size=4)),
        "evaluations": make_run(eval_every=3),
        "how texts are cut": make_run(data=cut),
        "plan": make_run(replace(STAGE, lr=1.0)),
        "texts": replace(
            run,
            finetuning=(replace(stage, train=replace(stage.train, subwords=make_subwords(16, 9))),),
        ),
        "silver": replace(run, finetuning=(make_soft(stage, 0.5),)),
        "other votes": replace(run, finetuning=(make_soft(stage, 0.75),)),
        "dev": replace(run, teacher_texts={"dev": replace(dev, examples=other)}),
        "parameters": replace(run, teacher=replace(run.teacher, params=shifted)),
        "no fine-tuning": replace(run, finetuning=()),
    }
    assert len({digest(each) for each in different.values()}) == len(different)


def test_a_fingerprint_holds_nothing_of_the_student():
    run = make_run()
    others = make_run(plan=(STAGE,), log_every=3, teacher=Teacher(shared_folder="there"))
    assert digest(others) == digest(run)
    (stage,) = run.finetuning
    for field in ({"mask": 0.1}, {"gap_weight": 1.0}, {"sampling": "doubtful"}):
        students = replace(stage, config=replace(stage.config, **field))
        assert digest(replace(run, finetuning=(students,))) == digest(run)
    own = replace(STAGE, batch_size=4)
    assert digest(make_run(own, batch_size=2)) == digest(make_run(own, batch_size=3))
    without = [replace(make_run(seed=seed), finetuning=()) for seed in (0, 1)]
    assert digest(without[0]) == digest(without[1])


@pytest.fixture
def finetuned(monkeypatch) -> list[Path]:
    """The folders in which a teacher was fine-tuned; here that adds 1 to a parameter."""
    folders = []

    def finetune(run: Run, teacher: Any, session: Any) -> Any:
        folders.append(session.workdir)
        session.run_log.write({"plan": "teacher", "stage": "train", "step": 1, "loss": 1.0})
        (session.workdir / "teacher").mkdir()
        np.save(session.workdir / "teacher" / WEIGHTS, teacher.params["classifier"]["bias"] + 1)

    def load(folder: str, *_: Any) -> Any:
        return SimpleNamespace(params=np.load(f"{folder}/{WEIGHTS}"))

    monkeypatch.setattr(training, "_finetune", finetune)
    monkeypatch.setattr(training, "load_model", load)
    return folders


def test_the_first_run_fine_tunes_and_the_others_have_its_folder(tmp_path, finetuned):
    shared = Teacher(shared_folder=str(tmp_path / "shared"))
    run = make_run(teacher=shared)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        trained = train_teacher(run, make_session(tmp_path / name))
        assert same(trained.params, run.teacher.params["classifier"]["bias"] + 1)
    (folder,) = finetuned
    assert folder == tmp_path / "shared" / f"teacher-{digest(run)[:16]}"
    for name in ("a", "b"):
        own = tmp_path / name
        assert (own / "teacher" / WEIGHTS).samefile(folder / "teacher" / WEIGHTS)
        lines = (own / "metrics.jsonl").read_text()
        assert lines == (folder / "metrics.jsonl").read_text() != ""
    train_teacher(make_run(teacher=shared, seed=5), make_session(tmp_path / "c"))
    assert len(finetuned) == 2  # of another seed: another teacher


def test_a_run_that_has_its_teacher_asks_for_no_other(tmp_path, finetuned):
    (tmp_path / "a" / "teacher").mkdir(parents=True)
    np.save(tmp_path / "a" / "teacher" / WEIGHTS, np.zeros(3))
    run = make_run(teacher=Teacher(shared_folder=str(tmp_path / "shared")))
    train_teacher(run, make_session(tmp_path / "a"))
    assert finetuned == []
    assert not (tmp_path / "shared").exists()


def test_a_damaged_shared_teacher_is_told_by_its_place_and_kept_by_no_run(
    tmp_path, finetuned, monkeypatch
):
    run = make_run(teacher=Teacher(shared_folder=str(tmp_path / "shared")))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    train_teacher(run, make_session(tmp_path / "a"))
    (folder,) = finetuned

    def refuse(folder: str, *_: Any) -> None:
        raise InputError(f"{folder}/{WEIGHTS} is damaged.")

    with monkeypatch.context() as patch:
        patch.setattr(training, "load_model", refuse)
        with pytest.raises(InputError) as caught:
            train_teacher(run, make_session(tmp_path / "b"))
    assert str(caught.value) == (
        f"{folder}/teacher/{WEIGHTS} is damaged: remove {folder} to fine-tune this shared teacher "
        "again."
    )
    assert not (tmp_path / "b" / "teacher").exists()
    shutil.rmtree(folder)
    train_teacher(run, make_session(tmp_path / "b"))
    assert len(finetuned) == 2
    assert (tmp_path / "b" / "teacher" / WEIGHTS).samefile(folder / "teacher" / WEIGHTS)
