"""The whole flow: config -> data -> teacher -> plan -> student -> scores -> folder."""

import contextlib
import json
import logging
import time
from pathlib import Path

import jax

from xdistil.config import Experiment, validate
from xdistil.deploy.license import find_license
from xdistil.deploy.model_card import write_card
from xdistil.deploy.onnx_export import check_packages
from xdistil.errors import LostProcessError
from xdistil.evaluation.figures import draw_figures
from xdistil.evaluation.report import render_console, render_markdown
from xdistil.evaluation.results import Results, read_results
from xdistil.experiment.answers import pseudo_label_dev
from xdistil.experiment.build import Prepared, prepare
from xdistil.experiment.dry_run import describe_data, describe_plan
from xdistil.experiment.evaluate import score
from xdistil.experiment.inputs import claim_inputs, fingerprint_inputs
from xdistil.experiment.setting import Setting
from xdistil.experiment.training import (
    distil,
    export_student,
    first_student,
    freeze_teacher,
    train_baseline,
    train_teacher,
)
from xdistil.runtime.compilation_cache import enable_compilation_cache
from xdistil.runtime.environment import describe_device, describe_environment
from xdistil.runtime.json_io import write_json
from xdistil.runtime.mesh import main_process_first, make_mesh, start_processes
from xdistil.runtime.preemption import PreemptionGuard
from xdistil.runtime.run_log import RunLog, open_log
from xdistil.runtime.workdir import (
    check_workdir,
    claim_workdir,
    lock_workdir,
    open_workdir,
)

log = logging.getLogger("xdistil")


def run(experiment: Experiment, workdir: str | Path, command: list[str] | None = None) -> Results:
    """Runs an experiment to its end, or goes on where an earlier call in the workdir was cut off.

    A finished workdir prints its table and returns its results again. Where several processes run
    it together, each calls this with the same arguments and gets the same results; the first one
    writes.

    Args:
        experiment: what to do; it must not be changed any more.
        workdir: folder of everything that the run writes; the same one for all processes.
        command: the command line, for environment.json.

    Returns:
        The content of results.json (its format is that of xdistil/evaluation/results.py).

    Raises:
        InputError: a mistake in the experiment, its files or its models; nothing has been trained.
        LostProcessError: one of several processes is gone.
        StoppedError: SIGTERM or SIGINT came; the same call goes on where this one was.
        DivergenceError: a loss is not finite; the workdir's `diverged` reproduces it.
    """
    validate(experiment)
    if experiment.export:
        check_packages()
    workdir, stop = Path(workdir), PreemptionGuard()
    start_processes(experiment.distributed)
    # After jax.distributed, which sets a handler of its own.
    with stop.listening(), contextlib.ExitStack() as held:

        def open_folder(first: bool) -> None:
            if first:
                open_workdir(workdir)
                held.enter_context(lock_workdir(workdir))
            held.enter_context(open_log(workdir, jax.process_index()))
            check_workdir(workdir, experiment)  # before anything of another run is written over

        main_process_first(open_folder)
        results = read_results(workdir)
        if results is not None:
            log.info("%s is finished.\n\n%s", workdir, render_console(results))
            return results
        try:
            return _run(experiment, workdir, stop, command or ["xdistil.run"])
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            reason = str(error).splitlines()[0]
            raise LostProcessError(
                f"Process {jax.process_index()} of {jax.process_count()} cannot reach another "
                f"({reason}): JAX tells which, where task N is process N and the leader process 0; "
                "the same commands, or those of fewer processes, go on from the last checkpoint."
            ) from error


def _run(
    experiment: Experiment, workdir: Path, stop: PreemptionGuard, command: list[str]
) -> Results:
    begin = time.monotonic()
    enable_compilation_cache()
    log.info(describe_device())
    mesh = make_mesh(experiment.mesh.teacher_shards)

    def make_ready(first: bool) -> Prepared:
        prepared = prepare(experiment, workdir / "cache", writes=first)
        inputs = fingerprint_inputs(experiment, prepared, workdir / "cache")
        if first:
            claim_inputs(workdir, inputs)
            claim_workdir(workdir, experiment)
            digests = {name: digest for name, (_, digest) in inputs.items()}
            licenses = {which: find_license(experiment, which) for which in ("teacher", "student")}
            environment = describe_environment(command, digests) | {"licenses": licenses}
            write_json(workdir / "environment.json", environment)
        return prepared

    prepared = main_process_first(make_ready)
    log.info("%s\n\n%s\n", describe_data(prepared), describe_plan(experiment, prepared))
    run_log = RunLog(workdir, writes=jax.process_index() == 0)
    try:
        setting = Setting(experiment, workdir, prepared, run_log, mesh, stop)
        trained = None if prepared.teacher is None else train_teacher(setting)
        start, teacher = first_student(setting, trained), None
        if trained is not None:
            teacher = freeze_teacher(setting, trained)
            if not prepared.corpus.gold:
                setting = pseudo_label_dev(setting, teacher)
        del trained  # a large teacher's second copy
        stages = distil(setting, teacher, start)
        baselines = [
            train_baseline(setting, start, index, sum(stage["limit"] for stage in stages))
            for index in range(len(experiment.baselines) if prepared.corpus.gold else 0)
        ]
        results = score(setting, stages, baselines)
        if experiment.export:
            results["export"] = export_student(setting)
    finally:
        run_log.close()
    results["timing"]["total"] = time.monotonic() - begin

    def write_results(first: bool) -> None:
        if first:
            environment = json.loads((workdir / "environment.json").read_text(encoding="utf-8"))
            for which in ("teacher", "student") if prepared.teacher is not None else ("student",):
                write_card(workdir / which, which, results, experiment, environment)
            draw_figures(workdir / "figures", workdir / "metrics.jsonl", results)
            (workdir / "results.md").write_text(render_markdown(results), encoding="utf-8")
            write_json(workdir / "results.json", results)

    main_process_first(write_results)
    log.info("\n%s", render_console(results))
    log.info("Try it:  echo 'Some text' | python predict.py --model=%s", workdir / "student")
    return results
