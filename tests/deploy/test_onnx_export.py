"""`xdistil export`: ONNX files are written only if they pass their tests."""

import json
import re
import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from tests.deploy.folders import CLASSES, TAGGING, WORDS, make_folder, train_tokenizer
from xdistil.cli import export as command
from xdistil.config import Data, Experiment
from xdistil.data.decoding import ARGMAX
from xdistil.data.examples import Example, write_tsv
from xdistil.data.word_alignment import label_subwords
from xdistil.deploy import onnx_export as export
from xdistil.deploy import quantize
from xdistil.deploy.jax_backend import open_model
from xdistil.deploy.onnx_backend import OnnxBackend
from xdistil.deploy.onnx_card import render_files
from xdistil.deploy.onnx_export import cut, export_onnx
from xdistil.deploy.predictor import load
from xdistil.deploy.preprocessing import write_preprocessing
from xdistil.deploy.quantize import quantize_onnx
from xdistil.errors import InputError, RefusedError
from xdistil.experiment.training import export_student
from xdistil.models import onnx_graph as builder
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.hf.folder import save_model

SHORT = write_preprocessing(Data(row_length=24, max_length=12))


def _sentences(count: int, language: str = "en") -> list[Example]:
    generator = np.random.default_rng(count)
    sizes = generator.integers(1, 16, count)
    drawn = (generator.choice(WORDS, size).tolist() for size in sizes)
    return [Example(tuple(words), None, language) for words in drawn]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return train_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def _draw_bilstm(vocabulary_size: int) -> tuple[BiLSTM, dict]:
    """A student whose embeddings and recurrent weights are exact in int8 with one scale per row."""
    generator = np.random.default_rng(5)
    model = BiLSTM(BiLSTMConfig(vocabulary_size, 24, 16, 40), len(TAGGING.labels))

    def draw(rows: int, columns: int, scale: float) -> np.ndarray:
        whole = generator.integers(-126, 127, (rows, columns))
        whole[:, 0] = 127
        return (whole * scale / 127).astype(np.float32)

    direction = {
        "input_kernel": lambda: draw(64, 24, 0.4).T,
        "recurrent_kernel": lambda: draw(64, 16, 0.2).T,
        "bias": lambda: np.zeros(64, np.float32),
    }
    params = {
        "embeddings": {"word_embeddings": {"embedding": draw(vocabulary_size, 24, 1.0)}},
        "lstm": {
            name: {leaf: make() for leaf, make in direction.items()}
            for name in ("forward", "backward")
        },
        "projection": {"kernel": draw(32, 40, 1.0), "bias": np.zeros(40, np.float32)},
        "classifier": {
            "kernel": generator.normal(size=(40, 5)).astype(np.float32),
            "bias": np.zeros(5, np.float32),
        },
    }
    # An unused row, a thousand times as large, which would determine a common scale.
    params["embeddings"]["word_embeddings"]["embedding"][4] *= 1000
    return model, params


@pytest.fixture(scope="module")
def student(tmp_path_factory, tokenizer):
    """The folder of a tagging student with onnx/model.onnx, and sentences with clear labels."""
    folder = tmp_path_factory.mktemp("models") / "student"
    model, params = _draw_bilstm(tokenizer.vocabulary_size)
    save_model(folder, model, params, TAGGING, tokenizer, SHORT)
    examples = _sentences(400) + _sentences(401, "de")
    opened = open_model(str(folder))
    path = export_onnx(opened, folder, examples)
    subwords = export.cut(opened, examples)
    logits = OnnxBackend(path).compute_logits(subwords, len(TAGGING.labels))
    labels = label_subwords(subwords, logits[subwords.word >= 0], examples, TAGGING, ARGMAX)
    answers = load(str(folder)).predictor.predict([example.inputs for example in examples])
    assert labels == [answer.labels for answer in answers]
    # If two classes are nearly equal, a correct quantization may choose the other.
    best = np.sort(logits, axis=1)
    unsure = subwords.label_mask & (best[:, -1] - best[:, -2] < 0.3)
    left_out = set(np.repeat(subwords.example, np.diff(subwords.start))[unsure].tolist())
    gold = [
        Example(example.inputs, tags, example.language)
        for index, (example, tags) in enumerate(zip(examples, labels, strict=True))
        if index not in left_out
    ]
    return folder, gold


@pytest.fixture
def copied(student, tmp_path):
    """A copy of the student, opened, and the sentences."""
    folder = shutil.copytree(student[0], tmp_path / "student")
    return folder, open_model(str(folder)), student[1]


