"""Where teacher and student meet: at subwords, if they have the same ones, or else at words.

With subwords of its own a student learns what the teacher says at the first subword of every word
(tagging) or at the subword that classifies a text, on its own such subwords (data/words.py).
"""

from dataclasses import replace
from pathlib import Path

from xdistil.config import Experiment, Student
from xdistil.data.corpus import Corpus
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.data.train_tokenizer import train_wordpiece
from xdistil.errors import InputError
from xdistil.models.families.bert import EncoderConfig
from xdistil.teacher.signal_file import SignalFolder

_LOSSES = ("representation", "logits", "labels")  # those that look at one subword at a time


def choose_tokenizer(
    experiment: Experiment,
    corpus: Corpus,
    cache: Path,
    writes: bool,
    teachers: Tokenizer | None,
) -> Tokenizer:
    """The student's tokenizer before subwords are dropped; the teacher's own object where it is
    that.

    Args:
        cache: a folder for one that is trained, on the transfer texts.
        writes: train it; otherwise it is there.
        teachers: None where the teacher is a file of signals.

    Raises:
        InputError: no such tokenizer, or one of too few subwords for the characters of the texts.
    """
    student = experiment.student
    if student.tokenizer_pieces:
        folder = cache / "student_tokenizer"
        if writes:
            field = "student.tokenizer_pieces"
            train_wordpiece(corpus.transfer, student.tokenizer_pieces, folder, field)
        return load_tokenizer(str(folder))
    name = student.tokenizer or student.checkpoint
    if not name:
        assert teachers is not None  # or `validate` asks for one of the student's own
        return teachers
    own = load_tokenizer(name, words=corpus.task.kind == "tagging")
    if teachers is None:
        return own
    same = own.backend.get_vocab() == teachers.backend.get_vocab()
    if student.tokenizer:
        same = own.backend.to_str() == teachers.backend.to_str()
    return teachers if same else own


def check_losses(experiment: Experiment) -> None:
    """Raises InputError for what teacher and student cannot do where they meet at words: a loss on
    pairs of subwords, or a teacher that reads the student's rows in every step."""
    why = (
        "the student's subwords are not the teacher's: drop it, or give it the teacher's tokenizer"
    )
    if experiment.teacher.signals:
        why = "a file of signals is of words: drop it"
    for i, stage in enumerate(experiment.plan):
        for loss in stage.loss.split("+"):
            if loss not in _LOSSES:
                raise InputError(
                    f"plan[{i}].loss has {loss}, which compares pairs of subwords, and {why}."
                )
    if experiment.teacher.cache == "never" and not experiment.teacher.signals:
        raise InputError(
            "teacher.cache=never has the teacher read the student's subwords in every step, and "
            "they are not its own: set teacher.cache=auto."
        )


def settle_start(experiment: Experiment) -> Student:
    """The student; without word embeddings of a teacher or checkpoint it starts at random."""
    student = experiment.student
    if experiment.teacher.signals and not (student.embeddings or student.checkpoint):
        return replace(student, embeddings="random")
    return student


def shape_of(signals: SignalFolder, row_length: int) -> EncoderConfig:
    """What is known of the teacher behind a file, which reads no row of ours."""
    return EncoderConfig(
        embedding_size=signals.width,
        hidden_size=signals.width,
        layers=signals.layers,
        positions=max(EncoderConfig.positions, row_length),
    )
