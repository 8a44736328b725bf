"""The whole flow: config -> data -> teacher -> plan -> student -> scores -> folder."""

import logging
import time
from pathlib import Path
from typing import Any

from xdistil.compilation import keep_compilations
from xdistil.config import Experiment, validate
from xdistil.data.pieces import pieces_fingerprint
from xdistil.describe import describe_data, describe_plan
from xdistil.journal import Journal, describe_device, describe_environment, open_log, write_json
from xdistil.mesh import make_mesh
from xdistil.phases import distil, freeze_teacher, score, train_baseline, train_teacher
from xdistil.prepare import prepare
from xdistil.results.report import render_console, render_markdown
from xdistil.setting import Setting
from xdistil.workdir import check_workdir, claim_workdir, open_workdir, read_results

log = logging.getLogger("xdistil")


def run(
    experiment: Experiment, workdir: str | Path, command: list[str] | None = None
) -> dict[str, Any]:
    """Runs an experiment to its end, or goes on where an earlier call in the workdir was cut off.

    A finished workdir prints its table and returns its results again.

    Args:
        experiment: what to do; it must not be changed any more.
        workdir: folder of everything that the run writes.
        command: the command line, for environment.json.

    Returns:
        The content of results.json (its format is described in xdistil/results/report.py).

    Raises:
        InputError: a mistake in the experiment, its files or its models; nothing has been trained.
    """
    validate(experiment)
    workdir = Path(workdir)
    open_workdir(workdir)
    with open_log(workdir):
        check_workdir(workdir, experiment)  # before anything of another run is written over
        results = read_results(workdir)
        if results is not None:
            log.info("%s is finished.\n\n%s", workdir, render_console(results))
            return results
        begin = time.monotonic()
        keep_compilations()
        log.info(describe_device())
        mesh = make_mesh(experiment.mesh.teacher_shards)
        prepared = prepare(experiment, workdir / "cache")
        claim_workdir(workdir, experiment)
        fingerprints = {
            name: pieces_fingerprint(texts.pieces) for name, texts in prepared.student_texts.items()
        }
        write_json(
            workdir / "environment.json",
            describe_environment(command or ["xdistil.run"], fingerprints),
        )
        log.info("%s\n\n%s\n", describe_data(prepared), describe_plan(experiment, prepared))
        journal = Journal(workdir)
        try:
            setting = Setting(experiment, workdir, prepared, journal, mesh)
            teacher = freeze_teacher(setting, train_teacher(setting))
            stages = distil(setting, teacher)
            baselines = [
                train_baseline(setting, teacher, index, sum(stage["limit"] for stage in stages))
                for index in range(len(experiment.baselines))
            ]
            results = score(setting, stages, baselines)
        finally:
            journal.close()
        results["timing"]["total"] = time.monotonic() - begin
        (workdir / "results.md").write_text(render_markdown(results), encoding="utf-8")
        write_json(workdir / "results.json", results)
        log.info("\n%s", render_console(results))
        log.info("Try it:  echo 'Some text' | python predict.py --model=%s", workdir / "student")
    return results
