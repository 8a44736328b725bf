"""JSON lines of other tools: one sentence in every format, and the message for every fault."""

import json

import pytest

from xdistil.data.examples import Example, read_file
from xdistil.errors import InputError

TEXT = "Ann Lee (of Rom) slept."
WORDS = ("Ann", "Lee", "(", "of", "Rom", ")", "slept", ".")
TAGS = ("B-PER", "I-PER", "O", "O", "B-LOC", "O", "O", "O")
SPANS = [[0, 7, "PER"], [12, 15, "LOC"]]
NAMED = [{"start": start, "end": end, "label": kind} for start, end, kind in SPANS]
STUDIO = [{"value": {"start": s, "end": e, "labels": [k]}} for s, e, k in SPANS]
STUDIO_SHORT = [each["value"] for each in STUDIO]
OFFSETS = [{"start_offset": s, "end_offset": e, "label": k, "id": 1} for s, e, k in SPANS]
NO_LABEL = {"start": 0, "end": 1, "text": "a"}
KEYS = ("begin", "end", "entity")
NAMES = ["O", "B-PER", "I-PER", "B-LOC"]
ROWS = {
    "own": {"tokens": WORDS, "tags": TAGS},
    "doccano": {"id": 3, "text": TEXT, "label": SPANS},
    "doccano relations": {"text": TEXT, "entities": OFFSETS, "relations": []},
    "prodigy": {"text": TEXT, "spans": NAMED, "tokens": [{"text": "Ann"}], "answer": "accept"},
    "spacy": {"text": TEXT, "entities": SPANS},
    "label studio": {"data": {"text": TEXT}, "annotations": [{"result": STUDIO}]},
    "label studio's short form": {"text": TEXT, "label": STUDIO_SHORT, "id": 1, "annotator": 1},
    "label studio, another name": {"data": {"note": TEXT}, "annotations": [{"result": STUDIO}]},
    "gliner": {"tokenized_text": WORDS, "ner": [[0, 1, "PER"], [4, 4, "LOC"]]},
    "names": {"tokens": WORDS, "ner_tags": TAGS},
    "words": {"words": WORDS, "tags": TAGS},
    "words and numbers": {"words": WORDS, "ner_tags": [NAMES.index(tag) for tag in TAGS]},
    "begin and entity": {
        "text": TEXT,
        "entities": [dict(zip(KEYS, s, strict=True)) for s in SPANS],
    },
    "label studio with a relation": {
        "data": {"text": TEXT},
        "annotations": [
            {"was_cancelled": True, "result": []},
            {"result": [*STUDIO, {"type": "relation", "from_id": "a", "to_id": "b"}]},
            {"result": []},
        ],
    },
    "numbers": {"id": "0", "tokens": WORDS, "ner_tags": [NAMES.index(tag) for tag in TAGS]},
}


@pytest.fixture
def read(tmp_path):
    """A callable that reads rows as a file whose numbers are named by dataset_info.json."""

    def write(*rows):
        feature = {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "Sequence"}
        info = {"features": {"tokens": {}, "ner_tags": feature, "label": {"names": ["no", "yes"]}}}
        (tmp_path / "dataset_info.json").write_text(json.dumps(info))
        path = tmp_path / "train.jsonl"
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
        return read_file(path)

    return write


@pytest.mark.parametrize("name", ROWS)
def test_every_format_gives_the_same_words_and_tags(read, name):
    assert read(ROWS[name]) == [Example(WORDS, TAGS, "und")]
    german = {**ROWS[name], "language": "DE"}
    assert read(german, ROWS[name]) == [Example(WORDS, TAGS, "de"), Example(WORDS, TAGS, "und")]


