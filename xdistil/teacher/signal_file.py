"""A folder of signals: what a teacher, in any framework, computed of texts, to learn from.

docs/signals.md describes the folder. Nothing here needs JAX, so that the program that runs the
teacher can write one with `SignalWriter`.
"""

import hashlib
import json
import os
import shutil
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from xdistil.data.examples import Example, Task
from xdistil.data.word_alignment import count_words
from xdistil.errors import InputError, show

FORMAT, VERSION = "xdistil-signals", 1
HEADER, TEXTS, OFFSETS, PRESENT = "signals.json", "texts.npy", "offsets.npy", "present.npy"
_DTYPES = ("<f2", "<f4")
_DIGEST = 32  # bytes of a SHA-256
_LARGEST = 1 << 20  # layers, or numbers in a hidden state
_CHECKED = 1 << 22  # numbers looked at together


def digest_inputs(inputs: Sequence[str], kind: str) -> bytes:
    """What a text is found by: the SHA-256, in UTF-8, of a sentence's words joined by single
    spaces (tagging), or of one or two texts joined by a tab (classification)."""
    return hashlib.sha256((" " if kind == "tagging" else "\t").join(inputs).encode()).digest()


@dataclass(frozen=True)
class SignalFolder:
    """A teacher's values of E texts: N of them, one a word (tagging) or one a text."""

    path: Path
    teacher: str  # what its writer called it
    layers: int
    width: int  # of its hidden states
    texts: np.ndarray  # S32[E] digests, ascending
    order: np.ndarray  # i64[E] which text of the file each of these is
    offsets: np.ndarray  # i64[E+1] text e has the values offsets[e]:offsets[e+1]
    present: np.ndarray | None  # bool[N] which values there are; None: all
    values: dict[str, np.ndarray]  # f[N,width] by name: logits, in the task's order; hidden-N

    @property
    def name(self) -> str:
        """The folder, and what its writer called the model."""
        called = f" of {self.teacher}" if self.teacher else ""
        return f"signals{called} from {self.path}"

    @property
    def summary(self) -> str:
        """What it holds."""
        return (
            f"{', '.join(sorted(self.values))} of {len(self.texts):,} texts "
            f"({self.offsets[-1]:,} values), {self.layers} layers x {self.width}"
        )

    @property
    def source(self) -> str:
        """What errors call it."""
        return f"the signals of {self.path}"

    @property
    def files(self) -> dict[str, Path]:
        """All of its files, by role."""
        paths = sorted(path for path in self.path.iterdir() if path.suffix in (".json", ".npy"))
        return {f"teacher.signals/{path.name}": path for path in paths}

    def find_texts(self, examples: Sequence[Example], task: Task) -> np.ndarray:
        """i64[examples] which text of the file each of them is; -1: none."""
        wanted = np.array([digest_inputs(e.inputs, task.kind) for e in examples], f"S{_DIGEST}")
        at = np.minimum(np.searchsorted(self.texts, wanted), len(self.texts) - 1)
        return np.where(self.texts[at] == wanted, self.order[at], -1)

    def locate(self, examples: Sequence[Example], task: Task, what: str) -> np.ndarray:
        """i64[W] where the values of each of the examples' words (texts) stand; -1: it has none.

        Args:
            what: what the examples are called, for errors.

        Raises:
            InputError: an example that the file has not, or has with another number of values.
        """
        found, sizes = self.find_texts(examples, task), count_words(examples, task)
        if missing := np.flatnonzero(found < 0).tolist():
            text = " ".join(examples[missing[0]].inputs)
            raise InputError(
                f"{len(missing):,} of the {len(examples):,} texts of {what} are not in the signals "
                f"of {self.path}, the first of them {show(text)}: write those of the same texts "
                "that data.folder and data.transfer name, cut into the same words."
            )
        first = self.offsets[found]
        given = self.offsets[found + 1] - first
        if wrong := np.flatnonzero(given != sizes).tolist():
            raise InputError(
                f"{self.path / OFFSETS}: text {found[wrong[0]]} has {given[wrong[0]]} values, and "
                f"should have {sizes[wrong[0]]}, one a "
                f"{'word' if task.kind == 'tagging' else 'text'}."
            )
        begin = np.cumsum(sizes) - sizes
        place = np.repeat(first - begin, sizes) + np.arange(sizes.sum())
        return place if self.present is None else np.where(self.present[place], place, -1)


