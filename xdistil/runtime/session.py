"""What a process holds while it runs an experiment: workdir, devices, log, and the stop signal."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
from jax.sharding import Mesh

from xdistil.config import Experiment
from xdistil.errors import LostProcessError
from xdistil.runtime.arithmetic import choose_dtype
from xdistil.runtime.mesh import main_process_first, make_mesh, start_processes
from xdistil.runtime.preemption import PreemptionGuard
from xdistil.runtime.run_log import RunLog, open_log
from xdistil.runtime.workdir import (
    check_workdir,
    choose_segmentation,
    continue_begun,
    lock_workdir,
    open_workdir,
)


@dataclass(frozen=True)
class Session:
    """A process of a run, from its start to its end."""

    experiment: Experiment
    workdir: Path
    mesh: Mesh
    run_log: RunLog
    preemption: PreemptionGuard
    started: float = field(default_factory=time.monotonic)

    @property
    def writes(self) -> bool:
        """Whether this process writes the files of the workdir: the first one does."""
        return jax.process_index() == 0


def continue_experiment(experiment: Experiment, workdir: Path) -> Experiment:
    """The experiment with what the run in a workdir began with, if there is one.

    Raises:
        InputError: the workdir belongs to another experiment.
    """
    segmentation = choose_segmentation(experiment, workdir)
    experiment = replace(
        experiment,
        dtype=choose_dtype(experiment, workdir),
        data=replace(experiment.data, segmentation=segmentation),
    )
    experiment = continue_begun(workdir, experiment)
    check_workdir(workdir, experiment)
    return experiment


@contextlib.contextmanager
def open_session(experiment: Experiment, workdir: Path, verbose: bool = False) -> Iterator[Session]:
    """Joins the run's processes and keeps the workdir for this run until the end of the block.

    Args:
        verbose: print what is logged for train.log alone.

    Raises:
        InputError: the workdir belongs to another experiment, is in use, or cannot be written to;
            or the devices cannot be divided as the config asks.
        LostProcessError: one of several processes is gone.
        StoppedError: SIGTERM or SIGINT came.
    """
    preemption = PreemptionGuard()
    start_processes(experiment.distributed)
    # After jax.distributed, which sets a handler of its own.
    with preemption.listening(), contextlib.ExitStack() as held:

        def open_folder(first: bool) -> None:
            if first:
                open_workdir(workdir)
                held.enter_context(lock_workdir(workdir))
            held.enter_context(open_log(workdir, jax.process_index(), verbose))

        main_process_first(open_folder)
        # Before anything of another run is overwritten.
        experiment = continue_experiment(experiment, workdir)
        mesh = make_mesh(experiment.mesh.teacher_shards)
        run_log = RunLog(workdir, writes=jax.process_index() == 0)
        held.enter_context(contextlib.closing(run_log))
        try:
            yield Session(experiment, workdir, mesh, run_log, preemption)
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            reason = str(error).splitlines()[0]
            raise LostProcessError(
                f"Process {jax.process_index()} of {jax.process_count()} cannot reach another "
                f"({reason}): JAX tells which, where task N is process N and the leader process 0; "
                "the same commands, or those of fewer processes, resume from the last checkpoint."
            ) from error
