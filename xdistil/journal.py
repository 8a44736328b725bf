"""What a run leaves behind to read: config, environment, log, metrics, and the line on the console.

The only module that prints. Every JSON number is finite; what is undefined is null.
"""

import contextlib
import json
import logging
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import tensorboardX

log = logging.getLogger("xdistil")

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "transformers", "numpy")


def write_json(path: Path, content: Any) -> None:
    """Writes JSON whole or not at all; NaN and infinities become null."""
    text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)


def finite(content: Any) -> Any:
    """The same JSON value with every NaN and infinity replaced by None."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def describe_device() -> str:
    """What the computation runs on, in words; tells how to use a GPU that JAX does not see."""
    devices = jax.devices()
    kind = devices[0].device_kind
    text = f"JAX {jax.__version__} on {len(devices)} x {kind}, {os.cpu_count()} CPU cores"
    gpu = Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists()
    if gpu and devices[0].platform == "cpu":
        text = (
            "A GPU is in this machine, but JAX runs on the CPU: pip install 'xdistil[cuda]' "
            f"would use it. {text}"
        )
    return text


def describe_environment(command: list[str], fingerprints: dict[str, str]) -> dict[str, Any]:
    """Versions, command line, data fingerprints and device, for environment.json."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu": _name_cpu(),
        "cpu_cores": os.cpu_count(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "command": shlex.join(command),
        "data": fingerprints,
    }


def _name_cpu() -> str:
    """The processor as its maker calls it, where the system tells; its architecture elsewhere."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(errors="replace").splitlines() if told.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


class Journal:
    """metrics.jsonl, TensorBoard files and the progress line of one workdir."""

    def __init__(self, workdir: Path, writes: bool = True) -> None:
        """Opens metrics.jsonl for appending; a journal that does not write keeps nothing.

        Of several processes one writes: the others go through the same motions.
        """
        self._path = workdir / "metrics.jsonl" if writes else Path(os.devnull)
        self._file, self._writes = self._path.open("a", encoding="utf-8"), writes
        board = str(workdir / "tensorboard")
        self._board = tensorboardX.SummaryWriter(board, write_to_disk=writes)
        self._terminal = writes and sys.stderr.isatty()
        self._shown = 0.0

    def position(self) -> int:
        """Byte offset of the end of metrics.jsonl, for a cursor."""
        self._file.flush()
        return self._file.tell()

    def holds(self, position: int) -> bool:
        """Whether metrics.jsonl reaches to a position; one that does not write says yes."""
        return not self._writes or position <= self.position()

    def rewind(self, position: int) -> None:
        """Cuts metrics.jsonl to an earlier position: what came after it will come again."""
        self._file.flush()
        if position < self._file.tell():
            self._file.truncate(position)
            self._file.seek(position)

    def forget(self, plan: str) -> None:
        """Cuts metrics.jsonl before the lines of a plan that begins anew; none comes after it."""
        position = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or json.loads(line)["plan"] == plan:
                    break
                position += len(line)
        self.rewind(position)

    def record(self, line: dict[str, Any]) -> None:
        """One line of metrics.jsonl; its numbers go to TensorBoard as well."""
        self._file.write(json.dumps(finite(line), ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()
        for name, value in line.items():
            if isinstance(value, float) and math.isfinite(value):
                self._board.add_scalar(
                    f"{line['plan']}/{line['stage']}/{name}", value, line["step"]
                )

    def progress(self, text: str) -> None:
        """A line that overwrites itself on a terminal; elsewhere a plain one, twice a minute."""
        now = time.monotonic()
        if self._terminal:
            sys.stderr.write(f"\r\x1b[2K{text}")
            sys.stderr.flush()
        elif now - self._shown >= 30:
            log.info(text)
            self._shown = now

    def end_progress(self) -> None:
        """Leaves the progress line behind."""
        if self._terminal:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        self._board.close()


@contextlib.contextmanager
def open_log(workdir: Path, process: int = 0) -> Iterator[None]:
    """Sends the package's messages to the console (stderr) and to train.log.

    Processes but the first send their warnings to the console alone.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if process:
        handlers[0].setLevel(logging.WARNING)
        handlers[0].setFormatter(logging.Formatter(f"process {process}: %(message)s"))
    else:
        handlers[0].setFormatter(logging.Formatter("%(message)s"))
        handlers.append(logging.FileHandler(workdir / "train.log", encoding="utf-8"))
        handlers[1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level, propagate = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
        log.setLevel(level)
        log.propagate = propagate
