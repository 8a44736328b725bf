"""Changes of valid files: bytes, JSON values, headers of tensors."""

import json
import struct
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

from tests.fuzz.seeds import Case

TOKENS = (
    *(
        b"\t",
        b"\n",
        b"\r\n",
        b" ",
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"-DOCSTART-",
    ),
    *(b"\xe2\x80\xa8", b"\xe2\x80\x8d", b"\xcc\x81", b"\xf0\x9f\x91\xa9", b"I-PER", b"S-PER", b"O"),
    *(b"{", b"[", b'"', b"\\ud800", b":", b"#", b"1", b"9" * 5000, b"en:", b"a" * 3000, b"[SEP]"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 2**31, 2**32, 2**63, 10**30, 1.5, -0.5, 1e308, 10**400),
    *(float("nan"), float("inf"), "", "x", "a\nb", "\ud800", "x" * 5000, "[UNK]", "../x", [], {}),
    *([0], ["x"], {"0": "O"}, {"x": 1}, [[]], "F16", "I64", "F8_E4M3", "BOOL", "bert", "electra"),
)


def mutate(case: Case, donor: Case, random: Random) -> Case:
    """The files with one of them changed, perhaps by bytes of the donor."""
    name = random.choice(sorted(case))
    content = case[name]
    changed = dict(case)
    pick = random.random()
    if name.endswith((".json", ".jsonl")) and pick < 0.8:
        changed[name] = _mutate_json(content, random)
    elif name.endswith(".safetensors") and pick < 0.8:
        (length,) = struct.unpack("<Q", content[:8].ljust(8, b"\0"))
        header = _mutate_json(content[8 : 8 + length], random)
        changed[name] = struct.pack("<Q", len(header)) + header + content[8 + length :]
    else:
        changed[name] = _mutate_bytes(content, b"".join(donor.values()), random)
    return changed


def _mutate_bytes(content: bytes, donor: bytes, random: Random) -> bytes:
    at, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    end = min(end, at + random.choice((0, 1, 4, 64, 10**6)))
    begin = random.randrange(len(donor) + 1)
    middle = random.choice(
        (
            b"",
            random.choice(TOKENS),
            random.randbytes(random.choice((1, 1, 4, 30))),
            content[at:end] * 2,
            donor[begin : begin + 20],
        )
    )
    return content[:at] + middle + content[end:]


def _mutate_json(content: bytes, random: Random) -> bytes:
    try:
        first, newline, rest = content.partition(b"\n{")  # a line of JSON lines, or a document
        whole = json.loads(first)
    except (ValueError, RecursionError):
        return _mutate_bytes(content, b"", random)
    places = list(iterate_places(whole))
    if not places:
        return _mutate_bytes(content, b"", random)
    parent, key = random.choice(places)
    pick = random.random()
    if pick < 0.15:
        del parent[key]
    elif pick < 0.3:
        parent[key] = random.choice(places)[0]
    elif pick < 0.4 and isinstance(parent, dict):
        parent[str(random.choice(VALUES))[:50]] = parent.pop(key)
    elif pick < 0.55 and type(parent[key]) in (int, float):
        parent[key] += random.choice((-1, 1, 100, 10**9))
    else:
        parent[key] = random.choice(VALUES)
    try:
        return json.dumps(whole).encode() + newline + rest
    except (ValueError, RecursionError):  # a value now holds itself
        return content


def iterate_places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key or index) of every value inside a JSON value."""
    keys: Iterable[Any] = ()
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        yield from iterate_places(value[key])