def open_signals(folder: str | Path, task: Task) -> SignalFolder:
    """Opens what a `SignalWriter` wrote, memory-mapped, and checks all of it.

    Logits whose labels stand in another order are put into the task's.

    Raises:
        InputError: no such folder; a missing or damaged file; another version, task or labels;
            a value that is not finite.
    """
    folder = Path(folder)
    header = _read_header(folder / HEADER, task)
    texts = _load(folder / TEXTS, ("|u1",), (None, _DIGEST))
    offsets = np.array(_load(folder / OFFSETS, ("<i8",), (len(texts) + 1,)))
    if not len(texts) or offsets[0] != 0 or np.any(np.diff(offsets) < 0):
        raise InputError(
            f"{folder / OFFSETS} must begin with 0 and never fall, and {TEXTS} must name a text."
        )
    count = int(offsets[-1])
    present = None
    if (folder / PRESENT).exists():
        present = np.array(_load(folder / PRESENT, ("|b1",), (count,)))
    widths = {f"hidden-{layer}": header["width"] for layer in header["hidden"]}
    if header["labels"]:
        widths["logits"] = len(header["labels"])
    values = {}
    for name, width in widths.items():
        values[name] = _load(folder / f"{name}.npy", _DTYPES, (count, width))
        _check_finite(folder / f"{name}.npy", values[name])
    if header["labels"] and tuple(header["labels"]) != task.labels:
        columns = [header["labels"].index(label) for label in task.labels]
        values["logits"] = np.ascontiguousarray(values["logits"][:, columns])
    digests = np.frombuffer(texts.tobytes(), f"S{_DIGEST}")
    order = np.argsort(digests, kind="stable")
    return SignalFolder(
        path=folder,
        teacher=header["teacher"],
        layers=header["layers"],
        width=header["width"],
        texts=digests[order],
        order=order,
        offsets=offsets,
        present=present,
        values=values,
    )


def _read_header(path: Path, task: Task) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"teacher.signals: {path} does not exist: name a folder as docs/signals.md has it."
        )
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputError(f"{path} is no valid JSON: write the signals again.") from None
    _check_header(header, path, task)
    return {**header, "teacher": str(header.get("teacher") or "")}


