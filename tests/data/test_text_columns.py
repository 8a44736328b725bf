"""Which cells of a row are texts to predict labels for."""

from pathlib import Path

import pytest

from xdistil.data.examples import read_file
from xdistil.data.text_columns import parse_columns, read_rows
from xdistil.errors import InputError

CLASSES = ("bad", "good")
TAGS = ("O", "B-PER", "I-PER")


def read(content: str, kind: str = "classification", form: str = "tsv", columns: str = ""):
    labels = TAGS if kind == "tagging" else CLASSES
    lines = content.removesuffix("\n").split("\n") if content else []
    return list(read_rows(Path("in"), iter(lines), form, kind, labels, columns))


def inputs(*given: str, **more: str):
    return [row.inputs for row in read(*given, **more)]


@pytest.mark.parametrize("label", ["good", "1", "en:bad", " good ", 'en:["good", "bad"]', "[]"])
def test_a_label_column_is_left_out(label):
    assert inputs(f"Anna went\t{label}\n") == [("Anna went",)]
    assert inputs(f"Anna went\tBob\t{label}\n") == [("Anna went", "Bob")]


@pytest.mark.parametrize("tags", ["O O", "B-PER L-PER", "en:O O", "PER O", "o i-x", "U-LOC S-PER"])
def test_tags_of_any_scheme_are_left_out(tags):
    (row,) = read(f"Anna went\t{tags}\n", "tagging")
    assert (row.inputs, row.raw) == (("Anna", "went"), False)


@pytest.mark.parametrize(
    ("kind", "row", "found"),
    [
        ("classification", "1\tAnna went", "'Anna went' in the last column is not a class of"),
        ("classification", "Anna went\t7", "'7' in the last column is not a class of the model"),
        ("tagging", "1\tAnna went", "'Anna went' in the last column is not tags of its words"),
        ("tagging", "1\tAnna", "'Anna' in the last column is not tags"),
        ("tagging", "Anna went\tO", "'O' in the last column is not tags"),
    ],
)
def test_what_is_no_task_file_is_refused_or_read_by_its_column(kind, row, found):
    with pytest.raises(InputError, match=f"in:1: this is no task file, for {found}"):
        read(f"{row}\n{row}\n", kind)
    column = 1 if row.startswith("Anna") else 2
    (read_row, _) = read(f"{row}\n{row}\n", kind, columns=f"text:{column}")
    assert (read_row.inputs, read_row.raw) == ((row.split("\t")[column - 1],), True)


def test_one_column_holds_texts_and_blank_rows_stay():
    rows = read("Anna  went\n\nBob\n", "tagging")
    assert [row.inputs for row in rows] == [("Anna  went",), (), ("Bob",)]
    assert all(row.raw for row in rows)
    with pytest.raises(InputError, match="in:65: 2 columns where the lines before have one"):
        read("Anna\n" * 64 + "Bob\tgood\n")


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("tsv", "id\ttext\tlabel\n7\tAnna, went\tgood\n8\t\tbad\n"),
        ("csv", 'id,text,label\n7,"Anna, went",good\n8,,bad\n'),
        ("csv", "id;text;label\n7;Anna, went;good\n8;;bad\n"),
    ],
)
def test_a_first_line_that_names_columns_is_read_and_reported(form, content, caplog):
    first, second = read(content, form=form)
    assert (first.inputs, second.inputs) == (("Anna, went",), ())
    assert first.fields == {"id": "7", "text": "Anna, went", "label": "good"}
    assert "in: the first line names the columns; text is read" in caplog.text


@pytest.mark.parametrize(
    ("header", "kind", "found"),
    [
        ("premise,hypothesis", "classification", ("a b", "c")),
        ("Text_A,text_b", "classification", ("a b", "c")),
        ("id,Sentence", "classification", ("c",)),
        ("tokens,tags", "tagging", ("a", "b")),
        ("text,tags", "tagging", ("a b",)),
    ],
)
def test_columns_have_usual_names(header, kind, found):
    assert inputs(f"{header}\na b,c\n", kind, form="csv") == [found]


@pytest.mark.parametrize("header", ["Tweet,sentiment", "premise,Sentence2,target", "id,query,y"])
def test_training_and_prediction_know_the_same_headers(header, tmp_path):
    rows = [f"{at}a,{at}b,{'good' if at % 2 else 'bad'}"[-12:] for at in range(10)]
    rows = [row if header.count(",") == 2 else row.partition(",")[2] for row in rows]
    path = tmp_path / "train.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    trained = [example.inputs for example in read_file(path)]
    assert inputs(path.read_text(), form="csv") == trained
    assert len(trained) == 10


def test_columns_are_named_by_the_user(caplog):
    table = "what,label,where\nAnna,x,Rome\n"
    assert inputs(table, form="csv", columns="text:where") == [("Rome",)]
    assert inputs(table, form="csv", columns="text_a:3, text_b:1, label:2") == [("Rome", "Anna")]
    assert inputs(table, "tagging", form="csv", columns="words:what") == [("Anna",)]
    assert inputs("x\tAnna\n", columns="text:2") == [("Anna",)]
    assert "in: the first line names the columns" in caplog.text


@pytest.mark.parametrize(
    ("content", "form", "columns", "sentence"),
    [
        ("a,b\n1,2\n", "csv", "", "in:1: none of the columns a, b is known to hold texts: name it"),
        (
            "a,b\n1,2\n",
            "csv",
            "text:c",
            "in:1: --columns=text:c, but there is no such",
        ),
        ("a\tb\n", "tsv", "text:3", "in:1: --columns=text:3, but there is no such column"),
        ("a\tb\nc\n", "tsv", "text:2", "in:2: 1 columns where 2 were expected"),
        ('text\n"a\n', "csv", "", "in:2: this row is not valid CSV .unexpected end of data"),
    ],
)
def test_a_mistake_is_one_sentence(content, form, columns, sentence):
    with pytest.raises(InputError, match=sentence):
        read(content, form=form, columns=columns)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ("txt:2", "--columns names 'txt:2' .did you mean text..: write role:column"),
        ("text", "--columns names 'text'"),
        ("text_a:1", "name one column, as in text:2, or two"),
        ("text:1,words:2", "name one column, as in text:2, or two"),
        ("label:1", "name one column"),
    ],
)
def test_roles_that_make_no_text_are_refused(columns, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_columns(columns)


def test_only_the_lines_that_are_there_show_the_columns():
    taken = []

    def lines():
        for number in range(100):
            taken.append(number)
            yield "Anna\tgood"

    rows = read_rows(Path("in"), lines(), "tsv", "classification", CLASSES, ready=lambda: False)
    assert next(rows).inputs == ("Anna",)
    assert len(taken) == 1


def test_an_empty_file_has_no_rows():
    assert read("") == read("", form="csv") == []