def test_texts_of_all_lengths_are_compared_and_the_difference_is_logged(copied, caplog):
    folder, opened, gold = copied
    subwords = export.choose_subwords(opened, gold)
    chosen, all_of_them = (
        np.unique(np.diff(each.start)) for each in (subwords, export.cut(opened, gold))
    )
    np.testing.assert_array_equal(chosen, all_of_them)
    difference, _ = export.compare(opened, subwords, folder / "onnx/model.onnx")
    assert 0 < difference < 1e-5
    with caplog.at_level("INFO", "xdistil"):
        export_onnx(opened, folder, gold)
    assert f"differ from the model's by {difference:.1e} at most" in caplog.text


def test_a_pair_of_texts_is_compared_too(tmp_path, tokenizer):
    folder = make_folder(tmp_path / "model", "bert", CLASSES, tokenizer, SHORT)
    pairs = [Example((" ".join(e.inputs[:3]), "Bob slept"), None, "en") for e in _sentences(9)]
    opened = open_model(str(folder))
    path = export_onnx(opened, folder, pairs)
    graph = onnx.load(str(path))
    assert [each.name for each in graph.graph.input][-1] == "token_type_ids"
    subwords = export.cut(opened, pairs)
    logits = OnnxBackend(path).compute_logits(subwords, len(CLASSES.labels))
    answers = label_subwords(subwords, logits[subwords.word >= 0], pairs, CLASSES, ARGMAX)
    expected = load(str(folder)).predictor.predict([example.inputs for example in pairs])
    assert answers == [answer.labels for answer in expected]


def test_a_file_that_differs_is_not_written_and_the_one_before_is_gone(copied, monkeypatch):
    folder, opened, gold = copied
    real = builder.Graph.leaf

    def shift(graph: builder.Graph, name: str) -> np.ndarray:
        return real(graph, name) + (1e-3 if name == "classifier.bias" else 0)

    monkeypatch.setattr(builder.Graph, "leaf", shift)
    with pytest.raises(
        RefusedError, match=r"was not written: its logits differ .* by 1.0e-03 in a"
    ):
        export_onnx(opened, folder, gold)
    assert list((folder / "onnx").iterdir()) == []


def test_a_correct_int8_file_passes_and_is_smaller(copied):
    folder, opened, gold = copied
    outcome = quantize_onnx(opened, folder, gold, gold[::2])
    (trial,) = outcome.trials
    assert trial.name == "int8"
    assert trial.test is not None
    assert trial.bytes == outcome.path.stat().st_size < outcome.whole_bytes / 2
    others = sum(
        (folder / name).stat().st_size
        for name in ("tokenizer.json", "tokenizer_config.json", "config.json")
    )
    assert trial.loaded == trial.bytes + others
    graph = onnx.load(str(outcome.path)).graph
    kinds = {each.name: each.data_type for each in graph.initializer}
    assert kinds["embeddings.word_embeddings.embedding"] == onnx.TensorProto.INT8
    assert not {"lstm.input_kernel", "lstm.recurrent_kernel", "projection.kernel"} & set(kinds)
    operators = [node.op_type for node in graph.node]
    assert operators.count("MatMulInteger") == operators.count("DynamicQuantizeLSTM") == 1
    record = json.loads((folder / "onnx/quantization.json").read_text())
    assert record["chosen"] == "int8"


