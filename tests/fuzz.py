"""A coverage-guided search for inputs that break the readers, the model loader or prediction.

    python -m tests.fuzz --minutes=10 --seed=0
    python -m tests.fuzz --replay=fuzz/findings/000-folder

Mutates valid files (bytes, JSON values, headers of tensors), runs one of its targets on them and
keeps each input that takes a path through the reading code that no input took before. `reader`
reads labelled files of every format, `stream` reads them as texts to predict labels for, `answers`
reads what language models answered, `folder` opens a model folder and labels two lines with it,
`predict` labels lines with a valid model. Parquet files are among them where pyarrow is installed.
Anything but an answer of the right shape, or one sentence of an InputError that names its file, is
a finding; so is a run of more than 30 seconds or 16 GiB. A finding is a folder under `--output`
with the input's files and `finding.txt`; the input that ran when the process died is in `current`.
Exits with 1 if there are findings.
"""

import argparse
import contextlib
import inspect
import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from flax import serialization

import xdistil
from xdistil.annotators.answers import read_answers
from xdistil.annotators.prompting.answer_values import read_entities
from xdistil.annotators.prompting.batches import read_result
from xdistil.annotators.prompting.entities import locate_entities
from xdistil.annotators.prompting.gather import gather_answers, write_answers
from xdistil.annotators.prompting.loose_json import find_values
from xdistil.annotators.prompting.marked import read_marked
from xdistil.annotators.prompting.occurrences import Quoted
from xdistil.annotators.prompting.pieces import Texts, TypedText, list_identifiers
from xdistil.annotators.prompting.replies import read_reply
from xdistil.annotators.prompting.types import Type, Types
from xdistil.data.columns import cut_rows
from xdistil.data.conll import find_columns
from xdistil.data.corpus import read_corpus
from xdistil.data.examples import Example, Task, read_file
from xdistil.data.formats import read_texts
from xdistil.data.json_arrays import cut_records
from xdistil.data.json_records import load_json
from xdistil.data.json_spans import tag_words
from xdistil.data.layouts import find_layout
from xdistil.data.lines import FileLines, read_lines
from xdistil.data.packing import pack
from xdistil.data.parquet import read_rows
from xdistil.data.records import read_text_field
from xdistil.data.segmentation import find_units
from xdistil.data.subwords import tokenize
from xdistil.data.tag_notation import find_notation
from xdistil.data.tag_schemes import is_tag
from xdistil.data.text_columns import read_rows as read_table_rows
from xdistil.data.text_stream import name_format, read_plain, read_stream
from xdistil.data.tokenizer import load_tokenizer
from xdistil.data.train_tokenizer import train_wordpiece
from xdistil.deploy.jax_backend import JaxBackend
from xdistil.deploy.predictor import Classifier, Tagger, load
from xdistil.deploy.writers import write_tsv
from xdistil.errors import InputError
from xdistil.models.config_fields import read_field
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bert import Encoder
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.hf.folder import load_model, save_model
from xdistil.models.hf.tensor_files import read_tensors
from xdistil.models.tensor_names import Names

Case = dict[str, bytes]  # the content of each file
Arc = tuple[str, int, int]  # file, the line before, the line

