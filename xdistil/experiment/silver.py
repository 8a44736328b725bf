"""The votes of annotators in a run: texts to learn from, and the task where no file has labels.

Silver labels are what votes decide. The texts of dev and test are no training texts, whoever else
answered them: they are left out of the silver texts, and of the transfer texts that answers bring.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from xdistil import config
from xdistil.annotators.answers import digest_text, guess_task
from xdistil.config import Experiment
from xdistil.data.corpus import (
    Corpus,
    check_languages,
    hold_out,
    keep_languages,
    read_transfer,
    split_languages,
    take_evenly,
)
from xdistil.data.examples import UNKNOWN_LANGUAGE, Example, Task, make_task
from xdistil.data.gold import Reading, find_file, read_gold
from xdistil.data.label_names import read_labels
from xdistil.data.streamed import number_languages, take_examples
from xdistil.data.tag_notation import Notation
from xdistil.data.tag_schemes import is_tag
from xdistil.errors import InputError
from xdistil.teacher.voted_texts import VotedTexts, find_answers, open_votes

_log = logging.getLogger("xdistil")


def read_without_train(data: config.Data, labels: str) -> Corpus:
    """The corpus of a run whose training texts are those that annotators answered.

    dev and test are gold where the folder has them. dev is empty where it has none: it is held out
    of the silver texts later (`data.dev_fraction`).

    Args:
        data: its transfer texts are those of the answers where there are no others.
        labels: of the teacher, the files of answers.

    Raises:
        InputError: a damaged file; no dev and no share to hold out; labels of another kind of task
            than the answers.
    """
    folder = Path(data.folder) if data.folder else None
    if folder is not None and not folder.is_dir():
        raise InputError(f"data.folder {data.folder!r} is not a folder.")
    dev = find_file(folder, "dev") if folder else None
    if dev is None and not data.dev_fraction:
        where = f"{folder} has no dev file" if folder else "data.folder is empty"
        raise InputError(
            f"{where}: name a folder with gold sentences in dev.tsv, or set data.dev_fraction=0.1 "
            "to hold out a tenth of the texts of teacher.labels, labelled by the votes."
        )
    task, gold, reading = _read_labels(data, folder, labels)
    transfer = read_transfer(data, task, raw=True)
    assert transfer is not None  # the files of answers, if there are no others
    splits: dict[str, Sequence[Example]] = {name: gold.get(name, []) for name in ("dev", "test")}
    known = {each.language for examples in splits.values() for each in examples}
    for field in ("languages", "train_languages"):
        wanted = split_languages(getattr(data, field))
        if len(known) > 1:
            check_languages(f"data.{field}", wanted, known)
        for name in ("dev", "test") if field == "languages" else ("dev",):
            splits[name] = _choose_languages(splits[name], wanted)
    if dev is not None and not splits["dev"]:
        raise InputError(f"No sentence of {dev} is in data.languages and data.train_languages.")
    if dev is not None and data.dev_fraction:
        _log.info("data.dev_fraction is not used: %s is there", dev)
    transfer = take_evenly(transfer, data.transfer_limit)
    return Corpus(task, [], splits["dev"], splits["test"] or None, transfer, reading=reading)


def _read_labels(
    data: config.Data, folder: Path | None, labels: str
) -> tuple[Task, dict[str, list[Example]], Reading]:
    """The task, the gold files, and what was understood: the labels are those of labels.tsv, or
    else those that occur, in gold or in answers."""
    guessed = guess_task(find_answers(labels))
    names = read_labels(folder / "labels.tsv") if folder else None
    if folder and any(find_file(folder, name) for name in ("dev", "test")):
        task, gold, reading = read_gold(data)
        if task.kind != guessed.kind or task.multilabel:
            raise InputError(
                f"teacher.labels has answers for {guessed.name}, and the files in {folder} are of "
                f"{task.name}: name other answers, or set data.task."
            )
        if names is None and not set(guessed.labels) <= set(task.labels):
            task = replace(task, labels=tuple(sorted({*task.labels, *guessed.labels})))
        return task, gold, reading
    if names is None:
        told = "as teacher.labels has spans" if guessed.kind == "tagging" else "as the answers are"
        return guessed, {}, Reading(lines=(f"task: {guessed.name}, {told}",))
    assert folder is not None
    kind = "tagging" if all(map(is_tag, names)) else "classification"
    task = make_task(kind, names, Notation("iob2"), folder / "labels.tsv")
    return task, {}, Reading(lines=(f"task: {kind}, as labels.tsv says",))


def read_votes(
    experiment: Experiment, corpus: Corpus, transfer: str
) -> tuple[Corpus, VotedTexts | None]:
    """The corpus with its silver texts, and the votes; None without annotators.

    Args:
        transfer: the files of the transfer texts, as `data.transfer` names them.

    Raises:
        InputError: as `open_votes`; or nothing is left to learn.
    """
    data, teacher, task = experiment.data, experiment.teacher, corpus.task
    if not teacher.labels:
        return corpus, None
    paths = find_answers(teacher.labels)
    gold = corpus.dev if corpus.gold else corpus.gold_dev or ()
    voted = open_votes(
        paths, teacher.votes, task, gold, teacher.min_agreement, calibrate=teacher.calibrate
    )
    silver: Sequence[Example] = voted.make_examples(task, data.segmentation)
    for field in ("languages", "train_languages"):
        silver = _choose_languages(silver, split_languages(getattr(data, field)))
    known = _digest_all([*gold, *(corpus.test or ())], task)
    answered = len(silver)
    silver = [each for each in silver if digest_text(each.inputs, task.kind) not in known]
    lines = voted.describe()
    if answered > len(silver):
        lines.append(
            f"annotators: {answered - len(silver):,} of their {answered:,} texts are in dev or "
            "test, and no stage learns them"
        )
    if corpus.gold and not corpus.dev:
        silver, dev = hold_out(silver, data.dev_fraction, experiment.seed)
        if not silver or not dev:
            raise InputError(
                f"data.dev_fraction {data.dev_fraction} leaves {len(silver)} texts of annotators "
                f"and {len(dev)} for dev: choose another fraction, or name more files in "
                "teacher.labels."
            )
        lines.append(
            f"dev: {len(dev):,} texts of annotators are held out, labelled by the votes: scores on "
            "dev say how well a model agrees with them"
        )
        corpus = replace(corpus, dev=dev, silver_dev=True)
        known |= _digest_all(dev, task)
    texts = corpus.transfer
    if transfer == teacher.labels:
        kept = [digest_text(each.inputs, task.kind) not in known for each in texts]
        if not all(kept):
            texts = take_examples(texts, np.flatnonzero(kept))
    if not texts and corpus.transfer:
        raise InputError(
            "teacher.labels has no text that is not in dev or test: name answers to other texts."
        )
    reading = replace(corpus.reading, lines=(*corpus.reading.lines, *lines))
    return replace(corpus, silver=silver, transfer=texts, reading=reading), voted


def _digest_all(examples: Sequence[Example], task: Task) -> set[str]:
    return {digest_text(each.inputs, task.kind) for each in examples}


def _choose_languages(examples: Sequence[Example], languages: Sequence[str]) -> Sequence[Example]:
    """Those in the languages; all of them where no text says its language."""
    if not examples or number_languages(examples)[0] == [UNKNOWN_LANGUAGE]:
        return examples
    return keep_languages(examples, languages)
