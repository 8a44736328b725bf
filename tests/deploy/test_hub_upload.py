"""Uploads to a hub: files come back byte by byte, and mistakes are reported before."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

import xdistil
from tests.deploy.folders import TAGGING, WORDS, make_folder, train_tokenizer
from tests.fake_hub import TOKEN, FakeHub
from xdistil.data.examples import Example
from xdistil.deploy.hub_upload import push_folder
from xdistil.deploy.jax_backend import open_model
from xdistil.deploy.onnx_card import render_files
from xdistil.deploy.onnx_export import export_onnx
from xdistil.errors import InputError

TEXT = "Anna went to New York while Bob slept"

# The hub's client reads its environment at import: the test needs its own process.
PROGRAM = """
import contextlib, io, json, os, sys
import xdistil
from xdistil.cli.main import main
from xdistil.models.hf.hub import find_card, find_exported, find_folder
pushes, name, text = json.loads(sys.argv[1])
told = {"pushes": []}
for arguments, token in pushes:
    os.environ["HF_TOKEN"] = token
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["export", *arguments])
    told["pushes"].append([code, out.getvalue(), err.getvalue()])
read = lambda folder: sorted(
    os.path.relpath(os.path.join(where, file), folder)
    for where, _, files in os.walk(folder) for file in files
)
os.environ["HF_TOKEN"] = sys.argv[2]
told["exported"] = str(find_exported(name, "main", "onnx/model.onnx"))
told["exported files"] = read(told["exported"])
told["folder"] = str(find_folder(name))
told["card"] = str(find_card(name))
words = xdistil.load(name, backend="onnx").tag([text])[0].words
told["answer"] = [[word.tag, word.score] for word in words]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """The folder of a finished run: model, tokenizer, ONNX file and card."""
    place = tmp_path_factory.mktemp("models")
    folder = make_folder(place / "tagger", "bert", TAGGING, train_tokenizer(place / "tokenizer"))
    shown = [Example(tuple(WORDS[:size]), None, "en") for size in range(1, 5)]
    export_onnx(open_model(str(folder)), folder, shown)
    (folder / "README.md").write_text("---\nlibrary_name: xdistil\n---\n\n# Größe\n", "utf-8")
    return folder


@pytest.fixture
def copied(model, tmp_path) -> Path:
    return shutil.copytree(model, tmp_path / "tagger")


@pytest.fixture
def hub():
    hub = FakeHub()
    yield hub
    hub.close()