SECONDS = 30  # a run may take
MEMORY = 16 * 2**30
TAGGING = Task("tagging", ("O", "B-PER", "I-PER"))
BILOU = Task("tagging", ("O", "B-PER", "I-PER", "L-PER", "U-PER"))
CLASSES = Task("classification", ("bad", "good"))
WORDS = ("Anna", "went", "to", "Berlin", "with", "Bob")
ROOT = Path(xdistil.__file__).parent
# Something of every file whose lines are traced.
TRACED = {
    inspect.getsourcefile(each)
    for each in (
        *(read_corpus, read_file, read_lines, tokenize, pack, load_tokenizer, is_tag),
        *(find_layout, find_notation, find_units, cut_rows, cut_records, load_json, tag_words),
        *(find_columns, read_text_field, read_stream, read_table_rows, read_rows),
        *(gather_answers, read_reply, read_result, read_entities, read_marked, find_values),
        *(locate_entities, Quoted),
        *(load_model, read_tensors, Names, read_field, Encoder, BiLSTM, JaxBackend, Tagger),
    )
}
READER_SEEDS = {
    "a.tsv": b"fr:x Anna\tfr:O B-PER\nBob went\tB-PER O\n",
    "b.tsv": b"Anna went\ten:good\nBob\tto Berlin\tbad\n",
    "c.conll": b"-DOCSTART- -X- O\n\n# id = 1\n1\tAnna\tB-PER\n2-3\tab\t_\n2\twent\tO\n\n1\tx\tO\n",
    "d.txt": b"Anna NN B-PER\nwent VB O\n\nBob NN I-PER\n",
    "e.jsonl": b'{"tokens": ["Anna", "x"], "tags": ["B-PER", "O"], "language": "fr"}\n',
    "g.csv": b'id,text,label\n1,"Anna, Bob",good\n2,"x\ny",bad\n',
    "h.jsonl": b'{"text": "Anna went.", "label": [[0, 4, "PER"]]}\n{"text": "x", "label": []}\n',
    "i.jsonl": b'{"tokenized_text": ["Anna", "x"], "ner": [[0, 1, "PER"]]}\n',
    "j.jsonl": b'{"data": {"text": "ab c"}, "annotations": [{"result": [{"value": {"start": 0, '
    b'"end": 2, "labels": ["X"]}}]}]}\n{"tokens": ["a"], "ner_tags": ["O"]}\n',
    "k.conll": b"#\tx\n1\ten:Ann\tB-X\tO\n2\ten:went\tO\tO\n\n1\ten:x\tO\tO\n",
    "l.tsv": b"a b c\tB-X L-X O\nd\tU-X\n",
    "m.json": b'[{"text": "Anna went.", "spans": [{"start": 0, "end": 4, "label": "PER"}]},\n'
    b'{"tokens": ["x"], "tags": ["O"]}\n]\n',
    "n.json": b'{"classes": ["X"], "annotations": [["ab c", {"entities": [[0, 2, "X"]]}], null]}',
    "o.json": b'{"text": "a", "cats": {"good": 1.0, "bad": 0.0}}\n{"Tweet": "b", "label": "bad"}\n',
    "p.json": b'[{"data": {"note": "ab"}, "annotations": [{"result": [{"value": {"choices": '
    b'["good"]}}]}]}]',
    "q.csv": b"id;premise;hypothesis;label\n1;Anna;Bob;good\n2;x;y;bad\n",
    "u.jsonl": b'{"text": "a", "labels": ["good", "bad"]}\n{"text": "b", "labels": []}\n',
    "v.csv": b"text,labels\nAnna,good;bad\nx,bad\ny,good\n",
    "r.tsv": b"text\nAnna went.\n\nBob\n",
    "f.jsonl": b'{"text_a": "Anna", "text_b": "Bob", "label": 1}\n{"text": "x", "label": "bad"}\n',
}
TYPES = Types("tagging", (Type("PER", "", ("person",)), Type("LOC", "", ())))
TYPED = TypedText(1, ("Anna met “Bob Lee” in New York. Anna left Rene\u0301.",), "und")
SAID = (
    '{"entities": [{"text": "Anna", "label": "PER", "start": 30, "end": 34}]}',
    "Sure!\n```json\n[{'text': 'Bob  Lee', 'label': 'person',},]\n```",
    "Anna met “<PER>Bob Lee</PER>” in [New York](LOC). Anna left René.",
    '{"PER": ["Anna", "René"], "LOC": ["New Yo',
    '[["Anna", "PER"], [22, 30, "LOC"]]',
)
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=Path, default=Path("fuzz"), help="folder of what it writes"
    )
    parser.add_argument("--replay", type=Path, help="folder of a finding: run it again, alone")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    fuzz = Fuzz(options.output.absolute(), options.seed)
    if options.replay:
        target = options.replay.name.partition("-")[2]
        content = {
            path.name: path.read_bytes()
            for path in options.replay.iterdir()
            if path.name != "finding.txt"
        }
        fault = fuzz.run(target, content)
        print(fault or "This is no longer a finding.")
        return int(bool(fault))
    fuzz.search(60 * options.minutes)
    print(fuzz.summary())
    return int(bool(fuzz.findings))