def test_one_scale_for_all_embeddings_is_caught_and_embeddings_stay_float(copied, monkeypatch):
    folder, opened, gold = copied

    def ruin(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scale = np.abs(values).max() / np.float32(127)
        return np.rint(values / scale).astype(np.int8), np.full((*values.shape[:-1], 1), scale)

    monkeypatch.setattr(builder, "quantize_rows", ruin)
    outcome = quantize_onnx(opened, folder, gold, None)
    first, last = outcome.trials[0], outcome.trials[-1]
    assert not first.passed
    assert first.dev.worse == ["de", "en"]
    assert last.passed
    assert last.name == "int8, but embeddings"
    graph = onnx.load(str(outcome.path)).graph
    kinds = {each.name: each.data_type for each in graph.initializer}
    assert kinds["embeddings.word_embeddings.embedding"] == onnx.TensorProto.FLOAT
    assert "lstm.recurrent_kernel" not in kinds


def test_if_no_candidate_passes_no_file_is_written_and_the_table_says_why(copied, monkeypatch):
    folder, opened, gold = copied
    quantize_onnx(opened, folder, gold, None)
    params = {**opened.params, "classifier": {"kernel": np.zeros((40, 5), np.float32)}}
    params["classifier"]["bias"] = np.arange(5, dtype=np.float32)
    object.__setattr__(opened, "params", params)
    with pytest.raises(RefusedError, match="no candidate passed") as refused:
        quantize_onnx(opened, folder, gold, None)
    for words in ("int8 embeddings, float16", "\nfloat16 ", "de, en"):
        assert words in str(refused.value)
    assert {path.name for path in (folder / "onnx").iterdir()} == {"model.onnx"}


def test_a_file_that_fails_on_test_is_refused(copied):
    folder, opened, gold = copied
    (subword,) = opened.tokenizer.backend.encode("Berlin", add_special_tokens=False).ids
    table = opened.params["embeddings"]["word_embeddings"]["embedding"].at[subword].multiply(-1)
    embeddings = {"word_embeddings": {"embedding": table}}
    object.__setattr__(opened, "params", {**opened.params, "embeddings": embeddings})
    dev, test = (
        [example for example in gold if ("Berlin" in example.inputs) == wanted]
        for wanted in (False, True)
    )
    with pytest.raises(RefusedError, match="no candidate passed") as refused:
        quantize_onnx(opened, folder, dev, test)
    *_, line = (each for each in str(refused.value).splitlines() if each.startswith("float16"))
    assert line.split()[3] == "+0.00"  # on dev


def test_the_size_limit_counts_tokenizer_and_config(copied):
    folder, opened, gold = copied
    loaded = quantize_onnx(opened, folder, gold, None).trials[0].loaded
    assert quantize_onnx(opened, folder, gold, None, loaded).trials[0].passed
    with pytest.raises(RefusedError, match="too large"):
        quantize_onnx(opened, folder, gold, None, loaded - 1)


def test_the_command_writes_both_files_and_prints_the_table(copied, tmp_path, capsys):
    folder, _, gold = copied
    shutil.rmtree(folder / "onnx")
    write_tsv(tmp_path / "dev.tsv", gold, [example.labels for example in gold])
    given = [f"--model={folder}", f"--dev={tmp_path / 'dev.tsv'}"]
    assert command.main([*given, "--int8", f"--test={tmp_path / 'dev.tsv'}"]) == 0
    printed = capsys.readouterr().out
    assert "LATIN" in printed
    names = {"model.onnx", "model_quantized.onnx", "quantization.json"}
    assert {path.name for path in (folder / "onnx").iterdir()} == names
    assert command.main([*given, "--int8", "--max-mb=0.001"]) == 1
    assert "no candidate passed in 0.0 MB" in capsys.readouterr().err


def test_the_command_refuses_a_dev_set_that_decides_nothing_unless_told(copied, tmp_path, capsys):
    folder, _, gold = copied
    write_tsv(tmp_path / "dev.tsv", gold[:5], [example.labels for example in gold[:5]])
    given = [f"--model={folder}", f"--dev={tmp_path / 'dev.tsv'}", "--int8"]
    before = {path: path.stat().st_mtime_ns for path in (folder / "onnx").iterdir()}
    assert command.main(given) == 1
    assert "model_quantized.onnx was not written: dev has" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "onnx").iterdir()}
    assert command.main([*given, "--allow-small-dev"]) == 0
    assert (folder / "onnx" / "model_quantized.onnx").exists()


def test_a_card_describes_the_onnx_files_and_its_code_runs(copied, tmp_path, capsys):
    folder, opened, gold = copied
    card = folder / "README.md"
    shutil.rmtree(folder / "onnx")
    card.write_text(f"# A student\n\n{render_files(folder)}\n\n## Limits\n", "utf-8")
    write_tsv(tmp_path / "dev.tsv", gold, [example.labels for example in gold])
    given = [f"--model={folder}", f"--dev={tmp_path / 'dev.tsv'}"]
    assert command.main([*given, "--int8", f"--test={tmp_path / 'dev.tsv'}"]) == 0
    capsys.readouterr()
    told = card.read_text("utf-8")
    size = (folder / "onnx/model_quantized.onnx").stat().st_size
    assert f"(int8) takes {size / 1e3:.1f} kB" in told
    assert "+0.00 points on dev and +0.00 points on test, and no language" in told
    assert "Scores by script (float32, then quantized): LATIN 100.00 and 100.00." in told
    assert (told.startswith("# A student\n"), told.endswith("## Limits\n")) == (True, True)

    (shown,) = re.findall(r"```python\n(.*?)```", told, re.DOTALL)
    given_names: dict[str, Any] = {}
    text = "Anna went to Berlin"
    exec(shown.replace("FOLDER", str(folder)).replace("Some text", text), given_names)
    subwords = cut(opened, [Example(tuple(text.split()), None, "en")])
    np.testing.assert_allclose(
        given_names["logits"][0], opened.compute_logits(subwords), rtol=0, atol=1e-4
    )

    assert command.main(given) == 0  # without --int8: the quantized file is removed
    capsys.readouterr()
    told = card.read_text("utf-8")
    assert "model.onnx` (float32) takes" in told
    assert "int8" not in told
    decoded = "the tags of a sentence are the most probable legal ones"
    assert decoded not in told
    config = json.loads((folder / "config.json").read_text())
    config["xdistil"]["decoding"] = "viterbi"
    (folder / "config.json").write_text(json.dumps(config))
    assert decoded in render_files(folder)
    card.write_text("# Somebody's own card\n", "utf-8")
    assert command.main(given) == 0
    assert card.read_text("utf-8") == "# Somebody's own card\n"


