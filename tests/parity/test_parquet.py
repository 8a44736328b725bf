"""Parquet files that pyarrow writes, as Hugging Face datasets export them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.deploy.folders import TAGGING, make_folder, train_tokenizer
from xdistil import config
from xdistil.cli import predict
from xdistil.data.corpus import read_corpus
from xdistil.data.examples import Example, read_file
from xdistil.data.formats import read_texts
from xdistil.data.lines import FileLines, read_lines
from xdistil.deploy.preprocessing import write_preprocessing
from xdistil.errors import InputError

NAMES = ["O", "B-PER", "I-PER", "B-LOC"]
WORDS = [["Ann", "Lee", "slept"], ["Rom"]]
TAGS = [["B-PER", "I-PER", "O"], ["B-LOC"]]
EXPECTED = [Example(tuple(w), tuple(t), "und") for w, t in zip(WORDS, TAGS, strict=True)]
CLASS_LABEL = {"names": NAMES, "_type": "ClassLabel"}
SHAPES = [
    {"feature": CLASS_LABEL, "_type": "Sequence"},
    {"feature": CLASS_LABEL, "length": -1, "_type": "List"},
    [CLASS_LABEL],
]


def save(path, columns, features=None):
    table = pa.table(columns)
    if features is not None:
        written = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": written})
    pq.write_table(table, path)
    return path


def number(tags):
    return [[NAMES.index(tag) for tag in each] for each in tags]


@pytest.mark.parametrize("feature", SHAPES)
def test_tags_are_named_by_the_schema(tmp_path, feature):
    columns = {"id": ["0", "1"], "tokens": WORDS, "ner_tags": number(TAGS), "image": [b"\xff"] * 2}
    path = save(tmp_path / "train.parquet", columns, {"tokens": {}, "ner_tags": feature})
    assert read_file(path) == EXPECTED
    lines = FileLines(path)
    assert list(lines) == read_lines(path) == list(lines)
    texts = [record.inputs for record in read_texts(path, lines, "tagging")]
    assert texts == [example.inputs for example in EXPECTED]


def test_tags_are_named_by_the_description_beside_the_file_or_by_labels(tmp_path):
    path = save(tmp_path / "train.parquet", {"tokens": WORDS, "ner_tags": number(TAGS)})
    with pytest.raises(InputError, match=r"parquet, record 1: .* numbers without names: add label"):
        read_file(path)
    (tmp_path / "labels.tsv").write_text("\n".join(NAMES) + "\n")
    assert read_file(path) == EXPECTED
    (tmp_path / "labels.tsv").unlink()
    info = {"features": {"ner_tags": SHAPES[0]}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    assert read_file(path) == EXPECTED


def test_classes_are_named_by_the_schema_or_by_another_column(tmp_path):
    columns = {"sentence": ["a", "b"], "label": pa.array([1, 0]), "idx": [0, 1]}
    path = save(tmp_path / "train.parquet", columns, {"label": {"names": ["no", "yes"]}})
    expected = [Example(("a",), ("yes",), "und"), Example(("b",), ("no",), "und")]
    assert read_file(path) == expected
    columns["label_text"] = pa.array(["yes", "no"]).dictionary_encode()
    assert read_file(save(path, columns)) == expected


def test_a_folder_of_parquet_is_a_corpus(tmp_path):
    columns = {"tokens": WORDS * 3, "ner_tags": number(TAGS * 3)}
    features = {"ner_tags": SHAPES[0]}
    save(tmp_path / "train-00000-of-00001.parquet", columns, features)
    validation = save(tmp_path / "validation-00000-of-00001.parquet", columns, features)
    data = config.Data(folder=str(tmp_path))
    with pytest.raises(InputError, match=r"rename validation-\S+ to dev\.parquet"):
        read_corpus(data, 0)
    validation.rename(tmp_path / "dev.parquet")
    corpus = read_corpus(data, 0)
    assert list(corpus.train) == EXPECTED * 3
    assert corpus.task.labels == ("B-LOC", "B-PER", "I-PER", "O")
    assert any("Parquet, words and tags of Hugging Face" in line for line in corpus.reading.lines)
    save(tmp_path / "train.parquet", columns, features)
    with pytest.raises(InputError, match=r"both train\.parquet and train-00000-of-00001\.parquet"):
        read_corpus(data, 0)


def test_a_file_in_parts_is_refused_until_they_are_joined_as_the_error_says(tmp_path):
    features = {"ner_tags": SHAPES[0]}
    parts = [
        save(
            tmp_path / f"train-0000{index}-of-00002.parquet",
            {"tokens": [words], "ner_tags": number([tags])},
            features,
        )
        for index, (words, tags) in enumerate(zip(WORDS, TAGS, strict=True))
    ]
    save(tmp_path / "dev.parquet", {"tokens": WORDS, "ner_tags": number(TAGS)}, features)
    data = config.Data(folder=str(tmp_path))
    sentence = (
        r"train in 2 parts, from train-00000-of-00002\.parquet to train-00001-of-00002\.parquet: "
        r"join them by pyarrow\.parquet\.write_table\(pyarrow\.parquet\.read_table\(\[\.\.\.\]\), "
    )
    with pytest.raises(InputError, match=sentence):
        read_corpus(data, 0)
    pq.write_table(pq.read_table(parts), tmp_path / "train.parquet")
    for part in parts:
        part.unlink()
    assert list(read_corpus(data, 0).train) == EXPECTED


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 9, b"tokens\n"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "train.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train\.parquet cannot be read as Parquet: .*\.$"):
        read_file(path)


def test_a_damaged_schema_is_refused(tmp_path):
    path = save(tmp_path / "train.parquet", {"tokens": WORDS, "ner_tags": TAGS}, {"tokens": 3})
    with pytest.raises(InputError, match=r"train\.parquet cannot be read as Parquet"):
        read_file(path)
    save(path, {"tokens": []})
    with pytest.raises(InputError, match="is empty"):
        read_file(path)


def test_rows_are_answered_with_their_columns(tmp_path, capfdbinary):
    tokenizer = train_tokenizer(tmp_path / "tokenizer")
    short = write_preprocessing(config.Data(row_length=24))
    make_folder(tmp_path / "model", "bilstm", TAGGING, tokenizer, short)
    path = save(tmp_path / "in.parquet", {"id": [3, 4], "text": ["Anna went.", "Bob"]})
    assert predict.main([f"--model={tmp_path}/model", f"--input={path}"]) == 0
    rows = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [(row["id"], row["text"]) for row in rows] == [(3, "Anna went."), (4, "Bob")]
    assert predict.main([f"--model={tmp_path}/model", "--format=parquet"]) == 2
    assert b"reads a file and no pipe: name it with --input" in capfdbinary.readouterr().err
