"""Valid inputs of every target, which the search starts from."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from flax import serialization

from xdistil.annotators.prompting.pieces import TypedText, list_identifiers
from xdistil.annotators.prompting.types import Type, Types
from xdistil.data.examples import Example, Task
from xdistil.data.tokenizer import load_tokenizer
from xdistil.data.train_tokenizer import train_wordpiece
from xdistil.deploy.predictor import Classifier, Tagger, load
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bert import Encoder
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.hf.folder import load_model, save_model

Case = dict[str, bytes]  # the content of each file

TAGGING = Task("tagging", ("O", "B-PER", "I-PER"))
BILOU = Task("tagging", ("O", "B-PER", "I-PER", "L-PER", "U-PER"))
CLASSES = Task("classification", ("bad", "good"))
WORDS = ("Anna", "went", "to", "Berlin", "with", "Bob")
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
    "m.json": b'[{"text": "Anna went.", "spans": [{"start": 0, "end": 4, "text": "Anna", "label": '
    b'"PER"}]},\n{"tokens": ["x"], "tags": ["O"]}\n]\n',
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


@dataclass(frozen=True)
class Seeds:
    """The valid inputs of each target, and the models that label lines."""

    cases: dict[str, list[Case]]
    models: dict[str, Tagger | Classifier]


def make_seeds(place: Path) -> Seeds:
    """Writes the model folders below `place`, and opens them."""
    shutil.rmtree(place, ignore_errors=True)
    folders = make_folders(place)
    models = {folder.name: load(str(folder)) for folder in folders}
    files = [{name: content} for name, content in (READER_SEEDS | make_parquet(place)).items()]
    text = "Anna went\n\nBoß 👩‍👧\u2028x\r\n".encode() + b"to Berlin " * 20
    cases: dict[str, list[Case]] = {
        "reader": files,
        "stream": list(files),
        "answers": [{"a.jsonl": line} for line in list_results()],
        "folder": [case for folder in folders for case in list_storages(folder)],
        "predict": [{name: text} for name in models],
    }
    return Seeds(cases, models)


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
