"""The named plans and the experiments made of them: what they hold, and that they need no JAX."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.distill.small import make_bilstm, make_encoder, make_teacher, make_texts
from xdistil.cli.overrides import make_experiment, read_sweep
from xdistil.config import Stage
from xdistil.distill import plan
from xdistil.distill.stages import plan_stages
from xdistil.errors import InputError
from xdistil.plans import PLANS, classify, d42, labels_only, ner, v3, without_labels
from xdistil.validation.experiment import validate

ROOT = Path(__file__).parents[1]


def test_d42_is_representation_then_logits_then_labels():
    stages = d42()
    assert [stage.loss for stage in stages] == ["representation", "logits", "labels"]
    assert [stage.data for stage in stages] == ["transfer", "transfer", "train"]
    assert [stage.unfreeze for stage in stages] == ["all", "gradual", "gradual"]


def test_configs_of_earlier_versions_find_the_named_plans_where_they_were():
    assert (plan.d42(), plan.v3(), plan.labels_only()) == (d42(), v3(), labels_only())


@pytest.mark.parametrize("make", [d42, v3, labels_only])
def test_named_plans_are_made_anew_at_each_call(make):
    """A config changes its stages in place."""
    make()[0].lr = 17.0
    assert make()[0].lr != 17.0


def test_variants_are_made_anew_at_each_call():
    changed = ner()
    changed.student.hidden_size = changed.data.row_length = 17
    changed.plan[0].lr = 17.0
    assert (ner().student.hidden_size, ner().data.row_length) == (300, 64)
    assert ner().plan[0].lr == 2e-3


def test_a_plan_without_labels_has_no_labels_loss_and_reads_transfer_texts():
    both = Stage(name="both", loss="logits+labels", data="train", lr=3e-3)
    assert without_labels((*d42(), both)) == (
        *d42()[:2],
        Stage(name="both", loss="logits", data="transfer", lr=3e-3),
    )
    with pytest.raises(InputError, match="add a stage with logits"):
        without_labels(labels_only())


@pytest.mark.parametrize(
    "name",
    [
        *("d4.2", "v3", "layers", "relations", "labels", "continue"),
        *("annotators", "annotators-gold", "annotators-encoder", "annotators-encoder-gold"),
    ],
)
def test_tagging_and_classification_differ_in_rows_and_in_the_width_of_a_bilstm(name):
    tagging, texts = ner(name), classify(name)
    assert (tagging.data.row_length, texts.data.row_length) == (64, 128)
    tagging.data.row_length = 128
    if tagging.student.kind == "bilstm":
        assert (tagging.student.hidden_size, texts.student.hidden_size) == (300, 200)
        tagging.student.hidden_size = 200
    assert tagging == texts


def test_only_tagging_has_the_variant_for_many_sentences():
    assert ner("large").batch_size == 128
    with pytest.raises(InputError, match="classify has no variant 'large'"):
        classify("large")


def test_a_config_file_is_read_without_jax():
    program = (
        "import sys; sys.path.insert(0, 'configs'); import ner, classify, quickstart, manylang;"
        "ner.get_config('v3'); quickstart.get_config(); manylang.get_config();"
        "print(sorted({'jax', 'flax', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("name", PLANS)
def test_every_named_plan_fits_a_student_and_comes_anew(name):
    student = make_encoder(layers=1) if name in ("v3", "tinybert", "minilmv2") else make_bilstm()
    plan = PLANS[name]()
    stages = plan_stages(plan, "plan", student, make_teacher(), make_texts())
    learnt = {loss for stage in plan for loss in stage.loss.split("+")}
    assert ("labels" in learnt) == (name != "tinybert")
    assert any(stage.trains_head for stage in stages)
    plan[0].lr = 17.0
    assert PLANS[name]()[0].lr != 17.0


def test_strategies_differ_as_in_table_3():
    """Gradual unfreezing in those that end in .2 alone; D3 learns logits and labels together."""
    gradual = {name for name, make in PLANS.items() if any(s.unfreeze == "gradual" for s in make())}
    assert gradual == {"d3.2", "d4.2", "v3", "minilmv2"}
    losses = {
        name: [stage.loss for stage in PLANS[name]()] for name in ("d1", "d2", "d3.1", "d4.1")
    }
    assert losses == {
        "d1": ["logits", "labels+logits"],
        "d2": ["representation+logits", "labels+representation+logits"],
        "d3.1": ["representation", "logits", "labels+logits"],
        "d4.1": ["representation", "logits", "labels"],
    }


@pytest.mark.parametrize(
    ("table", "runs"),
    [
        ("table3", 36),  # five languages and seven strategies, three seeds of each
        ("table4", 3),
        ("table6", 3),
        ("table7", 9),
        ("table8", 18),
        ("table16", 48),
        ("transfer", 48),
        ("others", 12),
        ("d2", 0),
    ],
)
def test_tables_of_the_paper_are_sweeps(table, runs):
    """Every run of them is an experiment that `train` accepts."""
    config = f"{ROOT}/configs/paper.py:{table}"
    given = [("data.folder", "x"), ("teacher.model", "y")]
    settings = read_sweep(config, given)
    assert len(settings) == runs
    for each in settings[::7]:
        make_experiment(config, [*given, *each.items()])


@pytest.mark.parametrize(("variant", "runs"), [("", 24), ("smoke", 8), ("encoder", 0)])
def test_ways_to_learn_from_annotators_are_a_sweep(variant, runs):
    config = f"{ROOT}/configs/annotators.py" + f":{variant}" * bool(variant)
    given = [("data.folder", "x"), ("teacher.labels", "y.jsonl"), ("teacher.model", "z")]
    settings = read_sweep(config, given)
    assert len(settings) == runs
    for each in settings:
        own = dict(each)
        source = f"{ROOT}/configs/annotators.py:{own.pop('variant')}"
        experiment = make_experiment(source, [*given, *own.items()])
        validate(experiment)
        assert experiment.baselines == ()
        assert bool(experiment.teacher.model) == ("encoder" in source)


def test_a_model_for_each_language_sees_the_labels_of_one_language():
    """Of 1,000 sentences that are spread evenly over five languages, 200."""
    given = [("data.folder", "x"), ("teacher.model", "y"), ("data.limit", "1000")]
    config = f"{ROOT}/configs/paper.py:table3"
    rows = [row for row in read_sweep(config, given) if row["plan"] == "d0"]
    limits = {row["data.languages"]: row["data.limit"] for row in rows}
    assert limits == dict.fromkeys(("de", "en", "fr", "nl", "pt"), "200")


def test_variants_of_the_paper_are_its_plans():
    for name, make in PLANS.items():
        overrides = [("data.folder", "x"), ("teacher.model", "y")]
        experiment = make_experiment(f"{ROOT}/configs/paper.py:{name}", overrides)
        assert experiment.plan == make()
    with pytest.raises(InputError, match=r"paper has no variant 'd5' \(did you mean d2\?\)"):
        make_experiment(f"{ROOT}/configs/paper.py:d5", [])
