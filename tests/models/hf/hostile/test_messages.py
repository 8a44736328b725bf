"""Damaged or hostile Flax messages are refused."""

from pathlib import Path
from typing import Any

import flax.serialization
import numpy as np
import pytest

from tests.models.hf.hostile.damage import refuse

SQUARE = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"bert": SQUARE, "a": SQUARE, "b": SQUARE}, "lacks"),
        ({"classifier": SQUARE, "a": SQUARE, "b": SQUARE}, "lacks"),
        ({"bert": {"a": "b"}}, "holds 1 tensors; config.json asks for 2 layers"),
        ({1: SQUARE}, "damaged or cut short"),
        ([SQUARE], "damaged or cut short"),
        (5, "damaged or cut short"),
        ({"bert": [1, [2]]}, "damaged or cut short"),
        (b"\xc1\xff\x00", "damaged or cut short"),
        (b"\xc7\x03\x01abc", "damaged or cut short"),
        (b"\xdd\xff\xff\xff\xff", "damaged or cut short"),
        (b"\x91" * 10**5, "damaged or cut short"),
    ],
)
def test_a_flax_message_of_something_else_is_refused(tree: Any, words: str, write) -> None:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        content = tree if isinstance(tree, bytes) else flax.serialization.msgpack_serialize(tree)
        (folder / "flax_model.msgpack").write_bytes(content)

    refuse(write(change), words)
