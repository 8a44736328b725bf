"""What a stage means for a student and a teacher, and which stages are refused."""

from dataclasses import replace

import pytest
from xdistil.distill.recipes import check_teacher, make_recipe, plan_stages, wanted_signals

from tests.distill.small import TEACHER, make_bilstm, make_encoder
from xdistil.config import Stage
from xdistil.errors import InputError
from xdistil.models.families import bert
from xdistil.plans import d42, v3
from xdistil.teacher.signals import SignalSpec

TWELVE = replace(TEACHER, layers=12)


def recipe_of(model, teacher=TEACHER, **fields):
    return make_recipe(Stage(**{"name": "x", **fields}), "plan[2]", model, teacher)


def test_a_bilstm_learns_the_teachers_middle_layer():
    recipe, sides = recipe_of(make_bilstm(), TWELVE, loss="representation")
    assert recipe.hidden_map == ((1, 7),)
    assert sides == ()  # its own projection has the teacher's width
    assert wanted_signals(recipe) == SignalSpec(hidden=(7,))


def test_last_of_a_bilstm_is_the_teachers_last_layer():
    recipe, _ = recipe_of(make_bilstm(), TWELVE, loss="representation", hidden_map="last")
    assert recipe.hidden_map == ((1, 12),)


@pytest.mark.parametrize("layers", ["1:2,1:3", "0:3", "0:0,1:2"])
def test_a_bilstm_has_one_representation(layers):
    with pytest.raises(InputError, match=r"plan\[2\].hidden_map is .* one teacher layer"):
        recipe_of(make_bilstm(), TWELVE, loss="representation", hidden_map=layers)


def test_attention_of_a_bilstm_is_refused():
    with pytest.raises(InputError, match=r"plan\[2\].loss has attention, and a BiLSTM has none"):
        recipe_of(make_bilstm(), loss="logits+attention")


def test_attention_of_unequal_heads_is_refused_with_the_number_to_set():
    with pytest.raises(
        InputError, match=r"plan\[2\].loss .* 4 heads .* 2: set student.heads=2, or"
    ):
        recipe_of(make_encoder(heads=4), loss="attention")


def test_relations_ask_for_the_upper_layer_whatever_heads_width_and_depth():
    student = make_encoder(heads=3, hidden_size=12, layers=3)
    recipe, sides = recipe_of(student, TWELVE, loss="relations")
    assert recipe.relation_map == ((3, 12),)
    assert recipe.relation_heads == 2  # the teacher's
    assert sides == ()
    assert wanted_signals(recipe) == SignalSpec(vectors=(11,))
    assert not wanted_signals(recipe).plain
    recipe, _ = recipe_of(
        student, TWELVE, loss="relations", relation_map="uniform", relation_heads=4
    )
    assert recipe.relation_map == ((1, 4), (2, 8), (3, 12))
    assert recipe.relation_heads == 4


@pytest.mark.parametrize(("heads", "width"), [(3, 8), (8, 12), (3, 12), (0, 9)])
def test_relation_heads_divide_both_widths(heads, width):
    student = make_encoder(hidden_size=width, heads=1)
    with pytest.raises(InputError, match=rf"plan\[2\].relation_heads is .* {width} and 8: choose"):
        recipe_of(student, loss="relations", relation_heads=heads)


def test_relations_of_what_hands_out_no_vectors_are_refused(monkeypatch):
    with pytest.raises(InputError, match=r"plan\[2\].loss has relations, but a BiLSTM"):
        recipe_of(make_bilstm(), loss="relations")
    stages = plan_stages((Stage(name="first", loss="relations"),), "plan", make_encoder(), TEACHER)
    others = plan_stages(v3(), "plan", make_encoder(), TEACHER)
    check_teacher(stages, make_encoder())
    monkeypatch.setattr(bert, "sow_qkv", lambda *vectors: None)
    check_teacher(others, make_encoder())
    with pytest.raises(InputError, match=r"'first' learns relations, but a teacher of bert"):
        check_teacher(stages, make_encoder())
    with pytest.raises(InputError, match=r"plan\[2\].loss has relations, but a student of bert"):
        recipe_of(make_encoder(), loss="relations")


