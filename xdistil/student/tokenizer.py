"""The student's tokenizer: the teacher's, another one, or one trained on the transfer texts."""

from collections.abc import Sequence
from pathlib import Path

from xdistil.config import Student
from xdistil.data.examples import Example, Task
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.data.train_tokenizer import train_wordpiece


def choose_tokenizer(
    student: Student,
    task: Task,
    transfer: Sequence[Example],
    cache: Path,
    writes: bool,
    teacher: Tokenizer | None,
) -> Tokenizer:
    """The student's tokenizer before its vocabulary is trimmed.

    Args:
        transfer: the texts that one of its own is trained on.
        cache: a folder for it.
        writes: train it; otherwise it is there.
        teacher: the teacher's tokenizer; None where the teacher has none. The same object is
            returned where the student has the same subwords.

    Raises:
        InputError: no such tokenizer, or one of too few subwords for the characters of the texts.
    """
    if student.tokenizer_pieces:
        folder = cache / "student_tokenizer"
        if writes:
            field = "student.tokenizer_pieces"
            train_wordpiece(transfer, student.tokenizer_pieces, folder, field)
        return load_tokenizer(str(folder))
    name = student.tokenizer or student.checkpoint
    if not name:
        assert teacher is not None  # or `validate` asks for one of the student's own
        return teacher
    own = load_tokenizer(name, words=task.kind == "tagging")
    if teacher is None:
        return own
    same = own.backend.get_vocab() == teacher.backend.get_vocab()
    if student.tokenizer:
        same = own.backend.to_str() == teacher.backend.to_str()
    return teacher if same else own