class Fuzz:
    """The search: the arcs taken so far, the inputs that took them, and the findings."""

    def __init__(self, output: Path, seed: int):
        self.random = random.Random(seed)
        self.place = output / "current"
        self.output = output / "findings"
        self.arcs: set[Arc] = set()
        self.findings: dict[str, Path] = {}
        self.targets: dict[str, Callable[[], None]] = {
            "reader": self._read,
            "stream": self._stream,
            "answers": self._answer,
            "folder": self._open,
            "predict": self._label,
        }
        self.counts = dict.fromkeys(self.targets, 0)
        self.seconds = dict.fromkeys(self.targets, 0.0)
        shutil.rmtree(output / "valid", ignore_errors=True)
        folders = make_folders(output / "valid")
        self.models = {folder.name: load(str(folder)) for folder in folders}
        seeds = READER_SEEDS | make_parquet(output / "valid")
        self.kept: dict[str, list[Case]] = {
            "reader": [{name: content} for name, content in seeds.items()],
            "stream": [{name: content} for name, content in seeds.items()],
            "answers": [{"a.jsonl": line} for line in list_results()],
            "folder": [case for folder in folders for case in list_storages(folder)],
            "predict": [
                {name: "Anna went\n\nBoß 👩‍👧\u2028x\r\n".encode() + b"to Berlin " * 20}
                for name in self.models
            ],
        }

    def search(self, seconds: float) -> None:
        """Runs mutated inputs until the time is over, with equal time for every target."""
        end = time.monotonic() + seconds
        told = time.monotonic()
        for target, cases in self.kept.items():
            for case in cases:
                self._try(target, case)
        while time.monotonic() < end:
            target = min(self.seconds, key=self.seconds.__getitem__)
            case = self.random.choice(self.kept[target])
            for _ in range(self.random.choice((1, 1, 2, 4))):
                case = self._mutate(case)
            if self._try(target, case):
                self.kept[target].append(case)
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(self.summary(), flush=True)

    def summary(self) -> str:
        """Runs, time and findings so far, in one line."""
        parts = [
            f"{name} {self.counts[name]} runs in {self.seconds[name] / 60:.1f} min"
            for name in self.targets
        ]
        return f"{'; '.join(parts)}; {len(self.arcs)} arcs; {len(self.findings)} findings"

    def _try(self, target: str, case: Case) -> bool:
        # Whether the input took an arc that none took before. Findings are written.
        before = len(self.arcs)
        begin = time.monotonic()
        fault = self.run(target, case)
        self.counts[target] += 1
        self.seconds[target] += time.monotonic() - begin
        key = fault.split("\n", 1)[0][:80]
        if fault and key not in self.findings:
            folder = self.output / f"{len(self.findings):03}-{target}"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.place, folder)
            (folder / "finding.txt").write_text(fault, encoding="utf-8", errors="backslashreplace")
            self.findings[key] = folder
            print(f"{folder}: {key[:300]}", flush=True)
        return len(self.arcs) > before

    def run(self, target: str, case: Case) -> str:
        """Writes the files and runs a target on them; what is wrong with the result, or ""."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        for name, content in case.items():
            (self.place / name).write_bytes(content)
        try:
            with silence(), limits(), trace(self.arcs):
                self.targets[target]()
        except InputError as error:
            sentence = str(error)
            is_one = "\n" not in sentence and sentence.endswith(".") and len(sentence) < 2000
            if is_one and str(self.place) in sentence:
                return ""
            return f"No sentence that names its file: {sentence[:2000]!r}"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a Rust panic is not an Exception
            frames = traceback.extract_tb(error.__traceback__)
            own = [f for f in frames if f.filename.startswith((str(ROOT), __file__))]
            where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "nowhere"
            return f"{type(error).__name__} at {where}\n{traceback.format_exc()}"
        return ""

    def _read(self) -> None:
        for path in self.place.iterdir():
            refused = []
            for task in (None, TAGGING, CLASSES):
                try:
                    for example in read_file(
                        path, task, self.random.choice(("iob2", "bioes", "auto"))
                    ):
                        assert example.inputs
                        assert example.labels is not None
                        if task is CLASSES:
                            assert len(example.labels) == 1
                        if task is TAGGING:
                            assert len(example.inputs) == len(example.labels)
                            assert set(example.labels) <= set(task.labels)
                except InputError as error:
                    refused.append(error)
            for kind in ("tagging", "classification"):
                assert all(record.inputs for record in read_texts(path, read_lines(path), kind))
            assert list(FileLines(path)) == read_lines(path)
            if refused:
                raise refused[0]

    def _stream(self) -> None:
        for path in self.place.iterdir():
            form = name_format(path.name)
            if form == "parquet":
                lines = [f"{row}\n".encode() for row in read_rows(path)]
            else:
                lines = path.read_bytes().splitlines(keepends=True)
            for task in (TAGGING, CLASSES):
                texts = read_stream(lines, str(path), form, task.kind, labels=task.labels)
                for text in texts:
                    assert text.is_left_out or text.raw is not None or text.inputs
                    assert not text.inputs or any(text.inputs)
                    assert len(text.inputs) <= 2 or task is TAGGING

    def _answer(self) -> None:
        texts = Texts({TYPED.number: TYPED}, 0, 0)
        for path in self.place.iterdir():
            gathered = gather_answers([path], texts, TYPES)
            written = self.place / "out.jsonl"
            written.write_text("\n".join(write_answers(texts, gathered, "run")), encoding="utf-8")
            (found,) = read_answers([written], TYPES.task)  # which refuses what is wrong in it
            assert any(each is not None for each in found.answers.values())

    def _open(self) -> None:
        model = load(str(self.place))
        lines = [b"Anna went to Berlin\n", "İß\u0301 \u200d 👩\n".encode()]
        check_answers(model, lines, label(model, lines, self.place))

    def _label(self) -> None:
        for path in self.place.iterdir():
            model = self.models[path.name]
            lines = [line + b"\n" for line in path.read_bytes().split(b"\n")][:50]
            answers = label(model, lines, path)
            check_answers(model, lines, answers)
            # A byte order mark counts as a character on the second line, but not on the first.
            chosen = self.random.choice(lines[1:] or lines)
            _, alone = label(model, [b"\n", chosen], path)
            assert chosen == lines[0] or alone == answers[lines.index(chosen)]

    def _mutate(self, case: Case) -> Case:
        name = self.random.choice(sorted(case))
        content = case[name]
        changed = dict(case)
        pick = self.random.random()
        if name.endswith((".json", ".jsonl")) and pick < 0.8:
            changed[name] = self._mutate_json(content)
        elif name.endswith(".safetensors") and pick < 0.8:
            (length,) = struct.unpack("<Q", content[:8].ljust(8, b"\0"))
            header = self._mutate_json(content[8 : 8 + length])
            changed[name] = struct.pack("<Q", len(header)) + header + content[8 + length :]
        else:
            changed[name] = self._mutate_bytes(content, self.random.choice(self.kept["reader"]))
        return changed

    def _mutate_bytes(self, content: bytes, other: Case) -> bytes:
        at, end = sorted(self.random.randrange(len(content) + 1) for _ in range(2))
        end = min(end, at + self.random.choice((0, 1, 4, 64, 10**6)))
        donor = b"".join(other.values())
        begin = self.random.randrange(len(donor) + 1)
        middle = self.random.choice(
            (
                b"",
                self.random.choice(TOKENS),
                self.random.randbytes(self.random.choice((1, 1, 4, 30))),
                content[at:end] * 2,
                donor[begin : begin + 20],
            )
        )
        return content[:at] + middle + content[end:]

    def _mutate_json(self, content: bytes) -> bytes:
        try:
            first, newline, rest = content.partition(b"\n{")  # a line of JSON lines, or a document
            whole = json.loads(first)
        except (ValueError, RecursionError):
            return self._mutate_bytes(content, {"": b""})
        places = list(iterate_places(whole))
        if not places:
            return self._mutate_bytes(content, {"": b""})
        parent, key = self.random.choice(places)
        pick = self.random.random()
        if pick < 0.15:
            del parent[key]
        elif pick < 0.3:
            parent[key] = self.random.choice(places)[0]
        elif pick < 0.4 and isinstance(parent, dict):
            parent[str(self.random.choice(VALUES))[:50]] = parent.pop(key)
        elif pick < 0.55 and type(parent[key]) in (int, float):
            parent[key] += self.random.choice((-1, 1, 100, 10**9))
        else:
            parent[key] = self.random.choice(VALUES)
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


def list_results() -> list[bytes]:
    """Lines of results of each API, with each of the answers."""
    rows: list[dict[str, Any]] = []
    for said in SAID:
        ((name, _),) = list_identifiers(TYPED, [(0, len(TYPED.content))], 1)
        choices = [{"message": {"content": said}, "finish_reason": "stop"}]
        message = {"content": [{"type": "text", "text": said}], "stop_reason": "end_turn"}
        rows += [
            {"id": name, "answer": said},
            {"custom_id": name, "response": {"status_code": 200, "body": {"choices": choices}}},
            {"custom_id": name, "result": {"type": "succeeded", "message": message}},
        ]
    return [json.dumps(row, ensure_ascii=False).encode() for row in rows]


def list_storages(folder: Path) -> list[Case]:
    """The files of a model folder with its tensors in one file, in a shard, or in Flax format."""
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    tensors = safetensors.numpy.load(whole["model.safetensors"])
    rest = {name: content for name, content in whole.items() if name != "model.safetensors"}
    index = json.dumps({"weight_map": dict.fromkeys(tensors, "a.safetensors")}).encode()
    flax = serialization.msgpack_serialize(load_model(str(folder)).params)
    return [
        whole,
        rest | {"a.safetensors": whole["model.safetensors"], "model.safetensors.index.json": index},
        rest | {"flax_model.msgpack": flax},
    ]


def label(model: Tagger | Classifier, lines: list[bytes], path: Path) -> list[str]:
    """What predict.py writes for lines of plain text."""
    kind = model.predictor.task.kind
    texts = list(read_plain(lines, str(path), kind))
    answers = model.predictor.predict([text.inputs for text in texts])
    return [
        write_tsv(text, answer.labels, kind, str(path))
        for text, answer in zip(texts, answers, strict=True)
    ]


def check_answers(model: Tagger | Classifier, lines: list[bytes], answers: list[str]) -> None:
    """One answer per line, with the words of the line, one tag per word, and labels of the task."""
    task = model.predictor.task
    assert len(answers) == len(lines)
    for number, (line, answer) in enumerate(zip(lines, answers, strict=True)):
        text = line.decode("utf-8-sig" if number == 0 else "utf-8")
        assert "\n" not in answer
        assert bool(answer) == bool(text.strip())
        if not answer:
            continue
        shown, _, labels = answer.rpartition("\t")
        assert set(labels.split(" ")) <= {*task.labels, *alike(task.labels)}
        if task.kind == "tagging":
            assert shown.split(" ") == text.split()
            assert len(labels.split(" ")) == len(shown.split(" "))
        else:
            assert shown == text.removesuffix("\n").removesuffix("\r")


def alike(labels: tuple[str, ...]) -> set[str]:
    """The tags that illegal tags of these labels are repaired to."""
    return {prefix + label[1:] for label in labels for prefix in "BI" if label[1:]} | {"O"}


def make_folders(place: Path) -> list[Path]:
    """Tiny valid models: a BERT that tags, one that classifies, and a BiLSTM."""
    train_wordpiece([Example(WORDS, None, "en")], 80, place / "tokenizer")
    tokenizer = load_tokenizer(str(place / "tokenizer"))
    size = tokenizer.vocabulary_size
    shape = EncoderConfig("bert", size, 4, 4, layers=1, heads=2, intermediate_size=4, positions=32)
    folders = []
    for name, model, task in (
        ("bert", Encoder(shape, "tagging", 3), TAGGING),
        ("bilou", Encoder(shape, "tagging", 5), BILOU),
        ("topics", Encoder(shape, "classification", 2), CLASSES),
        ("bilstm", BiLSTM(BiLSTMConfig(size, 4, 3, 4), 3), TAGGING),
    ):
        generator = np.random.default_rng(0)
        params = jax.tree.map(
            lambda leaf, generator=generator: generator.normal(size=leaf.shape).astype(np.float32),
            model.init_params(jax.random.key(0)),
        )
        extra = {"xdistil": {"row_length": 32, "max_length": 16}}
        save_model(place / name, model, params, task, tokenizer, extra)
        folders.append(place / name)
    shutil.rmtree(place / "tokenizer")
    return folders


def make_parquet(place: Path) -> Case:
    """Parquet files with tags and with classes, if pyarrow is installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return {}
    case = {}
    names = {"ner_tags": [{"names": ["O", "B-PER"]}], "label": {"names": ["bad", "good"]}}
    described = {"huggingface": json.dumps({"info": {"features": names}})}
    for name, columns in (
        ("s.parquet", {"tokens": [["Anna", "x"], ["y"]], "ner_tags": [[1, 0], [0]]}),
        ("t.parquet", {"text": ["Anna", "x y"], "label": [0, 1], "image": [b"", b"x"]}),
    ):
        table = pyarrow.table(columns).replace_schema_metadata(described)
        pyarrow.parquet.write_table(table, place / name, compression="none")
        case[name] = (place / name).read_bytes()
    return case


@contextlib.contextmanager
def trace(arcs: set[Arc]) -> Iterator[None]:
    """Adds the arcs between lines of the traced files that are taken."""

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        if file not in TRACED:
            return None
        before = 0

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            arcs.add((file, before, frame.f_lineno))
            before = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(None)


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """TimeoutError after SECONDS."""

    def late(*_: object) -> None:
        raise TimeoutError(f"over {SECONDS} seconds")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing is printed: Rust panics and warnings of libraries would be."""
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    with open(os.devnull, "wb") as nowhere:
        for stream, _ in kept:
            os.dup2(nowhere.fileno(), stream)
    try:
        yield
    finally:
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.exit(main())
