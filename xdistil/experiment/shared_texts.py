"""Packed texts that several runs share: cut and packed once, by whichever run comes first.

Texts in a shared folder are named by a fingerprint of everything that their subwords and rows
depend on, so that runs of other seeds, tokenizers or texts have their own.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from xdistil.config import Experiment
from xdistil.data.examples import Example, Task
from xdistil.data.tokenizer import Tokenizer

_FORMAT = 1  # of packed texts: raise it if texts are cut or packed otherwise
_DIGITS = 16  # of a fingerprint in the name of a folder


def find_packed(
    experiment: Experiment,
    task: Task,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    learnt: bool,
    grouped: bool = False,
) -> Path:
    """The folder of packed texts in `teacher.shared_folder`.

    Args:
        learnt: whether steps read them, in rows by temperature; otherwise labels are predicted.
        grouped: whether a row has one language at any temperature.
    """
    data = experiment.data
    settings = [
        _FORMAT,
        task.name,
        task.labels,
        hashlib.sha256(tokenizer.backend.to_str().encode()).hexdigest(),
        data.segmentation,
        data.row_length,
        data.max_length,
        data.temperature if learnt else 1.0,
        learnt,
        experiment.seed,
        *(["grouped"] if grouped and data.temperature == 1 else []),
    ]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for example in examples:
        digest.update(json.dumps([example.inputs, example.labels, example.language]).encode())
    name = f"texts-{digest.hexdigest()[:_DIGITS]}"
    return Path(experiment.teacher.shared_folder) / name


@contextlib.contextmanager
def hold_packed(folder: Path) -> Iterator[bool]:
    """Whether the folder is still to be written, which no other run does meanwhile."""
    import filelock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_name(f".{folder.name}.lock")):
        yield not folder.exists()
