"""A license comes from the config or from model cards, and is never guessed."""

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from tests.evaluation.test_report import ENVIRONMENT, RESULTS
from xdistil.config import Experiment, Stage, Teacher
from xdistil.deploy.license import find_license
from xdistil.deploy.model_card import write_card
from xdistil.errors import InputError
from xdistil.runtime.workdir import check_workdir, claim_workdir
from xdistil.validation.experiment import validate


def make_model(folder: Path, metadata: str | None) -> str:
    folder.mkdir()
    if metadata is not None:
        (folder / "README.md").write_text(f"---\n{metadata}\n---\n\n# A model\n")
    return str(folder)


def read_card(tmp_path: Path, experiment: Experiment, which: str) -> ModelCard:
    licenses = {name: find_license(experiment, name) for name in ("teacher", "student")}
    folder = tmp_path / "written"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    write_card(folder, which, RESULTS, experiment, {**ENVIRONMENT, "licenses": licenses})
    return ModelCard.load(folder / "README.md")


@pytest.mark.parametrize("which", ["teacher", "student"])
def test_the_license_of_the_teachers_card_is_passed_on(which, tmp_path):
    name = make_model(tmp_path / "mono", "license: cc-by-4.0")
    card = read_card(tmp_path, Experiment(teacher=Teacher(model=name)), which)
    assert card.data.license == "cc-by-4.0"
    assert f"`cc-by-4.0`, as stated by the card of `{name}`." in card.text
    assert "may have their own terms" in card.text


def test_a_custom_license_keeps_its_name_and_link_but_no_file(tmp_path):
    link = "https://example.org/license"
    stated = f"license: other\nlicense_name: gemma\nlicense_link: {link}"
    experiment = Experiment(teacher=Teacher(model=make_model(tmp_path / "a", stated)))
    data = read_card(tmp_path, experiment, "student").data
    assert (data.license, data.license_name, data.license_link) == ("other", "gemma", link)
    stated = "license: other\nlicense_name: gemma\nlicense_link: LICENSE"
    experiment = Experiment(teacher=Teacher(model=make_model(tmp_path / "b", stated)))
    data = read_card(tmp_path, experiment, "student").data
    assert (data.license, data.license_name, data.license_link) == ("other", "gemma", None)


@pytest.mark.parametrize(
    "metadata", [None, "language: en", "license: [mit, apache-2.0]", "license: [mit", "license: ''"]
)
def test_a_card_says_that_no_license_is_stated(metadata, tmp_path):
    name = make_model(tmp_path / "silent", metadata)
    card = read_card(tmp_path, Experiment(teacher=Teacher(model=name)), "student")
    assert card.data.license is None
    assert "license:" not in card.content.partition("\n---\n")[0]
    told = f"No license is stated: the config names none, and neither does the card of `{name}`."
    assert told in card.text


def test_a_teacher_from_scratch_has_no_license(tmp_path):
    card = read_card(tmp_path, Experiment(), "student")
    assert card.data.license is None
    assert "no model with a card is used" in card.text


def test_two_models_that_a_student_comes_from_must_agree(tmp_path):
    names = {
        license: make_model(tmp_path / license, f"license: {license}")
        for license in ("mit", "gpl-3.0")
    }
    experiment = Experiment(teacher=Teacher(model=names["mit"]))
    experiment.student.kind, experiment.student.checkpoint = "transformer", names["gpl-3.0"]
    assert find_license(experiment, "teacher")["license"] == "mit"
    assert "license" not in find_license(experiment, "student")
    card = read_card(tmp_path, experiment, "student")
    mit, gpl = names.values()
    assert f"the cards of `{mit}` and `{gpl}` state different ones" in card.text
    experiment.student.checkpoint = make_model(tmp_path / "another", "license: mit")
    assert find_license(experiment, "student")["license"] == "mit"


def test_the_configs_license_precedes_that_of_cards_and_may_change_when_a_run_resumes(tmp_path):
    experiment = Experiment(teacher=Teacher(model=make_model(tmp_path / "mono", "license: mit")))
    claim_workdir(tmp_path, experiment)
    experiment.license = "apache-2.0"
    check_workdir(tmp_path, experiment)
    card = read_card(tmp_path, experiment, "student")
    assert card.data.license == "apache-2.0"
    assert "`apache-2.0`, as stated by the config of the run." in card.text


def test_a_license_that_is_not_an_identifier_of_the_hub_is_refused():
    experiment = Experiment(plan=(Stage(name="labels", loss="labels", data="train"),))
    experiment.data.generate, experiment.student.embedding_size = 10, 8
    experiment.license = "mit"
    validate(experiment)
    experiment.license = "Apache License 2.0"
    with pytest.raises(InputError, match=r"'Apache License 2[.]0': it must be a name"):
        validate(experiment)
