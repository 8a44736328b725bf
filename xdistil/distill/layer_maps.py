"""Which layers of student and teacher a loss compares."""

import math
from collections.abc import Sequence

from xdistil.errors import InputError


def middle_layer(layers: int) -> int:
    """The teacher layer a single representation is learnt from: 7 of 12 (XtremeDistil, table 8),
    4 of 6."""
    return math.ceil(7 * layers / 12)


def middle_and_last(layers: int) -> tuple[int, ...]:
    """The teacher layers whose states say most of what a student learns: the one that its
    representation is learnt from, and the one that the logits are computed from."""
    return tuple(sorted({middle_layer(layers), layers}))


def name_layers(layers: Sequence[int]) -> str:
    """Such as `layer 2`, or `layers 7 and 12`."""
    return f"layer{'s' * (len(layers) > 1)} {' and '.join(map(str, layers))}"


def upper_layer(layers: int) -> int:
    """The teacher layer whose relations are learnt, as MiniLMv2 has it: 21 of 24, the last of up
    to 12."""
    return layers if layers <= 12 else math.ceil(7 * layers / 8)


def map_hidden(text: str, student: int, teacher: int, field: str) -> tuple[tuple[int, int], ...]:
    """Pairs (student hidden state, teacher hidden state); 0 is the embeddings.

    Args:
        text: `middle` or a teacher layer (both against the student's last), `last` (the student's
            states against the teacher's last L+1), `uniform` (against states as far apart, from the
            embeddings to the last layer; TinyBERT's map), or pairs such as `1:2,3:6`.
        student, teacher: numbers of layers.
        field: the config field, for the error.

    Raises:
        InputError: the text is none of these, or a layer does not exist.
    """
    if text == "middle":
        return ((student, middle_layer(teacher)),)
    if text == "last":
        _enough_layers(student, teacher, field)
        return tuple((i, teacher - student + i) for i in range(student + 1))
    if text == "uniform":
        return tuple((i, math.ceil(i * teacher / student)) for i in range(student + 1))
    return _read_pairs(text, student, teacher, 0, field)


def map_attention(text: str, student: int, teacher: int, field: str) -> tuple[tuple[int, int], ...]:
    """Pairs (student layer, teacher layer) counted from 1, of the maps an attention loss compares.

    Takes and raises the same as `map_hidden`, except that there is no map 0. A relation loss
    compares vectors of the same layers; `upper` is the student's last against `upper_layer`.
    """
    if text == "upper":
        return ((student, upper_layer(teacher)),)
    if text == "middle":
        return ((student, middle_layer(teacher)),)
    if text == "last":
        _enough_layers(student, teacher, field)
        return tuple((i, teacher - student + i) for i in range(1, student + 1))
    if text == "uniform":
        return tuple((i, math.ceil(i * teacher / student)) for i in range(1, student + 1))
    return _read_pairs(text, student, teacher, 1, field)


def _enough_layers(student: int, teacher: int, field: str) -> None:
    if student > teacher:
        raise InputError(
            f"{field} is 'last', but the student has {student} layers and the teacher {teacher}: "
            "name pairs such as 1:2,2:4."
        )


def _read_pairs(
    text: str, student: int, teacher: int, lowest: int, field: str
) -> tuple[tuple[int, int], ...]:
    pairs = []
    for part in text.split(","):
        left, colon, right = part.strip().partition(":")
        if not colon:
            left, right = str(student), left
        if not (left.isdecimal() and right.isdecimal()):
            raise InputError(
                f"{field} is {text!r}: it takes middle, last, uniform, a teacher layer such as 4, "
                "or student:teacher pairs such as 1:2,3:6."
            )
        pair = int(left), int(right)
        if not (lowest <= pair[0] <= student and lowest <= pair[1] <= teacher):
            raise InputError(
                f"{field} pairs student layer {pair[0]} with teacher layer {pair[1]}, but they "
                f"have layers {lowest} to {student} and {lowest} to {teacher}."
            )
        pairs.append(pair)
    return tuple(pairs)
