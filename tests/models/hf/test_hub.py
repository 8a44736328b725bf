"""Hub ids, offline, with a hub cache written by hand."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

import xdistil
from tests.models.samples import FIXTURES
from xdistil.errors import InputError
from xdistil.models.hf import hub
from xdistil.models.hf.hub import check_name, find_folder, find_student

# The hub's client reads its environment at import, so this runs in another process.
PROGRAM = """
import json, sys
from xdistil.errors import InputError
from xdistil.models.hf.hub import find_folder
answers = []
for name, revision in json.loads(sys.argv[1]):
    try:
        answers.append(str(find_folder(name, revision)))
    except InputError as error:
        answers.append("refused: " + str(error))
print(json.dumps(answers))
"""


def add_to_cache(cache: Path, name: str, branch: str, commit: str, source: Path) -> Path:
    """Write a model into a hub cache as the client would; returns its snapshot."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / branch).write_text(commit)
    snapshot = repository / "snapshots" / commit
    shutil.copytree(source, snapshot)
    return snapshot


def ask(cache: Path, *questions: tuple[str, str]) -> list[str]:
    """The result of `find_folder`, offline, for each (name, revision)."""
    environment = os.environ | {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(questions)],
        env=environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_ids_are_found_in_the_cache_by_revision_and_others_are_refused(tmp_path: Path) -> None:
    first = add_to_cache(tmp_path, "some/tagger", "main", "a" * 40, FIXTURES / "bert_tagging")
    second = add_to_cache(tmp_path, "some/tagger", "v2", "b" * 40, FIXTURES / "electra_tagging")
    flax = add_to_cache(tmp_path, "some/flax", "main", "c" * 40, FIXTURES / "flax_bert")
    answers = ask(
        tmp_path,
        ("some/tagger", "main"),
        ("some/tagger", "v2"),
        ("some/tagger", "b" * 40),
        ("some/flax", "main"),
        ("some/stranger", "main"),
        ("some/tagger", "v3"),
        ("no id at all", "main"),
    )
    assert answers[:4] == [str(first), str(second), str(second), str(flax)]
    for answer, name in zip(answers[4:6], ("some/stranger", "some/tagger"), strict=True):
        assert answer.startswith(f"refused: '{name}': no such folder, the hub cannot be reached")
        assert "\n" not in answer
    assert answers[6] == "refused: 'no id at all': no such folder."


def test_a_folder_is_itself() -> None:
    folder = FIXTURES / "bert_tagging"
    assert find_folder(str(folder)) == folder


@pytest.mark.parametrize("name", ["./absent", "/absent/model", "~/absent", "a/b/c"])
def test_a_path_that_is_not_there_is_refused_without_asking_the_hub(name: str) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_folder(name)


def test_a_name_below_a_folder_that_is_there_is_a_path(tmp_path, monkeypatch) -> None:
    (tmp_path / "runs" / "quickstart").mkdir(parents=True)
    (tmp_path / "runs" / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "_reaches_hub", None)  # it is not asked
    with pytest.raises(InputError) as caught:
        find_folder("runs/quikstart")
    assert str(caught.value) == (
        "'runs/quikstart': no such folder (did you mean runs/quickstart?)."
    )
    with pytest.raises(InputError, match="runs/file is a file: name the folder of a model"):
        find_folder("runs/file")


def test_a_hub_that_does_not_answer_is_waited_for_no_longer_than_a_moment(monkeypatch) -> None:
    monkeypatch.setattr(hub, "_PATIENCE", 0.05)

    def wait(*_: object) -> None:
        time.sleep(1)
        raise OSError

    monkeypatch.setattr(hub.socket, "create_connection", wait)
    started = time.monotonic()
    with pytest.raises(InputError, match="'some/stranger': no such folder, the hub cannot"):
        check_name("some/stranger")
    assert time.monotonic() - started < 0.5


def test_a_hub_without_the_model_says_so_too(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise LookupError

    def give_up(*_: object, **__: object) -> None:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(hub, "_reaches_hub", lambda: True)
    for download, sentence in (
        (refuse, "'a/b': no such folder, and the hub has no such model at"),
        (give_up, "'a/b': no such folder, the hub cannot be reached"),
    ):
        monkeypatch.setattr("huggingface_hub.snapshot_download", download)
        with pytest.raises(InputError, match=sentence):
            find_folder("a/b")


def test_a_model_of_the_hub_is_looked_for_before_jax_is_imported(monkeypatch) -> None:
    monkeypatch.setattr(hub, "_reaches_hub", lambda: False)
    monkeypatch.setattr("xdistil.deploy.predictor._open_jax", None)
    with pytest.raises(InputError, match="'some/stranger': no such folder"):
        xdistil.load("some/stranger")


def test_a_home_folder_is_found(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").touch()
    assert find_folder("~/model") == tmp_path / "model"


def test_a_workdir_leads_to_its_student(tmp_path, monkeypatch, caplog) -> None:
    workdir = tmp_path / "run"
    (workdir / "student").mkdir(parents=True)
    (workdir / "config.json").write_text('{"plan": [], "teacher": {}, "student": {}}')
    with pytest.raises(InputError, match="the workdir of a run, and it has no student yet"):
        find_student(str(workdir))
    (workdir / "student" / "config.json").touch()
    assert find_student(str(workdir)) == str(workdir / "student")
    assert "is not finished: this is its best student so far" in caplog.text
    (workdir / "results.json").touch()
    caplog.clear()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_student("~/run") == str(workdir / "student")
    assert not caplog.messages
    with pytest.raises(InputError, match="the workdir of a run and not a model: name the student/"):
        find_folder(str(workdir))
    for other in (str(FIXTURES), "some/id"):
        assert find_student(other) == other
