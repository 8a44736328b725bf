"""Shapes of students: which are tried, which are the largest, and the flags that set them."""

import pytest

from tests.models.samples import BERT, make_tiny_tokenizer
from xdistil.cli.overrides import parse_command
from xdistil.config import Student
from xdistil.data.examples import Task
from xdistil.errors import InputError
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bert import Encoder
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.student.design import design_student
from xdistil.student.footprint import measure_footprint
from xdistil.student.shapes import (
    Shape,
    Vocabulary,
    find_largest,
    list_overrides,
    list_students,
    name_shape,
    read_axes,
)

VOCABULARY = Vocabulary(None, 99, 10.0)


def make_bilstm(embedding: int, hidden: int, vocabulary: int = 500, layers: int = 1) -> Shape:
    config = BiLSTMConfig(vocabulary, embedding, hidden, 20, layers=layers)
    student = Student(embedding_size=embedding, hidden_size=hidden, layers=layers)
    footprint = measure_footprint(config, "tagging", 3, 10.0)
    return Shape(student, BiLSTM(config, 3), VOCABULARY, footprint)


def make_transformer(hidden: int, layers: int) -> Shape:
    config = EncoderConfig("bert", 500, hidden, hidden, layers, 2, 4 * hidden, 64)
    student = Student(kind="transformer", hidden_size=hidden, layers=layers, heads=2)
    model = Encoder(config, "tagging", 3)
    return Shape(student, model, VOCABULARY, measure_footprint(config, "tagging", 3, 10.0))


def test_all_shapes_are_products_of_the_axes():
    axes = {"vocabulary_size": (0, 300), "hidden_size": (64, 96)}
    students = list(list_students(Student(dropout=0.3), axes))
    assert {student.dropout for student in students} == {0.3}
    bilstms = [student for student in students if student.kind == "bilstm"]
    assert len(bilstms) == 6 * 2 * 2
    # Widths of embeddings: 64 alone where that is the hidden size, else 64 and 96.
    transformers = [student for student in students if student.kind == "transformer"]
    assert len(transformers) == 5 * 2 * (1 * 2 + 2 * 2)
    assert {(each.hidden_size, each.heads) for each in transformers} == {(64, 2), (96, 3)}
    assert {(each.vocabulary, each.vocabulary_size) for each in students} == {
        ("all", 0),
        ("seen", 300),
    }
    one = {name: (2,) for name in ("hidden_size", "layers", "heads", "embedding_size")}
    one |= {"kind": ("transformer",), "intermediate_size": (7,), "vocabulary_size": (0,)}
    (only,) = list_students(Student(), one)
    assert (only.hidden_size, only.layers, only.heads, only.intermediate_size) == (2, 2, 2, 7)
    one |= {"kind": ("bilstm",), "layers": (1, 3)}
    deep = Student(layers=5)  # of a config with a transformer
    assert [each.layers for each in list_students(deep, one)] == [1, 3]
    del one["layers"]
    assert [each.layers for each in list_students(deep, one)] == [1]
    assert {each.heads for each in list_students(Student(), axes, heads=12)} - {4} == {12}


def test_the_flags_of_a_shape_make_it(tmp_path):
    (tmp_path / "config.py").write_text(
        "from xdistil.plans import ner\n"
        "def get_config():\n"
        "    experiment = ner()\n"
        "    experiment.data.folder = 'somewhere'\n"
        "    experiment.teacher.model = 'model'\n"
        "    return experiment\n"
    )
    given = [f"--config={tmp_path / 'config.py'}", "--workdir=somewhere"]
    base = parse_command(given).experiment.student
    for student in list_students(base, {"vocabulary_size": (0, 300)}):
        if student.embedding_size in (32, 64) and student.hidden_size in (128, 200):
            flags = list_overrides(student, base)
            assert parse_command([*given, *flags]).experiment.student == student
    assert list_overrides(base, base) == []


def test_a_student_is_as_deep_as_the_config_says():
    task, tokenizer = Task("tagging", ("O", "B-PER")), make_tiny_tokenizer()
    for student in (Student(embedding_size=4, layers=3), Student(embedding_size=4)):
        model = design_student(student, BERT, tokenizer, task, "float32")
        assert model.config.layers == student.layers
        assert model.projection_size == BERT.hidden_size


def test_the_largest_shapes_are_those_that_no_other_exceeds():
    small, wide, deep = make_bilstm(10, 20), make_bilstm(30, 20), make_bilstm(10, 40)
    assert find_largest([small, wide, deep]) == [wide, deep]
    both = make_bilstm(30, 40)
    assert find_largest([both, small, wide, deep]) == [both]
    # A smaller vocabulary with a larger encoder exceeds nothing; nor do twins each other.
    few = make_bilstm(30, 60, vocabulary=400)
    assert find_largest([both, few]) == [both, few]
    assert find_largest([small, make_bilstm(10, 20)]) == [small, small]
    # Parameters of one kind say nothing about another.
    transformer = make_transformer(64, 2)
    assert transformer.capacity > both.capacity
    assert find_largest([both, transformer, make_transformer(64, 1)]) == [both, transformer]


def test_names_tell_shapes_apart():
    assert name_shape(make_bilstm(10, 20)) == "bilstm-e10-h20-v500"
    assert name_shape(make_bilstm(10, 20, layers=2)) == "bilstm-e10-h20-l2-v500"
    assert name_shape(make_transformer(64, 2)) == "transformer-e64-h64-l2-a2-f256-v500"
    assert make_bilstm(10, 20).count_bytes("jax") == make_bilstm(10, 20).footprint.jax_bytes + 99


def test_axes_are_read_from_fields_and_values():
    assert read_axes(["student.layers=1,2", "student.kind=bilstm", "student.heads=12"]) == {
        "layers": (1, 2),
        "kind": ("bilstm",),
        "heads": (12,),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("student.layer=1", "did you mean student.layers?"),
        ("layers=1", "did you mean student.layers?"),
        ("student.layers=", "write FIELD=VALUE,VALUE"),
        ("student.dropout=0.1", "a field of a student's shape"),
        ("student.layers=0", "'0' must be a whole number, 1 or more"),
        ("student.hidden_size=1.5", "'1.5' must be a whole number"),
        ("student.kind=checkpoint", "a kind with a shape is bilstm or transformer"),
    ],
)
def test_wrong_axes_are_refused(text, says):
    with pytest.raises(InputError, match="--sweep=") as raised:
        read_axes([text])
    assert says in str(raised.value)


def test_a_field_has_one_list_of_values():
    with pytest.raises(InputError, match=r"student.layers=2: another --sweep names student.layers"):
        read_axes(["student.layers=1", "student.layers=2"])
    with pytest.raises(InputError, match=r"for a field of a student's shape\.$"):
        read_axes(["student.layers="])