@pytest.mark.parametrize(
    ("row", "inputs", "label"),
    [
        ({"text": "a", "label": "x"}, ("a",), "x"),
        ({"text": "a", "label": ["x"]}, ("a",), "x"),
        ({"sentence": "a", "label": 1, "idx": 7}, ("a",), "yes"),
        ({"premise": "a", "hypothesis": "b", "label": 0}, ("a", "b"), "no"),
        ({"sentence1": "a", "sentence2": "b", "label": "x"}, ("a", "b"), "x"),
        ({"Tweet": "a", "sentiment": "x", "id": "7"}, ("a",), "x"),
        ({"text": "a", "options": [], "accept": ["x"], "answer": "accept"}, ("a",), "x"),
        ({"text": "a", "label": True}, ("a",), "true"),
        ({"sentence1": "a", "sentence2": "b", "gold_label": "x"}, ("a", "b"), "x"),
        ({"text": "a", "cats": {"y": 0.0, "x": 1.0}}, ("a",), "x"),
        (
            {"data": {"text": "a"}, "annotations": [{"result": [{"value": {"choices": ["x"]}}]}]},
            ("a",),
            "x",
        ),
    ],
)
def test_texts_with_a_label_have_the_fields_of_the_usual_data_sets(read, row, inputs, label):
    assert read(row) == [Example(inputs, (label,), "und")]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"text": "a b", "label": [[0, 9, "X"]]},
            "span 0 to 9 does not lie in .* 3 char",
        ),
        ({"text": "ab c", "label": [[9, 1, "X"]]}, "span 9 to 1 is empty: its end must be after"),
        ({"text": "a b", "label": [[1, 1, "X"]]}, "span 1 to 1 is empty"),
        ({"text": "a b", "label": [[-1, 1, "X"]]}, "span -1 to 1 does not lie"),
        ({"text": "a b", "label": [[0, 1, "O"]]}, "'O' is not the type of an entity: leave out"),
        ({"text": "a b", "label": [[0, 1, "X"]], "entities": [[0, 3, "X"]]}, "'entities' and 'lab"),
        ({"text": "a  b", "label": [[1, 3, "X"]]}, "holds only white space"),
        ({"text": "a b", "label": [[0, 3, "X"], [2, 3, "Y"]]}, "two spans overlap at character 2"),
        ({"text": "a b", "spans": [{"start": 0, "label": "X"}]}, "no span with a start and an end"),
        (
            {"text": "😀 a bc", "label": [{"start": 5, "end": 6, "type": "X", "text": "b"}]},
            "span 5 to 6 is 'c' in the text, but says that it is 'b': offsets must count char",
        ),
        ({"text": "a b", "label": [[0, 1, ""]]}, "'' is not the type of an entity"),
        ({"tokenized_text": ["a"], "ner": [[0, 1, "X"]]}, "does not lie in the text, .* 1 words"),
        ({"tokenized_text": ["a", "b"], "ner": [[1, 0, "X"]]}, "ends before its first word"),
        ({"tokenized_text": ["a"], "ner": [[0, 0, "X"]] * 2}, "overlaps another entity"),
        (
            {
                "data": {"text": "a b"},
                "annotations": [{"result": [STUDIO[0], {"value": NO_LABEL}]}],
            },
            "the region 0 to 1 has no labels: label it, or delete it",
        ),
        ({"tokens": ["a"], "ner_tags": [9]}, "tag 9 is not a number of the 4 tags"),
        ({"tokens": ["a"], "ner": [0]}, "'ner' are numbers without names: add labels.tsv"),
        ({"text": "a", "cats": {"x": "y"}}, "field 'cats' must have a number by class"),
        ({"text": "a", "label": [[0, 1, "X"]], "answer": "reject"}, "its answer is 'reject', so"),
        ({"text": "a", "label": "x", "answer": "ignore"}, "its answer is 'ignore', so its labels"),
        ({"data": {"text": "a"}, "annotations": []}, "this task was not annotated: export the ann"),
        ({"text": "a", "label": 1.0}, "'label' is 1.0: it must be a text or a whole number; the"),
        (
            {"text": "a", "stars": "x"},
            "'label' is missing: .* fields are 'text', 'stars', and data",
        ),
        (
            {"foo": "a", "bar": "b"},
            "'foo', 'bar' are of no .*; looked for: tokens and tags",
        ),
    ],
)
def test_a_fault_is_told_with_its_line(read, row, words):
    with pytest.raises(InputError, match=f"train.jsonl:1: .*{words}") as caught:
        read(row)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": "a b", "spans": [[0.0, 1.0, "X"]]}, "[0.0, 1.0, 'X'] is no span: it must be [st"),
        ({"text": "a b", "spans": [[0, 1]]}, "[0, 1] is no span"),
        ({"text": "a b", "spans": [{"end": 1, "label": "X"}]}, "{'end': 1, 'label': 'X'} is no sp"),
        ({"id": 3, "label": SPANS}, "field 'text' is missing, of which the spans are"),
    ],
)
def test_malformed_spans_among_others_are_shown(read, row, words):
    with pytest.raises(InputError) as caught:
        read(ROWS["spacy"], ROWS["spacy"], row)
    assert f"train.jsonl:5: {words}" in str(caught.value)


def test_an_empty_field_beside_spans_does_not_hide_them(read):
    row = {"text": TEXT, "spans": [], "label": SPANS, "entities": SPANS}
    assert read(row) == [Example(WORDS, TAGS, "und")]


@pytest.mark.parametrize("own", ["Ann Lee", "ann\\nlee ", "", None, ["Ann Lee"]])
def test_spans_may_repeat_their_words(read, own):
    """Label Studio writes a line end as two characters; others leave the words out."""
    named = [{**NAMED[0], "text": own}, NAMED[1]]
    text = TEXT.replace("Ann Lee", "Ann\nLee")
    assert read({"text": text, "spans": named}) == [Example(WORDS, TAGS, "und")]


def test_a_text_without_spans_among_others_is_refused(read):
    rows = [ROWS["spacy"], ROWS["spacy"], {"text": "a", "meta": {}}]
    with pytest.raises(
        InputError, match=r"train.jsonl:5: a text without spans: there is no list spa"
    ):
        read(*rows)


@pytest.mark.parametrize(
    ("field", "language"),
    [
        ({"lang": "de"}, "de"),
        ({"locale": "FR"}, "fr"),
        ({"langs": ["en", "en"]}, "en"),
        ({"langs": ["en", "de"]}, "und"),
        ({"lang": "a word"}, "und"),
        ({"lang": "de", "language": "it"}, "it"),
    ],
)
def test_a_language_may_be_called_otherwise(read, field, language):
    assert read({**ROWS["own"], **field}) == [Example(WORDS, TAGS, language)]
    assert read({"text": "a", "label": "x", **field}) == [Example(("a",), ("x",), language)]


def test_spans_that_end_inside_words_are_told(read, caplog):
    inclusive = [[start, end - 1, kind] for start, end, kind in SPANS]
    assert read({"text": TEXT, "label": SPANS}, {"text": TEXT, "label": inclusive})
    assert not caplog.text
    assert read({"text": TEXT, "label": inclusive})
    assert (
        "train.jsonl: most spans begin or end inside a word, such as 'Ro': offsets" in caplog.text
    )


def test_a_damaged_description_is_refused(read, tmp_path):
    read(ROWS["own"])
    for content in ("[1]", "{", '{"features": {"a": {"names": 3}}}'):
        (tmp_path / "dataset_info.json").write_text(content)
        with pytest.raises(InputError, match=r"dataset_info\.json cannot be read"):
            read_file(tmp_path / "train.jsonl")
