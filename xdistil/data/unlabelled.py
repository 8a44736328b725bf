"""Raw texts -> the corpus of a run without labels, whose task is that of its teacher.

A seeded share of the texts is held out, on which the predictions of student and teacher are
compared. Labelled dev and test files in the same folder are used for scores only.
"""

import logging
from pathlib import Path

from xdistil import config
from xdistil.data.corpus import (
    Corpus,
    check_languages,
    hold_out,
    keep_languages,
    read_transfer,
    split_languages,
    take_evenly,
)
from xdistil.data.examples import Example, Task
from xdistil.data.gold import NOTHING_READ, find_file, read_gold
from xdistil.data.streamed import number_languages
from xdistil.errors import InputError

DEV_FRACTION = 0.1  # share of the texts held out if data.dev_fraction is not set
_log = logging.getLogger("xdistil")


def lacks_labels(data: config.Data) -> bool:
    """Whether there are no labelled training sentences: no task folder, or no train file in it."""
    if data.generate:
        return False
    folder = Path(data.folder)
    return not data.folder or (folder.is_dir() and find_file(folder, "train") is None)


def read_unlabelled(data: config.Data, task: Task, seed: int) -> Corpus:
    """The texts of `data.transfer` or of the folder's transfer file, part of them held out as dev.

    Args:
        task: the task of the teacher.
        seed: draws the held-out texts.

    Raises:
        InputError: no texts, too few to hold some out, or gold labels that the task does not have.
    """
    if data.folder and not Path(data.folder).is_dir():
        raise InputError(f"data.folder {data.folder!r} is not a folder.")
    if data.train_languages:
        raise InputError(
            "data.train_languages selects labelled training sentences, and there are none: remove "
            "it."
        )
    transfer = read_transfer(data, task, raw=True)
    if transfer is None:
        raise InputError(
            f"{data.folder} has neither a train nor a transfer file: add transfer.txt, or set "
            "data.transfer."
        )
    reading = NOTHING_READ
    gold: dict[str, list[Example]] = {}
    if data.folder:
        _, gold, reading = read_gold(data, task, len(transfer[0].inputs))
    known = {name for each in (transfer, *gold.values()) for name in number_languages(each)[0]}
    languages = split_languages(data.languages)
    if len(known) > 1:
        check_languages("data.languages", languages, known)
    kept = {name: keep_languages(examples, languages) for name, examples in gold.items()}
    fraction = data.dev_fraction or DEV_FRACTION
    rest, held = hold_out(take_evenly(transfer, data.transfer_limit), fraction, seed)
    if not rest or not held:
        raise InputError(
            f"data.dev_fraction {fraction:g} leaves {len(rest)} transfer texts and holds out "
            f"{len(held)}: add texts, or choose another fraction."
        )
    _log.info("no labels: the teacher's predictions replace them; %d texts held out", len(held))
    test, dev = kept.get("test") or None, kept.get("dev") or None
    return Corpus(task, [], list(held), test, rest, False, dev, reading)
