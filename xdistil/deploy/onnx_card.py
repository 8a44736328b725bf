"""The part of a model card about the ONNX files in its folder; it is updated with the files."""

from pathlib import Path
from typing import Any

from xdistil.data.decoding import VITERBI
from xdistil.deploy.onnx_export import FOLDER, QUANTIZED, RECORD, WHOLE
from xdistil.evaluation.formatting import format_bytes, format_score
from xdistil.models.hf.record import read_decoding
from xdistil.runtime.json_io import read_json, write_text

_BEGIN, _END = "<!-- onnx -->", "<!-- end of onnx -->"  # enclose the part, which may be empty
_USE = """\
```python
import numpy, onnxruntime, tokenizers

encoding = tokenizers.Tokenizer.from_file("FOLDER/tokenizer.json").encode("Some text")
given = {names}
session = onnxruntime.InferenceSession("FOLDER/onnx/model.onnx")
logits = session.run(None, {name: numpy.array([each]) for name, each in given.items()})[0]
```"""
_INPUTS = {
    "input_ids": "encoding.ids",
    "attention_mask": "encoding.attention_mask",
    "token_type_ids": "encoding.type_ids",
}


def update_card(folder: Path) -> None:
    """Updates the ONNX part of a folder's card, if there is a card with such a part."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    before, begun, rest = text.partition(_BEGIN)
    _, ended, after = rest.partition(_END)
    if begun and ended:
        write_text(card, before + render_files(folder) + after)


def render_files(folder: Path) -> str:
    """The ONNX part of a card: sizes, the result of the quality gate, and code to copy."""
    whole = folder / FOLDER / WHOLE
    parts = [_BEGIN]
    if whole.exists():
        inputs, config = list(_INPUTS), read_json(folder / "config.json")
        if not config.get("type_vocab_size", 0) > 1:
            inputs.remove("token_type_ids")
        decoded = "; the tags of a sentence are the most probable legal ones"
        if read_decoding(config, "config.json") != VITERBI:
            decoded = ""
        named = ", ".join(f'"{name}": {_INPUTS[name]}' for name in inputs)
        parts += [
            "## ONNX",
            " ".join(
                [
                    f"`{FOLDER}/{WHOLE}` (float32) takes {format_bytes(whole.stat().st_size)}.",
                    *_describe_quantized(folder),
                ]
            ),
            'Load it with `xdistil.load("FOLDER", backend="onnx")`, or run it with ONNX Runtime '
            f"alone (config.json names the classes of the logits{decoded}):",
            _USE.replace("{names}", f"{{{named}}}"),
        ]
    return "\n\n".join([*parts, _END])


def _describe_quantized(folder: Path) -> list[str]:
    """The quantized file and its result at the quality gate, if there is one."""
    path = folder / FOLDER / QUANTIZED
    if not path.exists():
        return []
    trial = read_json(path.with_name(RECORD))["tried"][-1]
    verdicts = {split: trial[split] for split in ("dev", "test") if trial[split]}
    changes = " and ".join(
        f"{100 * (verdict['small'] - verdict['whole']):+.2f} points on {split}"
        for split, verdict in verdicts.items()
    )
    return [
        f"`{FOLDER}/{QUANTIZED}` ({trial['name']}) takes {format_bytes(trial['bytes'])}, or "
        f"{format_bytes(trial['loaded'])} with tokenizer and config.json. Its score differs from "
        f"float32 by {changes}, and no language is significantly worse. Scores by script (float32, "
        f"then quantized): {_list_scripts(list(verdicts.values())[-1])}."
    ]


def _list_scripts(verdict: dict[str, Any]) -> str:
    return ", ".join(
        f"{script} {format_score(whole)} and {format_score(small)}"
        for script, (whole, small, _) in verdict["scripts"].items()
    )
