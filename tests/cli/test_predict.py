"""predict.py: files and pipes, scores, and every mistake as one sentence."""

import gzip
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import predict
import xdistil
from tests.deploy.folders import CLASSES, TAGGING, make_folder, train_tokenizer
from xdistil.config import Data
from xdistil.data.examples import read_file
from xdistil.deploy.preprocessing import write_preprocessing
from xdistil.deploy.writers import write_tsv
from xdistil.evaluation.metrics import score

TEXTS = b"Anna went to Berlin\n\nBob\r\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders `tagging`, `classification`, and `headless` without a head."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer(folder / "tokenizer")
    short = write_preprocessing(Data(row_length=24))
    for kind, name, task in (
        ("bilstm", "tagging", TAGGING),
        ("bert", "classification", CLASSES),
        ("bert", "headless", None),
    ):
        make_folder(folder / name, kind, task, tokenizer, short)
    return folder


@pytest.fixture
def type_in(monkeypatch):
    """Runs predict.py's main with bytes on standard input."""

    def run(*arguments: str, texts: bytes = b"") -> int:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(texts)))
        return predict.main(list(arguments))

    return run


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_standard_input_becomes_standard_output_line_by_line(models, type_in, capfdbinary):
    assert type_in(f"--model={models}/tagging", texts=TEXTS) == 0
    first, second, third, end = capfdbinary.readouterr().out.split(b"\n")
    assert first.startswith(b"Anna went to Berlin\t")
    assert len(first.split(b"\t")[1].split(b" ")) == 4
    assert second == end == b""
    assert third.startswith(b"Bob\t")


def test_files_get_the_same_output_as_pipes(models, type_in, tmp_path, capfdbinary):
    model, source, target = f"{models}/classification", tmp_path / "in", tmp_path / "out"
    source.write_bytes(TEXTS)
    target.write_text("an older answer")
    assert type_in("--model", model, texts=TEXTS) == 0
    assert type_in("--model", model, f"--input={source}", "--output", str(target)) == 0
    assert target.read_bytes() == capfdbinary.readouterr().out
    assert _files(tmp_path) == {"in", "out"}


def test_a_mistake_in_the_texts_leaves_the_output_as_it_was(models, type_in, tmp_path, capsys):
    target = tmp_path / "out"
    target.write_text("an older answer")
    bad = b"Anna\n" * 2000 + b"\xff\n"
    assert type_in(f"--model={models}/tagging", f"--output={target}", texts=bad) == 2
    assert "standard input:2001: byte 1 of the line, 0xff, is not UTF-8" in capsys.readouterr().err
    assert target.read_text() == "an older answer"
    assert _files(tmp_path) == {"out"}


def test_texts_are_read_in_the_chunks_that_are_labelled_together(models, tmp_path, monkeypatch):
    taken, written = [], []

    def read():
        for number in range(5):
            taken.append(number)
            yield b"Anna\n"

    def write(*arguments):
        written.append(len(taken))
        return write_tsv(*arguments)

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=read()))
    monkeypatch.setattr("xdistil.cli.answers._CHUNK", 2)
    monkeypatch.setattr("xdistil.cli.answers.write_tsv", write)
    assert predict.main([f"--model={models}/tagging", f"--output={tmp_path / 'out'}"]) == 0
    assert written == [2, 2, 4, 4, 5]
    assert len((tmp_path / "out").read_text().splitlines()) == 5


def test_an_output_that_is_a_device_stays_one(models, type_in):
    assert type_in(f"--model={models}/tagging", "--output=/dev/null", texts=TEXTS) == 0
    assert Path("/dev/null").is_char_device()


def test_a_full_disk_is_reported(models, type_in, capsys):
    assert type_in(f"--model={models}/tagging", "--output=/dev/full", texts=TEXTS) == 2
    assert capsys.readouterr().err == (
        "predict.py: --output=/dev/full cannot be written (No space left on device).\n"
    )


