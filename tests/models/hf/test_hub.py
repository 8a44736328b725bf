"""Hub ids, offline, with a hub cache written by hand."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.samples import FIXTURES
from xdistil.errors import InputError
from xdistil.models.hf.hub import find_folder

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
    for answer, name, revision in zip(
        answers[4:],
        ("some/stranger", "some/tagger", "no id at all"),
        ("main", "v3", "main"),
        strict=True,
    ):
        assert answer.startswith(f"refused: '{name}' is neither a folder nor a model")
        assert f"revision '{revision}'" in answer
        assert "\n" not in answer


def test_a_folder_is_itself() -> None:
    assert find_folder(str(FIXTURES)) == FIXTURES


@pytest.mark.parametrize("name", ["./absent", "/absent/model", "~/absent", "a/b/c"])
def test_a_path_that_is_not_there_is_refused_without_asking_the_hub(name: str) -> None:
    with pytest.raises(InputError, match="There is no folder"):
        find_folder(name)
