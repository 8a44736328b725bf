"""What is run on an input. A target raises AssertionError if what it gets is wrong."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz.seeds import CLASSES, TAGGING, TYPED, TYPES
from xdistil.annotators.answers import read_answers
from xdistil.annotators.prompting.gather import gather_answers, write_answers
from xdistil.annotators.prompting.pieces import Texts
from xdistil.data.examples import read_file
from xdistil.data.formats import read_texts
from xdistil.data.lines import FileLines, read_lines
from xdistil.data.parquet import read_rows
from xdistil.data.text_stream import name_format, read_plain, read_stream
from xdistil.deploy.predictor import Classifier, Tagger, load
from xdistil.deploy.writers import write_tsv
from xdistil.errors import InputError

Models = dict[str, Tagger | Classifier]


def read(place: Path, models: Models, random: Random) -> None:
    """Reads labelled files of every format."""
    for path in place.iterdir():
        refused = []
        for task in (None, TAGGING, CLASSES):
            try:
                for example in read_file(path, task, random.choice(("iob2", "bioes", "auto"))):
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


def stream(place: Path, models: Models, random: Random) -> None:
    """Reads files as texts to predict labels for."""
    for path in place.iterdir():
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


def answer(place: Path, models: Models, random: Random) -> None:
    """Reads what language models answered."""
    texts = Texts({TYPED.number: TYPED}, 0, 0)
    for path in place.iterdir():
        gathered = gather_answers([path], texts, TYPES)
        written = place / "out.jsonl"
        written.write_text("\n".join(write_answers(texts, gathered, "run")), encoding="utf-8")
        (found,) = read_answers([written], TYPES.task)  # which refuses what is wrong in it
        assert any(each is not None for each in found.answers.values())


def open_folder(place: Path, models: Models, random: Random) -> None:
    """Opens a model folder and labels two lines with it."""
    model = load(str(place))
    lines = [b"Anna went to Berlin\n", "İß\u0301 \u200d 👩\n".encode()]
    check_answers(model, lines, label(model, lines, place))


def predict(place: Path, models: Models, random: Random) -> None:
    """Labels lines with a valid model."""
    for path in place.iterdir():
        model = models[path.name]
        lines = [line + b"\n" for line in path.read_bytes().split(b"\n")][:50]
        answers = label(model, lines, path)
        check_answers(model, lines, answers)
        # A byte order mark counts as a character on the second line, but not on the first.
        chosen = random.choice(lines[1:] or lines)
        _, alone = label(model, [b"\n", chosen], path)
        assert chosen == lines[0] or alone == answers[lines.index(chosen)]


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


# Called with the folder of the input's files, the models that label lines, and a random generator.
Target = Callable[[Path, Models, Random], None]
TARGETS: dict[str, Target] = {
    "reader": read,
    "stream": stream,
    "answers": answer,
    "folder": open_folder,
    "predict": predict,
}