@pytest.mark.parametrize(
    ("model", "gold", "total"),
    [
        ("tagging", "Anna went to Berlin\ten:B-PER O O B-LOC\nBob slept\tde:B-PER O\n", "macro-F1"),
        ("classification", "Anna went\ten:good\nBob slept\tde:bad\n", "accuracy"),
    ],
)
def test_evaluation_prints_and_writes_the_scores_of_its_own_predictions(
    models, type_in, tmp_path, capsys, model, gold, total
):
    path, target = tmp_path / "gold.tsv", tmp_path / "scores.json"
    path.write_text(gold)
    assert type_in(f"--model={models / model}", f"--evaluate={path}", f"--output={target}") == 0
    predictor = xdistil.load(str(models / model)).predictor
    examples = read_file(path, predictor.task)
    answers = predictor.predict([example.inputs for example in examples])
    expected = score(predictor.task, examples, [answer.labels for answer in answers])
    written = json.loads(target.read_text())
    assert written == {"format": 1, "task": model, **expected}
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["language", "de", "en", total]


def test_gold_labels_that_the_model_does_not_have_are_refused(models, type_in, tmp_path, capsys):
    path = tmp_path / "gold.tsv"
    path.write_text("Anna went\tB-ORG O\n")
    assert type_in(f"--model={models}/tagging", f"--evaluate={path}") == 2
    assert f"{path}:1: tag 'B-ORG' is not among the task's labels" in capsys.readouterr().err


@pytest.mark.parametrize("recorded", [{}, {"scheme": "bioes"}])
def test_gold_tags_are_read_in_the_scheme_of_training_or_the_one_given(
    recorded, models, type_in, tmp_path, capsys
):
    folder, path = tmp_path / "model", tmp_path / "gold.tsv"
    shutil.copytree(models / "tagging", folder)
    config = json.loads((folder / "config.json").read_text())
    config["xdistil"] = {"row_length": 24, **recorded}
    (folder / "config.json").write_text(json.dumps(config))
    path.write_text("Anna Lee went to Berlin\tB-PER E-PER O O S-LOC\n")
    given = [] if recorded else ["--scheme=bioes"]
    assert type_in(f"--model={folder}", f"--evaluate={path}", *given) == 0
    in_bioes = capsys.readouterr().out
    path.write_text("Anna Lee went to Berlin\tB-PER I-PER O O B-LOC\n")
    assert type_in(f"--model={folder}", f"--evaluate={path}", "--scheme=iob2") == 0
    assert capsys.readouterr().out == in_bioes
    path.write_text("Anna Lee\tB-PER L-PER\n")
    assert type_in(f"--model={folder}", f"--evaluate={path}", "--scheme=iob2") == 2
    assert "--scheme) if the tags have another scheme" in capsys.readouterr().err
    path.write_text("Anna Lee\tB-PER I-CAR\n")
    assert type_in(f"--model={folder}", f"--evaluate={path}", "--scheme=iob2") == 2
    assert "another scheme" not in capsys.readouterr().err
    path.write_text("Anna Lee\tI-PER I-PER\n")
    assert type_in(f"--model={folder}", f"--evaluate={path}", "--scheme=iob2") == 2
    assert "xdistil evaluate: --scheme" in capsys.readouterr().err


def test_illegal_gold_tags_are_repaired_if_those_of_training_were(
    models, type_in, tmp_path, capsys
):
    folder, path = tmp_path / "model", tmp_path / "gold.tsv"
    shutil.copytree(models / "tagging", folder)
    config = json.loads((folder / "config.json").read_text())
    config["xdistil"] |= write_preprocessing(Data(repair=True))["xdistil"] | {"row_length": 24}
    config["xdistil"]["max_length"] = 24
    (folder / "config.json").write_text(json.dumps(config))
    path.write_text("Anna Lee\tI-PER I-PER\n")
    assert type_in(f"--model={folder}", f"--evaluate={path}") == 0


