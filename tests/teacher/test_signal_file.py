"""Signals from a file: what is written is found by its text, and what does not fit is refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from xdistil.data.examples import Example, Task
from xdistil.errors import InputError
from xdistil.teacher.signal_file import SignalWriter, digest_inputs, open_signals

TASK = Task("tagging", ("O", "B-PER", "I-PER"))
PAIRS = Task("classification", ("no", "yes"))
SENTENCES = [("Anna", "slept"), ("Bob",), ("in", "New", "York"), ("Ångström", ".")]
WIDTH = 5


def value(word: str, size: int) -> np.ndarray:
    """Numbers that float16 holds exactly."""
    return np.array([(sum(map(ord, word)) + 7 * i) % 1000 / 8 for i in range(size)])


def write(folder: Path, **changes: object) -> Path:
    """A folder of SENTENCES: logits in another order of labels, hidden states 1 and 3."""
    settings = {"labels": ["I-PER", "O", "B-PER"], "layers": 3, "width": WIDTH, "hidden": [1, 3]}
    with SignalWriter(folder, "tagging", **{**settings, **changes}) as writer:
        for words in SENTENCES:
            writer.add(
                words,
                logits=np.stack([value(word, 3) for word in words]),
                hidden={n: np.stack([value(word * n, WIDTH) for word in words]) for n in (1, 3)},
                present=[word != "New" for word in words],
            )
    return folder


def examples(*sentences: tuple[str, ...]) -> list[Example]:
    return [Example(words, None, "und") for words in sentences]


def test_words_find_their_values_and_logits_their_labels(tmp_path):
    signals = open_signals(write(tmp_path / "signals", teacher="ours"), TASK)
    assert (signals.teacher, signals.layers, signals.width) == ("ours", 3, WIDTH)
    order = [SENTENCES[2], SENTENCES[0], SENTENCES[2]]
    place = signals.locate(examples(*order), TASK, "dev")
    words = [word for sentence in order for word in sentence]
    assert (place < 0).tolist() == [word == "New" for word in words]
    for word, at in zip(words, place, strict=True):
        if at >= 0:
            ours = value(word, 3)  # I-PER, O, B-PER as they were written
            assert signals.values["logits"][at].tolist() == ours[[1, 2, 0]].tolist()
            assert signals.values["hidden-3"][at].tolist() == value(word * 3, WIDTH).tolist()


def test_the_format_is_that_of_the_document(tmp_path):
    """Read by hand, as docs/signals.md says, with the digest of a sentence from elsewhere."""
    folder = write(tmp_path / "signals", dtype="float32")
    header = json.loads((folder / "signals.json").read_text())
    assert (header["format"], header["version"], header["task"]) == (
        "xdistil-signals",
        1,
        "tagging",
    )
    texts, offsets = np.load(folder / "texts.npy"), np.load(folder / "offsets.npy")
    # printf 'in New York' | sha256sum
    digest = "edc30397eddbaa3fdf5958184053c6ffb6aa7f618e95385d349485b588929021"
    assert texts[2].tobytes().hex() == digest
    assert offsets.tolist() == [0, 2, 3, 6, 8]
    logits = np.load(folder / "logits.npy")
    assert (logits.dtype, logits.shape) == (np.float32, (8, 3))
    assert logits[5].tolist() == value("York", 3).tolist()
    assert np.load(folder / "present.npy").tolist() == [True] * 4 + [False] + [True] * 3


def test_a_pair_is_one_value_found_by_both_texts():
    assert digest_inputs(("a b", "c"), "classification") == digest_inputs(("a b\tc",), "tagging")


def test_a_text_that_comes_again_is_left_out(tmp_path):
    with SignalWriter(tmp_path / "s", "classification", ["yes", "no"], 1, 4) as writer:
        for text in ("one", "two", "one"):
            writer.add((text,), logits=[len(text), 1.0])
    assert np.load(tmp_path / "s" / "logits.npy").tolist() == [[3.0, 1.0], [3.0, 1.0]]
    signals = open_signals(tmp_path / "s", PAIRS)
    assert signals.locate(examples(("two",), ("one",)), PAIRS, "dev").tolist() == [1, 0]


def test_a_folder_that_is_not_completed_is_not_there(tmp_path):
    def fail() -> None:
        with SignalWriter(tmp_path / "s", "tagging", ["O"], 1, 4) as writer:
            writer.add(("a",), logits=[[1.0]])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_writer_does_not_wait_for_jax_or_tokenizers():
    code = "import sys, xdistil.teacher.signal_file as s; s.SignalWriter; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "transformers", "tokenizers", "torch"} & set(found.stdout.split())


def damage_header(**changes: object) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "signals.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return apply


def replace_array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        values = change(np.load(folder / name))
        np.save(folder / name, values)

    return apply


def set_value(number: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[4, 1] = number
        return values

    return change


BAD = {
    "no header": (lambda f: (f / "signals.json").unlink(), ["signals.json", "docs/signals.md"]),
    "no JSON": (lambda f: (f / "signals.json").write_text("{"), ["signals.json", "JSON"]),
    "another file": (damage_header(format="x"), ["xdistil-signals"]),
    "a later version": (damage_header(version=2), ["version 2"]),
    "another task": (damage_header(task="classification"), ["'classification'", "'tagging'"]),
    "another label": (damage_header(labels=["O", "B-PER", "I-ORG"]), ["I-ORG", "I-PER"]),
    "a label too few": (damage_header(labels=["O", "B-PER"]), ["B-PER", "I-PER"]),
    "labels that are numbers": (damage_header(labels=[0, 1, 2]), ["[0, 1, 2]", "B-PER"]),
    "too wide": (damage_header(width=1 << 40), ["width is 1099511627776"]),
    "labels no list": (damage_header(labels="O"), ["labels"]),
    "no layers": (damage_header(layers=0), ["layers is 0"]),
    "a layer too high": (damage_header(hidden=[1, 4]), ["[1, 4]", "0 to 3"]),
    "a layer twice": (damage_header(hidden=[1, 1]), ["[1, 1]", "once"]),
    "hidden no list": (damage_header(hidden=3), ["hidden is 3"]),
    "nothing in it": (damage_header(hidden=[], labels=[]), ["neither"]),
    "another width": (damage_header(width=6), ["hidden-1.npy", "[8, 5]", "[8, 6]"]),
    "a file gone": (lambda f: (f / "hidden-3.npy").unlink(), ["hidden-3.npy", "missing"]),
    "a file cut short": (
        lambda f: (f / "logits.npy").write_bytes((f / "logits.npy").read_bytes()[:-7]),
        ["logits.npy", "damaged"],
    ),
    "a pickle": (
        lambda f: np.save(f / "texts.npy", np.array([None, 3], object), allow_pickle=True),
        ["texts.npy", "damaged"],
    ),
    "integers": (replace_array("logits.npy", lambda v: v.astype("i4")), ["logits.npy", "<i4"]),
    "too few values": (replace_array("logits.npy", lambda v: v[:-1]), ["logits.npy", "[7, 3]"]),
    "no number": (replace_array("hidden-1.npy", set_value(np.nan)), ["hidden-1.npy", "row 4"]),
    "infinite": (replace_array("logits.npy", set_value(-np.inf)), ["logits.npy", "row 4"]),
    "falling offsets": (
        replace_array("offsets.npy", lambda v: v[[0, 2, 1, 3, 4]]),
        ["offsets.npy", "never fall"],
    ),
    "a text too many": (replace_array("texts.npy", lambda v: v[[0, 1, 2, 3, 3]]), ["offsets.npy"]),
    "presence of fewer": (replace_array("present.npy", lambda v: v[1:]), ["present.npy", "[7]"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_folder_is_refused_by_the_file(tmp_path, name):
    damage, words = BAD[name]
    damage(write(tmp_path / "signals"))
    with pytest.raises(InputError) as caught:
        open_signals(tmp_path / "signals", TASK)
    for word in words:
        assert word in str(caught.value)


def test_texts_that_are_not_there_are_refused_by_the_first(tmp_path):
    signals = open_signals(write(tmp_path / "signals"), TASK)
    with pytest.raises(InputError, match=r"2 of the 3 texts of dev .* 'New York'"):
        signals.locate(examples(("Bob",), ("New", "York"), ("in", "York")), TASK, "dev")


def test_a_text_with_another_number_of_words_is_refused(tmp_path):
    folder = write(tmp_path / "signals")
    replace_array("offsets.npy", lambda v: np.array([0, 2, 4, 6, 8]))(folder)
    with pytest.raises(InputError, match="text 1 has 2 values, and should have 1"):
        open_signals(folder, TASK).locate(examples(("Bob",)), TASK, "dev")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"logits": np.zeros((2, 3))}, "hidden-1"),
        ({"logits": np.zeros((3, 3)), "hidden": {1: np.zeros((2, 4))}}, r"\(3, 3\).*\(2, 3\)"),
        ({"logits": np.zeros((2, 3)), "hidden": {1: np.zeros((2, 5))}}, r"\(2, 5\).*\(2, 4\)"),
        ({"logits": np.full((2, 3), 1e5), "hidden": {1: np.zeros((2, 4))}}, "logits .* float16"),
        ({"logits": np.zeros((2, 3)), "hidden": {1: np.zeros((2, 4))}, "present": [1]}, "present"),
    ],
)
def test_a_writer_refuses_what_does_not_fit(tmp_path, given, words):
    writer = SignalWriter(tmp_path / "s", "tagging", TASK.labels, 2, 4, [1])
    with pytest.raises(InputError, match=words):
        writer.add(("Anna", "slept"), **given)


def test_a_writer_writes_over_nothing(tmp_path):
    with pytest.raises(InputError, match="exists"):
        SignalWriter(tmp_path, "tagging", TASK.labels, 2, 4)
