"""A damaged or hostile tokenizer is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.models.hf.hostile.damage import edit, refuse


def no_unknown(raw: dict) -> None:
    del raw["model"]["vocab"]["[UNK]"]
    raw["added_tokens"] = [each for each in raw["added_tokens"] if each["content"] != "[UNK]"]


def only_special(raw: dict) -> None:
    kept = {f"[{role}]" for role in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    raw["model"]["vocab"] = {k: v for k, v in raw["model"]["vocab"].items() if k in kept}


def unigram(vocabulary: list, unknown: int | None) -> Callable[[dict], None]:
    model = {"type": "Unigram", "unk_id": unknown, "vocab": vocabulary}
    return lambda raw: raw.update(model=model)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (no_unknown, "Missing [UNK]"),
        (lambda raw: raw["model"].update(unk_token="<none>"), "Missing [UNK]"),
        (only_special, "no subword but special ones"),
        (
            lambda raw: raw["model"]["vocab"].update(Anna=10**9),
            "1000000001 subwords and the model's",
        ),
        (lambda raw: raw["model"]["vocab"].update(Anna=2**31), "has 2147483649 subwords"),
        (lambda raw: raw["model"]["vocab"].update(Anna=500), "has 501 subwords"),
        (lambda raw: raw["model"]["vocab"].update(Anna=-1), "has no tokenizer that can be used"),
        (lambda raw: raw["model"].update(type="Nope"), "has no tokenizer that can be used"),
        (unigram([["a", 0.0]], None), "has no tokenizer that can be used"),
        (unigram([["a", 0.0]], 99), "has no tokenizer that can be used"),
        (unigram([], None), "has no tokenizer"),
        (
            lambda raw: raw["post_processor"]["special_tokens"]["[CLS]"].update(ids=[10**9]),
            "puts subword 1000000000 around texts",
        ),
        (lambda raw: raw["post_processor"].update(special_tokens={}), "tokenizer that can be used"),
        (
            lambda raw: raw["post_processor"].update(single=raw["post_processor"]["single"][:1]),
            "does not give each text once",
        ),
        (
            lambda raw: raw.update(
                normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}
            ),
            "has no tokenizer that can be used",
        ),
    ],
)
def test_a_tokenizer_that_cannot_cut_every_text_is_refused(change, words: str, write) -> None:
    refuse(write(edit("tokenizer.json", change)), words)


def test_a_folder_without_the_files_of_a_tokenizer_is_refused(write) -> None:
    def change(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").unlink()

    refuse(write(change), "has no tokenizer")


def test_the_code_of_a_folder_is_never_run_nor_asked_about(write, monkeypatch) -> None:
    def change(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        settings = {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        (folder / "own.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Own: pass\n")

    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder = write(change, "lstm")
    refuse(folder, "has no tokenizer that can be used")
    assert not (folder / "ran").exists()