def test_the_number_of_cut_texts_is_reported_once(models, type_in, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("xdistil.cli.answers._CHUNK", 2)
    long = b"Anna went to Berlin with Bob " * 6 + b"\n"
    lines = long + b"Bob\n" + long + b"\n" + b"Bob\t" + long
    assert type_in(f"--model={models}/classification", texts=lines) == 0
    assert caplog.messages == ["3 of 4 texts are longer than 24 subwords and are truncated"]
    caplog.clear()
    path = tmp_path / "gold.tsv"
    path.write_bytes(b"Bob\tgood\n" + long.rstrip() + b"\tbad\n")
    assert type_in(f"--model={models}/classification", f"--evaluate={path}") == 0
    assert caplog.messages == ["1 of 2 texts are longer than 24 subwords and are truncated"]
    caplog.clear()
    assert type_in(f"--model={models}/tagging", texts=long) == 0  # windows lose nothing
    assert not caplog.messages


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--model is missing: name a folder such as runs/quickstart/student."),
        (["--model"], "Argument --model: expected one argument."),
        (["--modle=x"], "'--modle' is not an option of predict.py (did you mean --model?)."),
        (["--model=x", "--input=gone"], "--input=gone does not exist."),
        (["--model=x", "--evaluate=."], "--evaluate=. is a folder: name a file."),
        (["--model=x", "--output=."], "--output=. is a folder: name a file."),
        (
            ["--model=x", "--output=gone/out"],
            "--output=gone/out is in a folder that does not exist: create gone.",
        ),
        (
            ["--model=x", "--input=a", "--evaluate=b"],
            "--input and --evaluate are both given: the gold file of --evaluate holds the texts.",
        ),
        (
            ["--model=x", "--scheme=bioes"],
            "--scheme is the scheme of gold tags: name their file with --evaluate.",
        ),
        (["--model=./gone"], "'./gone': no such folder."),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(
    type_in, tmp_path, monkeypatch, capsys, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    assert type_in(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err == f"predict.py: {sentence}\n"
    assert captured.out == ""
    assert not _files(tmp_path)


def test_a_model_without_a_head_is_refused(models, type_in, capsys):
    assert type_in(f"--model={models}/headless", texts=TEXTS) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "headless has no head for tagging or classification" in captured.err


def test_the_program_exits_with_what_main_returns():
    program = Path(predict.__file__)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("predict.py: --model is missing")


def test_a_closed_output_pipe_is_no_error(models, tmp_path):
    source = tmp_path / "texts"
    source.write_bytes(b"Anna\n" * 20_000)
    program = [sys.executable, predict.__file__, f"--model={models}/tagging", f"--input={source}"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout.readline().startswith(b"Anna\t")
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait() == 0


def test_further_fields_of_json_lines_come_back(models, type_in, capfdbinary, caplog):
    rows = [
        {"id": 7, "tokens": ["Anna", "went"], "tags": ["x", "y"], "more": {"a": [None, 1.5]}},
        {"text": "Bob", "half": "\ud800"},
    ]
    texts = "\n\n".join(map(json.dumps, rows)).encode() + b"\n\n"
    given = f"--model={models}/tagging", "--format=jsonl"
    assert type_in(*given, texts=texts) == 0
    first, second = map(json.loads, capfdbinary.readouterr().out.splitlines())
    assert (first["id"], first["more"], second["half"]) == (7, {"a": [None, 1.5]}, "\ud800")
    assert (first["text"], second["text"]) == ("Anna went", "Bob")
    assert set(first["tags"]) <= {*TAGGING.labels}
    assert caplog.messages == [
        "standard input: blank lines have no answer (1, the first is line 2)"
    ]
    caplog.clear()
    assert type_in(*given, "--output-format=tsv", texts=texts) == 0
    (told,) = [each for each in caplog.messages if "blank" not in each]
    assert told.startswith("tsv output has no place for the fields of the input such as 'id'")


def test_columns_of_csv_come_back_beside_the_label(models, type_in, capfdbinary):
    texts = b'id,text\n7,"Anna, ""went"""\n8,\n'
    assert type_in(f"--model={models}/classification", "--format=csv", texts=texts) == 0
    answers = capfdbinary.readouterr().out.decode().splitlines()
    assert answers[0] == "id,text,label"
    assert answers[1].removeprefix('7,"Anna, ""went""",') in CLASSES.labels
    assert answers[2] == "8,,"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("out.csv", "text,tags\nAnna went to Berlin,{0}\n,\nBob,{1}\n"),
        ("out.tsv", "Anna went to Berlin\t{0}\n\nBob\t{1}\n"),
        ("out.tsv.gz", "Anna went to Berlin\t{0}\n\nBob\t{1}\n"),
        ("out", "Anna went to Berlin\t{0}\n\nBob\t{1}\n"),
    ],
)
def test_the_ending_of_the_output_is_its_format(models, type_in, tmp_path, name, expected):
    target = tmp_path / name
    assert type_in(f"--model={models}/tagging", f"--output={target}", texts=TEXTS) == 0
    written = gzip.decompress(target.read_bytes()) if name[-2:] == "gz" else target.read_bytes()
    predictor = xdistil.load(str(models / "tagging")).predictor
    answers = predictor.predict([("Anna", "went", "to", "Berlin"), ("Bob",)])
    assert written.decode() == expected.format(*(" ".join(each.labels) for each in answers))


@pytest.mark.parametrize("texts", [TEXTS, b""])
def test_json_is_one_list(models, type_in, tmp_path, texts):
    target, lines = tmp_path / "out.json", tmp_path / "out.jsonl"
    for each in (target, lines):
        assert type_in(f"--model={models}/tagging", f"--output={each}", texts=texts) == 0
    assert json.loads(target.read_text()) == list(map(json.loads, lines.read_text().splitlines()))


@pytest.mark.parametrize("how", ["same", "link", "hard link", "stdin", "evaluate"])
def test_an_output_that_is_the_input_is_refused(tmp_path, monkeypatch, capsys, how):
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(TEXTS)
    read = "--evaluate" if how == "evaluate" else "--input"
    if how == "link":
        target.symlink_to(source)
    elif how == "hard link":
        target.hardlink_to(source)
    else:
        target = source
    with source.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        given = [] if how == "stdin" else [f"{read}={source}"]
        assert predict.main(["--model=x", *given, f"--output={target}"]) == 2
    name = "standard input" if how == "stdin" else read
    assert f"is the file of {name}, which would be lost" in capsys.readouterr().err
    assert source.read_bytes() == TEXTS


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--input=in.xlsx"], "--input=in.xlsx: .xlsx files are not supported: use .txt"),
        (["--output=out.parquet"], "--output=out.parquet: .parquet files are not supported"),
        (["--input=in.xlsx", "--columns=text:1"], ".xlsx files are not supported"),
        (["--output=out.xml"], "or name the format with --output-format."),
        (["--input=in.txt", "--columns=text:1"], "--columns is for .tsv, .csv, .jsonl, .json"),
        (["--evaluate=in.txt", "--columns=text:1"], "are for texts to label"),
        (["--evaluate=in.txt", "--output=out.csv"], "scores are written as JSON and not as csv"),
    ],
)
def test_files_of_other_formats_are_refused(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    for ending in ("json", "parquet", "xlsx", "txt"):
        (tmp_path / f"in.{ending}").touch()
    assert predict.main(["--model=x", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_a_home_folder_and_a_workdir_are_found(models, type_in, tmp_path, monkeypatch, capfdbinary):
    monkeypatch.setenv("HOME", str(tmp_path))
    workdir = tmp_path / "run"
    shutil.copytree(models / "tagging", workdir / "student")
    (workdir / "config.json").write_text('{"plan": [], "teacher": {}, "student": {}}')
    (workdir / "results.json").touch()
    (tmp_path / "in.txt").write_text("Anna\n")
    assert type_in("--model=~/run", "--input=~/in.txt", "--output=~/out.conll") == 0
    assert (tmp_path / "out.conll").read_text().startswith("Anna\t")