def read_all(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_uploaded_files_come_back_byte_by_byte(copied, hub, tmp_path):
    whole = read_all(copied)
    bare = shutil.copytree(copied, tmp_path / "bare")
    shutil.rmtree(bare / "onnx")
    fresh = shutil.copytree(bare, tmp_path / "fresh")
    (fresh / "README.md").write_text(f"---\nlicense: mit\n---\n\n{render_files(fresh)}\n", "utf-8")
    (tmp_path / "dev.tsv").write_text("Anna went to Berlin\tB-PER O O B-LOC\n" * 3)
    (copied / ".123.model.onnx").write_text("of a write that was cut off")
    (copied / "onnx" / ".hidden").write_text("likewise")
    older = {"LICENSE": b"kept", "onnx/model.onnx": b"of an older model", "pytorch_model.bin": b"k"}
    hub.files["org/older"] = {"model-00001-of-00002.safetensors": b"likewise", **older}
    pushes = [
        ([f"--model={copied}", "--push=org/tagger", "--private"], TOKEN),
        ([f"--model={bare}", "--push=org/older"], TOKEN),
        ([f"--model={fresh}", "--push=org/fresh", f"--dev={tmp_path / 'dev.tsv'}"], TOKEN),
        ([f"--model={copied}", "--push=elsewhere/tagger"], TOKEN),
        ([f"--model={copied}", "--push=org/refused"], "hf_of_a_stranger"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([pushes, "org/tagger", TEXT]), TOKEN],
        env=os.environ
        | {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": ""}
        | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "0"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])

    first, second, third, elsewhere, stranger = told["pushes"]
    assert (first[0], first[1]) == (0, f"{hub.address}/org/tagger\n"), first
    assert (second[0], third[0]) == (0, 0), (second, third)
    there = {path: content for path, content in hub.files["org/tagger"].items() if path[0] != "."}
    assert there == whole
    assert hub.private == {"org/tagger"}
    assert hub.files["org/older"] == {
        **read_all(bare),
        "LICENSE": b"kept",
        "pytorch_model.bin": b"k",
    }
    assert hub.files["org/fresh"]["onnx/model.onnx"] == (fresh / "onnx/model.onnx").read_bytes()
    assert b"`onnx/model.onnx` (float32) takes " in hub.files["org/fresh"]["README.md"]
    for (code, _, error), status in ((elsewhere, "403"), (stranger, "401")):
        assert code == 2
        (line,) = error.splitlines()
        assert "could not be uploaded to" in line
        assert status in line
    assert set(hub.files) == {"org/tagger", "org/older", "org/fresh"}

    tokenizer = [name for name in whole if name.startswith("tokenizer")]
    exported = sorted(["config.json", "onnx/model.onnx", *tokenizer])
    assert told["exported files"] == exported  # no weights where an ONNX file does
    for name in exported:
        assert (Path(told["exported"]) / name).read_bytes() == whole[name]
    for name in ("model.safetensors", "config.json", *tokenizer):
        assert (Path(told["folder"]) / name).read_bytes() == whole[name]
    assert Path(told["card"]).read_bytes() == whole["README.md"]
    expected = xdistil.load(str(copied), backend="onnx").tag([TEXT])[0].words
    assert told["answer"] == [[word.tag, word.score] for word in expected]


def damage(folder: Path, what: str) -> None:
    if what == "no model":
        (folder / "model.safetensors").unlink()
    elif what == "half a model":
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    elif what == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    elif what == "no card":
        (folder / "README.md").unlink()
    elif what == "a card without YAML":
        (folder / "README.md").write_text("# A model\n")
    elif what == "damaged YAML":
        (folder / "README.md").write_text("---\nlicense: [mit\n---\n")
    else:
        content = (folder / "onnx" / "model.onnx").read_bytes()
        (folder / "onnx" / "model.onnx").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("no model", "has no model.safetensors"),
        ("half a model", "model.safetensors"),
        ("no tokenizer", "tokenizer"),
        ("no card", "has no model card"),
        ("a card without YAML", "has no model card"),
        ("damaged YAML", "its metadata cannot be read"),
        ("half an ONNX file", "is not an ONNX file that can be run"),
    ],
)
def test_an_incomplete_folder_is_refused_before_any_request(copied, monkeypatch, what, words):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub, "HfApi", None)
    damage(copied, what)
    with pytest.raises(InputError, match=words) as error:
        push_folder(copied, "org/tagger")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["tagger", "a/b/c", "org/ta gger", "org/-x", "/x", "org/", "a--b/c"]
)
def test_an_invalid_repository_id_is_refused_before_anything_is_opened(monkeypatch, tmp_path, name):
    monkeypatch.setattr(huggingface_hub, "HfApi", None)
    with pytest.raises(InputError, match="is not a valid repository id"):
        push_folder(tmp_path / "absent", name)


def test_without_a_token_the_error_says_how_to_set_one(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub, "HfApi", None)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(InputError, match="set HF_TOKEN, or log in"):
        push_folder(tmp_path / "absent", "org/tagger")


@pytest.mark.parametrize("offline", [False, True])
def test_without_a_network_the_error_is_one_sentence(copied, hub, monkeypatch, offline):
    hub.close()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(InputError, match="could not be uploaded to org/tagger at http") as error:
        push_folder(copied, "org/tagger")
    assert ("OfflineMode" in str(error.value)) == offline
    assert "\n" not in str(error.value)
