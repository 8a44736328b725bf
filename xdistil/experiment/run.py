"""The whole flow: config -> data -> teacher -> plan -> student -> scores -> folder."""

import dataclasses
import json
import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from xdistil.config import Experiment, expand_home
from xdistil.deploy.license import find_license
from xdistil.deploy.model_card import write_card
from xdistil.deploy.onnx_export import check_packages
from xdistil.evaluation.page.render import FILE as PAGE
from xdistil.evaluation.report import render_console, render_markdown, summarise
from xdistil.evaluation.results import Results, read_results
from xdistil.experiment.build import Run, build
from xdistil.experiment.contextual_means import find_means
from xdistil.experiment.dry_run import describe_data, describe_details, describe_plan
from xdistil.experiment.evaluate import evaluate
from xdistil.experiment.finished import check_finished
from xdistil.experiment.inputs import claim_inputs, fingerprint_inputs
from xdistil.experiment.isolated_states import find_isolated_states
from xdistil.experiment.live_page import show_run, showing
from xdistil.experiment.memory import check_memory
from xdistil.experiment.outline import outline_run
from xdistil.experiment.training import (
    export_student,
    pseudo_label_dev,
    score_teacher,
    start_student,
    train_baseline,
    train_student,
    train_teacher,
)
from xdistil.runtime.compilation_cache import enable_compilation_cache
from xdistil.runtime.environment import describe_device, describe_environment
from xdistil.runtime.json_io import write_json
from xdistil.runtime.mesh import main_process_first
from xdistil.runtime.phase_times import PhaseTimes
from xdistil.runtime.session import Session, open_session
from xdistil.runtime.trackers import check_trackers, open_trackers
from xdistil.runtime.workdir import claim_workdir
from xdistil.validation.experiment import validate

log = logging.getLogger("xdistil")


def run(
    experiment: Experiment,
    workdir: str | Path,
    command: Sequence[str] = ("xdistil.run",),
    verbose: bool = False,
) -> Results:
    """Runs an experiment to its end, or resumes where an earlier call in the workdir stopped.

    A finished workdir prints its table and returns its results again, if its inputs and its student
    are still the same. Where several processes run it together, each calls this with the same
    arguments and gets the same results; the first one writes.

    Args:
        experiment: what to do; it must not be changed any more.
        workdir: folder of everything that the run writes; the same one for all processes.
        command: the command line, for environment.json.
        verbose: print the details of the plan; train.log holds them in any case.

    Returns:
        The content of results.json.

    Raises:
        InputError: a mistake in the experiment, its files or its models; nothing has been trained.
        LostProcessError: one of several processes is gone.
        StoppedError: SIGTERM or SIGINT came; the same call resumes.
        DivergenceError: a loss is not finite; the workdir's `diverged` reproduces it.
    """
    validate(experiment)
    experiment = expand_home(experiment)
    if experiment.export:
        check_packages()
    check_trackers(experiment.trackers)
    with open_session(experiment, Path(workdir).expanduser(), verbose) as session:
        if (finished := read_results(session.workdir)) is not None:
            main_process_first(partial(_check_finished, session, finished))
            log.info("%s is finished.\n\n%s", session.workdir, render_console(finished))
            return finished
        enable_compilation_cache()
        experiment = session.experiment
        log.info(describe_device(experiment.dtype))
        built = main_process_first(partial(build_and_claim, session, command))
        times = PhaseTimes(session.workdir, session.writes)
        times.add("preparation", time.monotonic() - session.started)
        log.info("%s\n\n%s\n", describe_data(built), describe_plan(built))
        log.debug("%s\n", describe_details(built))
        check_memory(built)
        if session.writes:
            fields = dataclasses.asdict(experiment)
            session.run_log.add_trackers(
                open_trackers(experiment.trackers, experiment.project, session.workdir, fields)
            )
        with showing(session.workdir, session.writes):
            results = _train_and_evaluate(built, session, times)
        results["timing"]["phases"] = times.seconds
        results["timing"]["total"] = time.monotonic() - session.started
        main_process_first(partial(write_outputs, built, session, results))
        session.run_log.summarise(summarise(results))
        log.info("\n%s", render_console(results))
        student = session.workdir / "student"
        log.info("Try it:  echo 'Some text' | xdistil predict --model=%s", student)
        return results


def _train_and_evaluate(built: Run, session: Session, times: PhaseTimes) -> Results:
    with times.phase("teacher"):
        teacher = train_teacher(built, session)
    with times.phase("signals"):
        means = find_means(built, teacher, session)
        states = find_isolated_states(built, teacher, session)
        start = start_student(built, teacher, means, states)
        if not built.corpus.gold:
            built = pseudo_label_dev(built, teacher, session)
        reader = teacher.reader(built.requests, session)
        teacher_scores = score_teacher(built, teacher, session)
    del teacher  # the second copy of a large teacher's parameters
    with times.phase("student"):
        stages = train_student(built, session, reader, start, teacher_scores)
    with times.phase("baselines"):
        baselines = [
            train_baseline(built, session, index, start) for index in range(len(built.baselines))
        ]
    with times.phase("evaluation"):
        results = evaluate(built, session, stages, baselines)
        if session.experiment.export:
            results["export"] = export_student(built, session)
    return results


def _check_finished(session: Session, results: Results, first: bool) -> None:
    if first:
        check_finished(session.experiment, session.workdir, results)
        if not (session.workdir / PAGE).exists():  # of an earlier version, or it was removed
            show_run(session.workdir)


def build_and_claim(session: Session, command: Sequence[str], first: bool) -> Run:
    """Builds the run; the first process claims the workdir for its config and inputs.

    Raises:
        InputError: as `build` does, or where the workdir's run began with other inputs.
    """
    experiment, workdir = session.experiment, session.workdir
    built = build(experiment, workdir / "cache", writes=first)
    if first:
        inputs = fingerprint_inputs(built, workdir / "cache")
        claim_inputs(workdir, inputs)
        claim_workdir(workdir, experiment)
        digests = {name: digest for name, (_, digest) in inputs.items()}
        licenses = {which: find_license(experiment, which) for which in ("teacher", "student")}
        environment = describe_environment(list(command), digests) | {"licenses": licenses}
        write_json(workdir / "environment.json", environment)
        write_json(workdir / "outline.json", outline_run(built))
    return built


def write_outputs(built: Run, session: Session, results: Results, first: bool) -> None:
    """Model cards, figures and the reports; results.json last, which marks a finished run."""
    if not first:
        return
    workdir, experiment = session.workdir, built.experiment
    environment = json.loads((workdir / "environment.json").read_text(encoding="utf-8"))
    for which in ("teacher", "student"):
        if (workdir / which).is_dir():
            write_card(workdir / which, which, results, experiment, environment)
    from xdistil.evaluation.figures import draw_figures  # Matplotlib is slow to import

    draw_figures(workdir / "figures", workdir / "metrics.jsonl", results)
    show_run(workdir, results)
    (workdir / "results.md").write_text(render_markdown(results), encoding="utf-8")
    write_json(workdir / "results.json", results)