def test_one_projection_may_serve_all_layers():
    model = make_encoder(hidden_size=4, layers=1)
    shared = {"loss": "representation", "hidden_map": "last", "projections": "shared"}
    recipe, sides = recipe_of(model, **shared)
    assert recipe.shared_projection
    assert (len(recipe.hidden_map), sides) == (2, ((4, 8),))
    recipe, sides = recipe_of(model, **{**shared, "projections": "layer"})
    assert not recipe.shared_projection
    assert sides == ((4, 8), (4, 8))


def test_uniform_of_a_bilstm_is_the_teachers_last_layer():
    recipe, _ = recipe_of(make_bilstm(), TWELVE, loss="representation", hidden_map="uniform")
    assert recipe.hidden_map == ((1, 12),)


@pytest.mark.parametrize(
    "loss", ["logits", "representation", "attention", "relations", "labels+logits"]
)
def test_what_needs_a_teacher_is_refused_without_one(loss):
    with pytest.raises(InputError, match=r"plan\[2\].loss is .* needs a teacher"):
        recipe_of(make_encoder(), None, loss=loss)


def test_labels_need_no_teacher():
    recipe, sides = recipe_of(make_encoder(), None, loss="labels", data="train")
    assert recipe.weights == (("labels", 1.0),)
    assert sides == ()
    assert wanted_signals(recipe) == SignalSpec()


def test_layers_that_a_teacher_does_not_have_are_refused():
    with pytest.raises(InputError, match=r"plan\[2\].hidden_map pairs .* teacher layer 5"):
        recipe_of(make_bilstm(), loss="representation", hidden_map="5")
    with pytest.raises(InputError, match=r"plan\[2\].attention_map is 'last'"):
        recipe_of(make_encoder(layers=3), loss="attention")


def test_weights_and_settings_come_from_the_stage():
    recipe, _ = recipe_of(
        make_encoder(),
        loss="logits+attention+labels",
        data="train",
        logits_loss="kl",
        temperature=3.0,
        logits_weight=0.25,
        attention_weight=10.0,
        clip=0.5,
        weight_decay=0.01,
    )
    assert recipe.weights == (("logits", 0.25), ("attention", 10.0), ("labels", 1.0))
    assert (recipe.logits, recipe.temperature) == ("kl", 3.0)
    assert (recipe.clip, recipe.weight_decay) == (0.5, 0.01)


def test_wanted_signals_count_attention_from_zero():
    recipe, _ = recipe_of(
        make_encoder(layers=1), TWELVE, loss="representation+attention+logits", hidden_map="last"
    )
    assert recipe.hidden_map == ((0, 11), (1, 12))
    assert recipe.attention_map == ((1, 12),)
    assert wanted_signals(recipe) == SignalSpec(logits=True, hidden=(11, 12), attention=(11,))


def test_equal_stages_share_a_recipe_and_so_a_compilation():
    """A recipe is a static argument of the compiled step."""
    ours, _ = recipe_of(make_bilstm(), loss="logits")
    again, _ = recipe_of(make_bilstm(), loss="logits")
    assert ours == again
    assert hash(ours) == hash(again)


def test_a_stage_is_refused_by_its_place_in_its_plan():
    plan = (*d42(), Stage(name="attention", loss="attention"))
    with pytest.raises(InputError, match=r"^plan\[3\].loss has attention"):
        plan_stages(plan, "plan", make_bilstm(), TEACHER)


def test_side_projections_train_with_whatever_reads_them():
    """A narrow transformer compares its states through projections that must learn as well."""
    model = make_encoder(hidden_size=4, layers=1)
    planned = plan_stages(v3(), "plan", model, TEACHER)
    assert planned[0].sides == ((4, 8), (4, 8))
    assert "projection" in planned[0].substage.trainable
    assert all("projection" not in stage.substage.trainable for stage in planned[1:])
    same_width = plan_stages(v3(), "plan", make_encoder(layers=1), TEACHER)
    assert "projection" not in same_width[0].substage.trainable


def test_what_is_learnt_decides_what_is_monitored_and_kept():
    representation, logits, *_, labels = plan_stages(d42(), "plan", make_bilstm(), TEACHER)
    assert (representation.learns_head, representation.learns_labels) == (False, False)
    assert (logits.learns_head, logits.learns_labels) == (True, False)
    assert (labels.learns_head, labels.learns_labels) == (True, True)