def _check_header(header: Any, path: Path, task: Task) -> None:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{path}: its format is not {FORMAT!r}: see docs/signals.md.")
    if header.get("version") != VERSION:
        raise InputError(
            f"{path}: version {show(header.get('version'))} is not {VERSION}, the one that is read "
            "here."
        )
    if header.get("task") != task.kind:
        raise InputError(
            f"{path}: its task is {show(header.get('task'))}, and that of the data {task.kind!r}: "
            "name signals of this data."
        )
    for name in ("layers", "width"):
        if not _is_count(header.get(name)) or not 0 < header[name] <= _LARGEST:
            raise InputError(
                f"{path}: {name} is {show(header.get(name))}: a whole number from 1 to {_LARGEST}."
            )
    labels, hidden = header.setdefault("labels", []), header.setdefault("hidden", [])
    if not isinstance(hidden, list) or not all(map(_is_count, hidden)):
        raise InputError(f"{path}: hidden is {show(hidden)}: a list of layers, 0 the embeddings.")
    if any(layer > header["layers"] for layer in hidden) or len(set(hidden)) < len(hidden):
        raise InputError(
            f"{path}: hidden is {show(hidden)}: layers from 0 to {header['layers']}, each once."
        )
    named = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    if labels and not (named and sorted(labels) == sorted(task.labels)):
        raise InputError(
            f"{path}: its labels are {show(labels)}, and those of the data "
            f"{show(list(task.labels))}: they must be the same names, in any order."
        )
    if not labels and not hidden:
        raise InputError(f"{path} names neither labels, for logits, nor hidden states.")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _load(path: Path, dtypes: Sequence[str], shape: tuple[int | None, ...]) -> np.ndarray:
    """A memory-mapped .npy file of one of these types and this shape; None is any length."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path} is missing or damaged ({' '.join(str(error).split())[:120]}): write the "
            "signals again."
        ) from None
    fits = found.ndim == len(shape) and all(
        size in (None, its) for size, its in zip(shape, found.shape, strict=True)
    )
    if found.dtype.str not in dtypes or not fits:
        told = ", ".join("any" if size is None else str(size) for size in shape)
        raise InputError(
            f"{path} holds {found.dtype.str}{list(found.shape)}, and should hold "
            f"{' or '.join(dtypes)}[{told}]."
        )
    return found


def _check_finite(path: Path, values: np.ndarray) -> None:
    rows = max(1, _CHECKED // values.shape[1])
    for first in range(0, len(values), rows):
        sound = np.isfinite(values[first : first + rows]).all(axis=1)
        if not sound.all():
            raise InputError(
                f"{path} holds a number that is not finite, in row {first + int(sound.argmin())}: "
                "write the signals again, in float32 if float16 is too narrow."
            )


class SignalWriter:
    """Writes a folder of signals, text by text; it appears, complete, when the block ends.

    with SignalWriter("signals", "tagging", labels, layers=6, width=384, hidden=[4]) as writer:
        for words in sentences:
            writer.add(words, logits=..., hidden={4: ...})
    """

    def __init__(
        self,
        folder: str | Path,
        task: str,
        labels: Sequence[str],
        layers: int,
        width: int,
        hidden: Sequence[int] = (),
        dtype: str = "float16",
        teacher: str = "",
    ) -> None:
        """Begins a folder.

        Args:
            folder: a name that is free.
            task: tagging or classification.
            labels: the classes in the order of the logits; empty: logits are not written.
            layers, width: of the teacher; width that of its hidden states.
            hidden: which hidden states are written: 0 is the embeddings, `layers` the last.
            dtype: float16 or float32, of what is written.
            teacher: what it is called, for people.

        Raises:
            InputError: an argument that is none of these, or a folder that is there.
        """
        self.folder, self.task = Path(folder).expanduser(), task
        if self.folder.exists():
            raise InputError(f"{self.folder} exists: name another folder for the signals.")
        if task not in ("tagging", "classification") or dtype not in ("float16", "float32"):
            raise InputError(
                f"Signals are of tagging or classification in float16 or float32, not {show(task)} "
                f"in {show(dtype)}."
            )
        self._header: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "task": task,
            "labels": list(labels),
            "layers": layers,
            "width": width,
            "hidden": list(hidden),
            "teacher": teacher,
        }
        self._partial = self.folder.with_name(f".{self.folder.name}.{os.getpid()}")
        if len(set(labels)) < len(labels):
            raise InputError(f"labels are {show(list(labels))}: each stands there once.")
        _check_header(self._header, self.folder, Task(task, tuple(labels)))
        self._partial.mkdir(parents=True)
        widths = {"logits": len(labels)} if labels else {}
        widths |= {f"hidden-{layer}": width for layer in hidden}
        self._values = {
            name: _GrowingArray(self._partial / f"{name}.npy", dtype, (size,))
            for name, size in widths.items()
        }
        self._texts = _GrowingArray(self._partial / TEXTS, "uint8", (_DIGEST,))
        self._present = _GrowingArray(self._partial / PRESENT, "bool", ())
        self._offsets = array("q", [0])
        self._seen: set[bytes] = set()

    def add(
        self,
        inputs: Sequence[str],
        logits: Any = None,
        hidden: Mapping[int, Any] | None = None,
        present: Any = None,
    ) -> None:
        """The signals of a text; of one that was added before they are left out.

        Args:
            inputs: a sentence's n words (tagging), or one or two texts (classification; n is 1).
            logits: f[n,C], or f[C] of a text.
            hidden: f[n,width], or f[width], by layer: of the first subword of each word, or of the
                subword that is classified.
            present: bool[n] which of the words have values, where some have none (a teacher that
                cuts long sentences off); rows of the others count for nothing.

        Raises:
            InputError: values of another shape, too many or too few, or not finite in the dtype
                that is written.
        """
        digest = digest_inputs(inputs, self.task)
        if digest in self._seen:
            return
        count = len(inputs) if self.task == "tagging" else 1
        known = np.ones(count, bool) if present is None else np.asarray(present, bool).reshape(-1)
        if len(known) != count:
            raise InputError(f"present has {len(known)} values for {count} words.")
        given = {f"hidden-{layer}": each for layer, each in (hidden or {}).items()}
        if logits is not None:
            given["logits"] = logits
        if given.keys() != self._values.keys():
            raise InputError(
                f"signals of a text are {', '.join(sorted(given)) or 'none'}, and should be "
                f"{', '.join(sorted(self._values))}."
            )
        rows = {}
        for name, each in given.items():
            target = self._values[name]
            values = np.asarray(each)
            if values.ndim == 1 and self.task == "classification":
                values = values[None]
            if values.shape != (count, *target.shape):
                raise InputError(
                    f"{name} of {show(' '.join(inputs))} has the shape {values.shape}, and should "
                    f"have {(count, *target.shape)}."
                )
            with np.errstate(over="ignore"):
                rows[name] = np.where(known[:, None], values, 0).astype(target.dtype)
            if not np.isfinite(rows[name]).all():
                raise InputError(
                    f"{name} of {show(' '.join(inputs))} is not finite in {target.dtype}."
                )
        for name, each in rows.items():
            self._values[name].append(each)
        self._seen.add(digest)
        self._texts.append(np.frombuffer(digest, np.uint8)[None])
        self._present.append(known)
        self._offsets.append(self._offsets[-1] + count)

    def close(self) -> None:
        """Completes the folder and gives it its name."""
        for each in (*self._values.values(), self._texts, self._present):
            each.close()
        np.save(self._partial / OFFSETS, np.array(self._offsets, "<i8"))
        text = json.dumps(self._header, ensure_ascii=False, indent=2) + "\n"
        (self._partial / HEADER).write_text(text, encoding="utf-8")
        os.rename(self._partial, self.folder)

    def __enter__(self) -> "SignalWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            shutil.rmtree(self._partial, ignore_errors=True)


class _GrowingArray:
    """A .npy file [N, *shape] written row by row; its header has room for any N."""

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        self.dtype, self.shape, self.count = np.dtype(dtype).newbyteorder("<"), shape, 0
        self._file = path.open("wb")
        self._write_header()

    def _write_header(self) -> None:
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": self.dtype.str,
                "fortran_order": False,
                "shape": (self.count, *self.shape),
            },
        )

    def append(self, rows: np.ndarray) -> None:
        """Rows [n, *shape]."""
        self._file.write(np.ascontiguousarray(rows, self.dtype).data)
        self.count += len(rows)

    def close(self) -> None:
        """Writes how many rows there are."""
        self._file.seek(0)
        self._write_header()
        self._file.close()
