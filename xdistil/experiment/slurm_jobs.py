"""The runs of a sweep as SLURM jobs, through submitit: one job for each run.

A job that is warned of its time limit, or preempted, saves its state and ends with exit code 75.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from xdistil.errors import InputError

FOLDER = "slurm"  # of the jobs' own logs, in the folder of a sweep

_STOPPED = 75  # the exit code of a run that has saved its state
_PLATFORMS = "JAX_PLATFORMS"


class Queue:
    """Submits jobs with the same parameters."""

    def __init__(self, folder: Path, parameters: Mapping[str, str | int]) -> None:
        """
        Args:
            folder: of the jobs' own logs; all nodes can write there.
            parameters: of sbatch, such as partition, time (minutes) and gpus_per_node.

        Raises:
            InputError: submitit is not installed, this is no cluster, or it has no such parameter.
        """
        if sys.platform == "win32":
            raise InputError("--slurm: Windows has no SLURM.")
        try:
            import submitit
        except ImportError:
            raise InputError(
                "--slurm needs the package submitit: pip install 'xdistil[slurm]'."
            ) from None
        try:
            self._executor = submitit.SlurmExecutor(folder)
        except RuntimeError:
            raise InputError(
                "--slurm: there is no srun on PATH: start the sweep on a machine of the cluster."
            ) from None
        known = submitit.SlurmExecutor._valid_parameters()
        for name in parameters:
            if name not in known:
                raise InputError(
                    f"--slurm: {name!r} is no parameter of a job; there are "
                    f"{', '.join(sorted(known))}."
                )
        self._executor.update_parameters(job_name="xdistil", **parameters)

    def submit(
        self, command: Sequence[str], console: Path, environment: Mapping[str, str]
    ) -> "SlurmJob":
        """Submits a command; what it prints is added to a file.

        Args:
            environment: of the sweep, as it was started. The job has that of its node, with the
                platforms of JAX from here.
        """
        platforms = environment.get(_PLATFORMS)
        job = self._executor.submit(run_command, list(command), str(console), platforms)
        return SlurmJob(job, console)


class SlurmJob:
    """A job with the methods of a process."""

    def __init__(self, job: Any, console: Path) -> None:
        self.returncode = 0
        self._job, self._console = job, console

    def poll(self) -> int | None:
        """The exit code; None while the job waits or runs."""
        from submitit.core.utils import UncompletedJobError

        if not self._job.done():
            return None
        try:
            self.returncode = self._job.result()
        except UncompletedJobError:  # it ended before its command
            state = self._job.state
            if state.startswith("CANCELLED"):
                self.returncode = _STOPPED
            else:
                self.returncode = 1
                sentence = f"SLURM job {self._job.job_id} ended with {state}"
                with self._console.open("a", encoding="utf-8") as file:
                    file.write(f"xdistil train: {sentence}; see {self._job.paths.stderr}.\n")
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Cancels the job: SLURM sends SIGTERM, and later SIGKILL."""
        self._job.cancel(check=False)


def run_command(command: Sequence[str], console: str, platforms: str | None) -> int:
    """Runs a command on the node of a job; returns its exit code.

    SIGUSR2, by which submitit warns of the time limit, becomes SIGTERM: the command saves its
    state.

    Args:
        console: the file that gets what the command prints.
        platforms: JAX_PLATFORMS of the command; None: unset.
    """
    environment = {name: value for name, value in os.environ.items() if name != _PLATFORMS}
    if platforms is not None:
        environment[_PLATFORMS] = platforms
    # SLURM may send the warning to the command too, which does not know it.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    with open(console, "ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def stop(number: int, frame: FrameType | None) -> None:
        process.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGUSR2, stop)
    return process.wait()
