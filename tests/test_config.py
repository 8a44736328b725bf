"""Names, defaults and paths of a config."""

import copy
import pickle
import re
from dataclasses import fields, replace

import pytest

from xdistil.config import PATHS, RENAMED, Experiment, Stage, expand_home, split_names, split_paths
from xdistil.errors import InputError
from xdistil.plans import d42


def test_a_name_that_is_no_field_is_refused_where_it_is_set():
    experiment = Experiment(plan=d42())
    for part, name, hint in (
        (experiment.data, "swaped", "Data.swaped (did you mean swapped?)"),
        (experiment, "sed", "Experiment.sed (did you mean seed?)"),
        (experiment.plan[0], "epoch", "Stage.epoch (did you mean epochs?)"),
    ):
        sentence = re.escape(f"There is no field {hint}.")
        with pytest.raises(InputError, match=sentence):
            setattr(part, name, 1)
        with pytest.raises(InputError, match=sentence):
            replace(part, **{name: 1})
        with pytest.raises(InputError, match=sentence):
            type(part)(**{name: 1})


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [(kind, old, new) for kind, names in RENAMED.items() for old, new in names.items()],
)
def test_an_old_name_in_a_config_is_refused_by_its_new_one(kind, old, new):
    sentence = rf"^{kind.__name__}\.{old} is now {kind.__name__}\.{new}: use .*\.$"
    with pytest.raises(InputError, match=sentence):
        kind(**{old: "last"})
    part = kind()
    with pytest.raises(InputError, match=sentence):
        setattr(part, old, "last")
    with pytest.raises(InputError, match=sentence):
        replace(part, **{old: "last"})
    names = {field.name for field in fields(kind)}
    assert new in names
    assert old not in names
    assert copy.deepcopy(part) == pickle.loads(pickle.dumps(part)) == part


def test_defaults_are_not_shared_between_experiments():
    ours = Experiment()
    ours.teacher.plan[0].lr = 9.0
    ours.data.limit = 5
    assert Experiment().teacher.plan[0].lr == 5e-5
    assert Experiment().data.limit == 0
    assert Stage().loss == ""


def test_several_values_in_a_text_are_separated_by_commas():
    assert split_names(" en, de ,,fr") == ("en", "de", "fr")
    assert split_names("") == ()


def test_a_path_that_exists_may_contain_commas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("d1", "d1,seed=0", "d1,seed=1"):
        (tmp_path / name).mkdir()
    assert split_paths("d1,seed=0, d1,seed=1,d1") == ("d1,seed=0", "d1,seed=1", "d1")
    assert split_paths("d2,seed=0,,d1") == ("d2", "seed=0", "d1")
    assert split_paths(",") == ()


def test_a_tilde_at_the_beginning_of_a_path_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    experiment = Experiment()
    for group, name in PATHS:
        setattr(getattr(experiment, group), name, "~/x")
    experiment.data.transfer = "de:~/a/*.txt, ~/b,en:c~,~"
    expanded = expand_home(experiment)
    assert experiment.data.folder == "~/x"
    assert expanded.data.transfer == "de:/home/anna/a/*.txt,/home/anna/b,en:c~,/home/anna"
    for group, name in PATHS:
        if name != "transfer":
            assert getattr(getattr(expanded, group), name) == "/home/anna/x"
    assert expand_home(Experiment()) == Experiment()
