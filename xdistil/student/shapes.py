"""Shapes that a student may have, as configs; and the shapes of most capacity among some."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xdistil.config import Student
from xdistil.data.tokenizer import Tokenizer
from xdistil.errors import InputError, suggest
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bilstm import BiLSTMConfig
from xdistil.models.types import Model
from xdistil.student.footprint import Footprint

Axes = Mapping[str, Sequence[str | int]]

# Fields of a student that make its shape -> the values that are tried.
BILSTM: Axes = {
    "embedding_size": (16, 32, 50, 100, 200, 300),
    "hidden_size": (32, 64, 100, 200, 300, 400, 600),  # units in each direction
    "layers": (1,),
}
TRANSFORMER: Axes = {
    "hidden_size": (64, 128, 192, 256, 384),
    "layers": (1, 2, 3, 4, 6),
}
EMBEDDING_SIZES = (64, 128)  # of a transformer, and its hidden size
FEED_FORWARD = (2, 4)  # times the hidden size
HEAD_SIZE = 32  # of an attention head
VOCABULARY_SIZES = (2_000, 4_000, 8_000, 16_000, 32_000)  # and that of the config
KINDS = ("bilstm", "transformer")
_VARIED = (
    "kind",
    "embedding_size",
    "hidden_size",
    "layers",
    "heads",
    "intermediate_size",
    "vocabulary_size",
)
_PREFIX = "student."


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer that a student may have."""

    tokenizer: Tokenizer
    bytes: int  # of its files
    subwords: float  # in a text, special ones included


@dataclass(frozen=True)
class Shape:
    """A student that could be trained, or was."""

    student: Student
    model: Model
    vocabulary: Vocabulary
    footprint: Footprint

    @property
    def capacity(self) -> tuple[int, int, int]:
        """What more of can only help: vocabulary, width of its embeddings, other parameters."""
        config = self.model.config
        return config.vocabulary_size, config.embedding_size, self.footprint.encoder

    def count_bytes(self, backend: str) -> int:
        """The bytes that a backend loads: the model's file and the tokenizer."""
        return self.footprint.count_bytes(backend) + self.vocabulary.bytes


def read_axes(given: Sequence[str]) -> dict[str, tuple[str | int, ...]]:
    """The values by field of `student.FIELD=VALUE,VALUE` texts.

    Raises:
        InputError: a text of another form, a field that is no part of a shape, or a wrong value.
    """
    axes: dict[str, tuple[str | int, ...]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        field = name.removeprefix(_PREFIX)
        known = [f"{_PREFIX}{each}" for each in _VARIED]
        if not equals or not values or name not in known:
            hint = "" if name in known else suggest(name, known)
            raise InputError(
                f"--sweep={text}: write FIELD=VALUE,VALUE for a field of a student's shape{hint}."
            )
        if field in axes:
            raise InputError(
                f"--sweep={text}: another --sweep names {name}: write all its values in one."
            )
        axes[field] = tuple(_read_value(text, field, each) for each in values.split(","))
    return axes


def _read_value(text: str, field: str, value: str) -> str | int:
    if field == "kind":
        if value not in KINDS:
            raise InputError(f"--sweep={text}: a kind with a shape is {' or '.join(KINDS)}.")
        return value
    least = int(field not in ("embedding_size", "intermediate_size", "vocabulary_size"))
    if not re.fullmatch(r"\d{1,9}", value) or int(value) < least:
        raise InputError(f"--sweep={text}: {value!r} must be a whole number, {least} or more.")
    return int(value)


def list_students(student: Student, axes: Axes, heads: int = 0) -> Iterator[Student]:
    """Students of all shapes, with everything else as `student` has it.

    Args:
        axes: the values to try by field, instead of those of this module; a field that a kind of
            student does not have is left as it is. `vocabulary_size` must be there.
        heads: attention heads of every transformer; 0: by HEAD_SIZE.
    """
    for kind in axes.get("kind", KINDS):
        base = replace(student, kind=str(kind))
        sizes = BILSTM if kind == "bilstm" else TRANSFORMER
        for sized in _vary(base, (*sizes, "vocabulary_size"), {**sizes, **axes}):
            limited = replace(sized, vocabulary="seen") if sized.vocabulary_size else sized
            yield from [limited] if kind == "bilstm" else _vary_inside(limited, axes, heads)


def _vary_inside(student: Student, axes: Axes, heads: int) -> Iterator[Student]:
    """Transformers of one hidden size and depth."""
    width = student.hidden_size
    inside: Axes = {
        "embedding_size": (*(size for size in EMBEDDING_SIZES if size < width), width),
        "intermediate_size": tuple(times * width for times in FEED_FORWARD),
        "heads": (heads or max(1, width // HEAD_SIZE),),
    }
    return _vary(student, tuple(inside), {**inside, **axes})


def _vary(student: Student, names: Sequence[str], axes: Axes) -> Iterator[Student]:
    """Students with all combinations of the values of some fields."""
    for values in itertools.product(*(axes[name] for name in names)):
        changes: dict[str, Any] = dict(zip(names, values, strict=True))
        yield replace(student, **changes)


def list_overrides(student: Student, base: Student) -> list[str]:
    """The flags that turn the student of a config into another."""
    return [
        f"--config.student.{field.name}={value}"
        for field in dataclasses.fields(student)
        if (value := getattr(student, field.name)) != getattr(base, field.name)
    ]


def name_shape(shape: Shape) -> str:
    """A short name, for tables and folders: bilstm-e50-h200-v4000, bilstm-e50-h200-l2-v4000,
    transformer-e64-h128-l2-a4-f512-v4000."""
    config = shape.model.config
    sizes = f"e{config.embedding_size}-h{config.hidden_size}"
    if isinstance(config, EncoderConfig):
        sizes += f"-l{config.layers}-a{config.heads}-f{config.intermediate_size}"
    elif isinstance(config, BiLSTMConfig) and config.layers > 1:
        sizes += f"-l{config.layers}"
    return f"{shape.student.kind}-{sizes}-v{config.vocabulary_size}"


def find_largest(shapes: Sequence[Shape]) -> list[Shape]:
    """The shapes whose capacity no other of the same kind exceeds: more of one thing, and of
    nothing less."""
    largest = []
    for kind in KINDS:
        own = [shape for shape in shapes if shape.student.kind == kind]
        largest += [each for each in own if not any(_exceeds(other, each) for other in own)]
    return largest


def _exceeds(other: Shape, shape: Shape) -> bool:
    pairs = list(zip(other.capacity, shape.capacity, strict=True))
    return all(more >= less for more, less in pairs) and any(more > less for more, less in pairs)
