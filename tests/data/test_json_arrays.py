"""JSON files of several records: all their shapes, and the message for every fault."""

import json
import tracemalloc

import pytest

from xdistil.data.examples import Example, read_file
from xdistil.data.formats import read_texts
from xdistil.data.json_arrays import cut_records
from xdistil.data.lines import FileLines, read_lines
from xdistil.data.text_stream import read_stream
from xdistil.errors import InputError

ROWS = [
    {"tokens": ["a]", 'b",{'], "tags": ["B-X", "O"], "language": "de"},
    {"text": "c d", "entities": [[0, 3, "X"]]},
]
EXPECTED = [
    Example(("a]", 'b",{'), ("B-X", "O"), "de"),
    Example(("c", "d"), ("B-X", "I-X"), "und"),
]
FILES = {
    "one line": json.dumps(ROWS),
    "indented": json.dumps(ROWS, indent=2),
    "carriage returns": json.dumps(ROWS, indent=1).replace("\n", "\r\n"),
    "a line per record": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    "byte order mark": "\ufeff" + json.dumps(ROWS),
    "lines": "\n\n".join(map(json.dumps, ROWS)) + "\n",
    "a field": json.dumps({"version": 1, "data": ROWS}),
    "pairs": json.dumps(
        {"classes": ["X"], "annotations": [ROWS[0], [ROWS[1]["text"], {"entities": [[0, 3, "X"]]}]]}
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_every_shape_has_the_same_records(name, tmp_path):
    path = tmp_path / "train.json"
    path.write_bytes(FILES[name].encode())
    assert read_file(path) == EXPECTED
    lines = FileLines(path)
    assert list(lines) == read_lines(path)
    inputs = [record.inputs for record in read_texts(path, lines, "tagging")]
    assert inputs == [example.inputs for example in EXPECTED]
    content = FILES[name].encode().splitlines(keepends=True)
    texts = list(read_stream(content, str(path), "json", "tagging"))
    assert [(text.line, text.inputs) for text in texts] == list(enumerate(inputs, 1))


def test_one_record_needs_no_array(tmp_path):
    path = tmp_path / "train.json"
    for row, expected in zip(ROWS, EXPECTED, strict=True):
        path.write_text(json.dumps(row, indent=2))
        assert read_file(path) == [expected]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[]", "train.json is empty"),
        ("3", "train.json is 3: it must be an array of records"),
        ("[\n1]", "train.json, record 1: 1 is not a JSON object"),
        ('[{"text": "a", "label": "x"},\n{"text": "", "label": "x"}]', "json, record 2: field 'te"),
        ('[{"text": "a", "label": "x"}\n{}]', "train.json:2: .*a comma or ] is missing"),
        ('[{"text": "a", "label": "x"},\n]', "train.json:2: this is not valid JSON .Expecting"),
        ('[{"text": "a",\n\n"label": }]', "train.json:3: this is not valid JSON .Expecting"),
        ('[{"text": "a"}]\n\n[]', "train.json:3: .*the value before is complete"),
        ("[" * 100_000, "train.json:1: .*too deep"),
        ('{"text": {"0": "a"}, "label": {"0": "x"}}', "'text', 'label': .* orient='records'"),
        ('{"train": [{}], "dev": [{}]}', "one object with the fields 'train', 'dev'"),
    ],
)
def test_a_fault_is_told_with_its_place(content, sentence, tmp_path):
    path = tmp_path / "train.json"
    path.write_text(content)
    with pytest.raises(InputError, match=sentence) as caught:
        read_file(path)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_an_array_in_a_file_of_lines_is_sent_to_its_extension(tmp_path):
    path = tmp_path / "train.jsonl"
    for content in (json.dumps(ROWS), json.dumps(ROWS, indent=2)):
        path.write_text(content)
        with pytest.raises(InputError, match=r"jsonl:1: .* array, .* extension \.json if"):
            read_file(path)


def test_records_are_cut_without_a_copy_of_their_values(tmp_path):
    """The memory of an array is that of its text and of the record that is read."""
    text = json.dumps([{"text": "abc " * 50, "label": "x"}] * 5000, indent=2)
    tracemalloc.start()
    count = sum(1 for _ in cut_records(tmp_path, text))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5000
    assert peak < len(text) / 20
