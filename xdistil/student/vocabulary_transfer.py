"""Word embeddings for the subwords of another tokenizer, from those of the teacher's.

Fast Vocabulary Transfer (Gee et al. 2022, arXiv 2402.09977): a subword that both tokenizers have
keeps its row, any other one gets the mean of the rows of the subwords that the teacher cuts it
into.
"""

import json

import numpy as np
from tokenizers import decoders

from xdistil.data.packing import Array
from xdistil.data.tokenizer import Tokenizer

_ROLES = ("cls", "sep", "pad", "unk", "mask", "bos", "eos")
_SAME = {"cls": "bos", "bos": "cls", "sep": "eos", "eos": "sep"}  # one thing, named by families


def transfer_vocabulary(student: Tokenizer, teacher: Tokenizer, embedding: Array) -> np.ndarray:
    """f[V,D] of the teacher's subwords -> f32[v,D] of the student's.

    Special subwords take the row of the same role. Other subwords are identified by their text,
    once the teacher's normaliser has seen it (an uncased teacher has one row for `Oslo` and
    `oslo`), and by whether they start a word, however each tokenizer writes that (`##`, `▁`, `Ġ`).
    What the teacher has no subword of gets the mean row of the subwords into which the teacher cuts
    the text; where there are none, the row of its unknown subword.
    """
    table = np.asarray(embedding, np.float32)
    known = {key: id for id, key in reversed(_read_subwords(teacher).items())}
    unknown = teacher.unk if teacher.unk is not None else teacher.pad
    normalise, encode = teacher.backend.normalizer, teacher.backend.encode
    rows = np.broadcast_to(table[unknown], (student.vocabulary_size, table.shape[1])).copy()
    special = _read_specials(teacher)
    for role, id in _read_specials(student).items():
        rows[id] = table[special.get(role, special.get(_SAME.get(role, ""), unknown))]
    for id, (text, begins) in _read_subwords(student).items():
        if (text, begins) in known:
            rows[id] = table[known[text, begins]]
            continue
        plain = normalise.normalize_str(text).strip(" ▁") if normalise else text
        if (plain, begins) in known:
            rows[id] = table[known[plain, begins]]
        elif ids := encode([plain], is_pretokenized=True, add_special_tokens=False).ids:
            rows[id] = table[ids].mean(axis=0)
    return rows


def count_shared(student: Tokenizer, teacher: Tokenizer) -> int:
    """How many of the student's subwords the teacher has as they are written, special ones
    aside."""
    known = set(_read_subwords(teacher).values())
    return sum(key in known for key in _read_subwords(student).values())


def _read_specials(tokenizer: Tokenizer) -> dict[str, int]:
    """Ids of the special subwords by role."""
    subwords = {role: getattr(tokenizer.wrapper, f"{role}_token", None) for role in _ROLES}
    ids = {
        role: tokenizer.backend.token_to_id(subword)
        for role, subword in subwords.items()
        if subword is not None
    }
    return {role: id for role, id in ids.items() if id is not None}


def _read_subwords(tokenizer: Tokenizer) -> dict[int, tuple[str, bool]]:
    """(text, whether it begins a word) of every subword but special ones, by id, ascending."""
    spec = json.loads(tokenizer.backend.to_str())
    special = {token["content"] for token in spec["added_tokens"] if token["special"]}
    prefix = spec["model"].get("continuing_subword_prefix") or ""
    bytewise = decoders.ByteLevel() if '"ByteLevel"' in json.dumps(spec["decoder"]) else None
    found = {}
    for subword, id in sorted(tokenizer.backend.get_vocab().items(), key=lambda item: item[1]):
        if subword in special:
            continue
        if spec["model"]["type"] == "WordPiece":
            found[id] = subword.removeprefix(prefix), not subword.startswith(prefix)
            continue
        text = subword.replace("▁", " ") if bytewise is None else bytewise.decode([subword])
        found[id] = text.strip(" "), text.startswith(" ")
    return found