@pytest.mark.parametrize("kind", ["bert", "classes", "roberta"])
def test_the_code_in_a_card_gives_a_file_its_inputs(kind, tmp_path, tokenizer):
    task = CLASSES if kind == "classes" else TAGGING
    folder = make_folder(tmp_path / kind, kind.replace("classes", "bert"), task, tokenizer)
    opened = open_model(str(folder))
    text = "Anna went to Berlin"
    words = tuple(text.split()) if task is TAGGING else (text,)
    path = export_onnx(opened, folder, [Example(words, None, "en")])
    (shown,) = re.findall(r"```python\n(.*?)```", render_files(folder), re.DOTALL)
    given: dict[str, Any] = {}
    exec(shown.replace("FOLDER", str(folder)).replace("Some text", text), given)
    expected = opened.compute_logits(cut(opened, [Example(words, None, "en")]))
    got = given["logits"][0] if task is TAGGING else given["logits"]
    np.testing.assert_allclose(got, expected[: len(got)], rtol=0, atol=1e-4)
    assert set(given["given"]) == set(OnnxBackend(path)._inputs)


def test_a_run_exports_its_student_and_survives_a_refusal(copied, tmp_path, monkeypatch, caplog):
    folder, _, gold = copied
    shutil.rmtree(folder / "onnx")
    run: Any = SimpleNamespace(
        experiment=Experiment(export="int8"),
        corpus=SimpleNamespace(test=gold[::2]),
        texts={"dev": SimpleNamespace(examples=gold)},
    )
    session: Any = SimpleNamespace(workdir=folder.parent, writes=True)
    record = export_student(run, session)
    assert record["bytes"] == (folder / "onnx/model.onnx").stat().st_size
    assert (record["chosen"], record["refused"]) == ("int8", None)
    assert (folder / "onnx/model_quantized.onnx").exists()
    json.dumps(record, allow_nan=False)

    run.texts["dev"].examples = gold[:5]
    record = export_student(run, session)
    assert record["bytes"]
    assert "model_quantized.onnx was not written: dev has" in record["refused"]

    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    record = export_student(run, session)
    assert record["bytes"] is None
    assert "was not written" in record["refused"]
    assert record["refused"] in caplog.text
    session.writes = False
    assert export_student(run, session) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dev=x.tsv"], "The following arguments are required: --model"),
        (["--model=none", "--dev=x.tsv"], "--model=none: no such folder"),
        (["--model=.", "--dev=x.tsv", "--max-mb=5"], "add --int8"),
        (["--model=.", "--dev=x.tsv", "--allow-small-dev"], "add --int8"),
        (["--model=.", "--dev=x.tsv", "--int8", "--max-mb=nan"], "must be a number above 0"),
        (["--model=."], "--dev is missing"),
        (["--model=.", "--push=org/x", "--int8"], "--dev is missing"),
        (["--model=.", "--dev=x.tsv", "--private"], "name it with --push"),
        (["--model=.", "--push=tagger"], "--push='tagger' is not a valid repository id"),
        (["--model=.", "--dev=x.tsv", "--fast"], "'--fast' is not an option of xdistil export"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, words, capsys):
    assert command.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_missing_packages_are_named_with_the_command_to_install_them(monkeypatch):
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"onnx and onnxruntime: pip install 'xdistil\[onnx\]'"):
        export.check_packages()


def test_a_file_in_place_of_the_folder_is_reported(copied):
    folder, opened, gold = copied
    shutil.rmtree(folder / "onnx")
    (folder / "onnx").write_text("")
    with pytest.raises(InputError, match=r"model\.onnx cannot be written"):
        export_onnx(opened, folder, gold)


def test_quantize_names_parts_by_layer():
    parts = {
        "encoder.layer.11.attention.self.kernel": "encoder.layer.11",
        "encoder.rel_embeddings.embedding": "encoder",
        "lstm.input_kernel": "lstm",
        "lstm_1.input_kernel": "lstm_1",
        "embeddings.word_embeddings.embedding": "embeddings",
    }
    assert {name: quantize._find_part(name) for name in parts} == parts
