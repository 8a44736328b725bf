"""What a stage means for a student and a teacher, which stages are refused, how long they take."""

from typing import Any

import numpy as np
import pytest

from tests.distill.small import make_bilstm, make_encoder, make_teacher, make_texts
from xdistil.config import Stage
from xdistil.data.packing import PackedTexts
from xdistil.distill.losses import LossConfig, read_spec
from xdistil.distill.stages import (
    StageRun,
    plan_stages,
    request_signals,
    resolve_losses,
    texts_name,
    with_model,
)
from xdistil.errors import InputError
from xdistil.models.families import bert
from xdistil.models.types import Model
from xdistil.plans import d42, v3
from xdistil.teacher.interface import NoTeacher, Teacher
from xdistil.teacher.signals import SignalSpec

TEACHER = make_teacher()
TWELVE = make_teacher(make_encoder(layers=12))
TEXTS = make_texts()


def resolve(model: Model, teacher: Teacher = TEACHER, **fields: Any) -> LossConfig:
    return resolve_losses(Stage(**{"name": "x", **fields}), "plan[2]", model, teacher)


def plan_all(plan: tuple[Stage, ...], model: Model, teacher: Teacher = TEACHER):
    return plan_stages(plan, "plan", model, teacher, TEXTS)


def plan_one(model: Model, teacher: Teacher = TEACHER, **fields: Any) -> StageRun:
    (run,) = plan_all((Stage(**{"name": "x", **fields}),), model, teacher)
    return run


# --- losses ---------------------------------------------------------------------------------------


def test_a_bilstm_learns_the_teachers_middle_layer():
    run = plan_one(make_bilstm(), TWELVE, loss="representation")
    assert run.step.losses.hidden_map == ((1, 7),)
    assert run.projections == ()  # its own projection has the teacher's width
    assert run.spec == SignalSpec(hidden=(7,))


def test_last_of_a_bilstm_is_the_teachers_last_layer():
    losses = resolve(make_bilstm(), TWELVE, loss="representation", hidden_map="last")
    assert losses.hidden_map == ((1, 12),)


@pytest.mark.parametrize("layers", ["1:2,1:3", "0:3", "0:0,1:2"])
def test_a_bilstm_has_one_representation(layers):
    with pytest.raises(InputError, match=r"plan\[2\].hidden_map is .* one teacher layer"):
        resolve(make_bilstm(), TWELVE, loss="representation", hidden_map=layers)


def test_attention_of_a_bilstm_is_refused():
    with pytest.raises(InputError, match=r"plan\[2\].loss has attention, and the student has none"):
        resolve(make_bilstm(), loss="logits+attention")


def test_attention_of_unequal_heads_is_refused_with_the_number_to_set():
    with pytest.raises(
        InputError, match=r"plan\[2\].loss .* 4 heads .* 2: set student.heads=2, or"
    ):
        resolve(make_encoder(heads=4), loss="attention")


def test_relations_ask_for_the_upper_layer_whatever_heads_width_and_depth():
    student = make_encoder(heads=3, hidden_size=12, layers=3)
    run = plan_one(student, TWELVE, loss="relations")
    assert run.step.losses.relation_map == ((3, 12),)
    assert run.step.losses.relation_heads == 2  # the teacher's
    assert run.projections == ()
    assert run.spec == SignalSpec(vectors=(11,))
    losses = resolve(student, TWELVE, loss="relations", relation_map="uniform", relation_heads=4)
    assert losses.relation_map == ((1, 4), (2, 8), (3, 12))
    assert losses.relation_heads == 4


@pytest.mark.parametrize(("heads", "width"), [(3, 8), (8, 12), (3, 12), (0, 9)])
def test_relation_heads_divide_both_widths(heads, width):
    student = make_encoder(hidden_size=width, heads=1)
    with pytest.raises(InputError, match=rf"plan\[2\].relation_heads is .* {width} and 8: choose"):
        resolve(student, loss="relations", relation_heads=heads)


def check_teacher(stages: tuple[StageRun, ...], teacher: Teacher) -> None:
    for request in request_signals(stages, {}, 8, 2):
        teacher.check(request)


def test_relations_of_what_has_no_queries_keys_and_values_are_refused(monkeypatch):
    with pytest.raises(
        InputError, match=r"plan\[2\].loss has relations, .* of xdistil_bilstm has no"
    ):
        resolve(make_bilstm(), loss="relations")
    stages = plan_all((Stage(name="first", loss="relations"),), make_encoder())
    others = plan_all(v3(), make_encoder())
    check_teacher(stages, TEACHER)
    monkeypatch.setattr(bert, "sow_qkv", lambda *vectors: None)
    check_teacher(others, TEACHER)
    with pytest.raises(InputError, match=r"plan\[0\].loss has relations, but a teacher of bert"):
        check_teacher(stages, TEACHER)
    with pytest.raises(InputError, match=r"plan\[2\].loss has relations, but a student of bert"):
        resolve(make_encoder(), loss="relations")


def test_one_projection_may_serve_all_layers():
    model = make_encoder(hidden_size=4, layers=1)
    shared = {"loss": "representation", "hidden_map": "last", "projections": "shared"}
    run = plan_one(model, **shared)
    assert run.step.losses.shared_projection
    assert (len(run.step.losses.hidden_map), run.projections) == (2, ((4, 8),))
    run = plan_one(model, **{**shared, "projections": "layer"})
    assert not run.step.losses.shared_projection
    assert run.projections == ((4, 8), (4, 8))


def test_uniform_of_a_bilstm_is_the_teachers_last_layer():
    losses = resolve(make_bilstm(), TWELVE, loss="representation", hidden_map="uniform")
    assert losses.hidden_map == ((1, 12),)


@pytest.mark.parametrize("loss", ["logits", "representation", "attention", "relations"])
@pytest.mark.parametrize("others", ["", "labels+"])
def test_what_needs_a_teacher_is_refused_without_one(loss, others):
    with pytest.raises(InputError, match=r"plan\[2\].loss is .* needs a teacher"):
        resolve(make_encoder(), NoTeacher(), loss=others + loss)


def test_labels_need_no_teacher():
    run = plan_one(make_encoder(), NoTeacher(), loss="labels", data="train")
    assert run.step.losses.weights == (("labels", 1.0),)
    assert run.projections == ()
    assert run.spec == SignalSpec()
    assert request_signals((run,), {}, 8, 2) == []


def test_layers_that_a_teacher_does_not_have_are_refused():
    with pytest.raises(InputError, match=r"plan\[2\].hidden_map pairs .* teacher layer 5"):
        resolve(make_bilstm(), loss="representation", hidden_map="5")
    with pytest.raises(InputError, match=r"plan\[2\].attention_map is 'last'"):
        resolve(make_encoder(layers=3), loss="attention")


def test_weights_and_settings_come_from_the_stage():
    run = plan_one(
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
    losses = run.step.losses
    assert losses.weights == (("logits", 0.25), ("attention", 10.0), ("labels", 1.0))
    assert (losses.logits_loss, losses.temperature) == ("kl", 3.0)
    assert (run.step.clip, run.step.weight_decay) == (0.5, 0.01)


def test_signals_count_attention_from_zero():
    losses = resolve(
        make_encoder(layers=1), TWELVE, loss="representation+attention+logits", hidden_map="last"
    )
    assert losses.hidden_map == ((0, 11), (1, 12))
    assert losses.attention_map == ((1, 12),)
    assert read_spec(losses) == SignalSpec(logits=True, hidden=(11, 12), attention=(11,))


# --- stage runs -----------------------------------------------------------------------------------


def test_equal_stages_share_a_config_and_so_a_compilation():
    """It is a static argument of the compiled step; neither name nor texts are part of it."""
    ours = plan_one(make_bilstm(), name="a", loss="logits").step
    again = plan_one(make_bilstm(), name="b", loss="logits", data="train").step
    assert ours == again
    assert hash(ours) == hash(again)
    assert ours != plan_one(make_bilstm(), loss="logits", clip=2.0).step


def test_a_stage_is_refused_by_its_place_in_its_plan():
    plan = (*d42(), Stage(name="attention", loss="attention"))
    with pytest.raises(InputError, match=r"^plan\[3\].loss has attention"):
        plan_all(plan, make_bilstm())


def test_side_projections_train_with_whatever_reads_them():
    """A narrow transformer compares its states through projections that must learn as well."""
    stages = plan_all(v3(), make_encoder(hidden_size=4, layers=1))
    assert stages[0].projections == ((4, 8), (4, 8))
    assert "projection" in stages[0].trainable
    assert all("projection" not in stage.trainable for stage in stages[1:])
    same_width = plan_all(v3(), make_encoder(layers=1))
    assert "projection" not in same_width[0].trainable


def test_what_is_learnt_decides_what_is_monitored_and_kept():
    representation, logits, *_, labels = plan_all(d42(), make_bilstm())
    assert (representation.trains_head, representation.learns_labels) == (False, False)
    assert (logits.trains_head, logits.learns_labels) == (True, False)
    assert (labels.trains_head, labels.learns_labels) == (True, True)


def test_stages_are_joined_with_the_texts_that_they_name():
    share = PackedTexts([], TEXTS["train"].subwords, TEXTS["train"].rows)
    texts = {**TEXTS, "25% of train": share}
    plan = (
        Stage(name="a", loss="logits"),
        Stage(name="b", loss="labels", data="train"),
        Stage(name="c", loss="labels", data="train", label_fraction=0.25),
    )
    stages = plan_stages(plan, "plan", make_bilstm(), TEACHER, texts)
    assert [stage.texts for stage in stages] == ["transfer", "train", "25% of train"]
    expected = [TEXTS["transfer"], TEXTS["train"], share]
    assert all(stage.train is each for stage, each in zip(stages, expected, strict=True))
    assert all(stage.dev is TEXTS["dev"] for stage in stages)
    assert [stage.config for stage in stages] == list(plan)
    assert [stage.place for stage in stages] == ["plan[0]", "plan[1]", "plan[2]"]


def test_shares_that_differ_in_a_thousandth_of_a_percent_have_texts_of_their_own():
    one, other = (Stage(data="train", label_fraction=share) for share in (0.12345, 0.12346))
    assert (texts_name(one), texts_name(other)) == ("12.345% of train", "12.346% of train")
    assert texts_name(Stage(data="all", label_fraction=0.5)) == "all"


def test_a_stage_asks_for_its_signals_on_its_texts_and_on_dev():
    """By hand: 2 epochs of 12 rows, 3 a batch, are 8 steps, evaluated at 0, 2, 4, 6 and 8."""
    stages = plan_all((Stage(name="a", loss="logits", epochs=2.0), d42()[2]), make_bilstm())
    own = {"transfer": TEXTS["train"]}  # as if these were the transfer texts in other subwords
    train, dev = request_signals(stages, own, 8, 2)
    assert (train.stage, train.texts, dev.texts) == ("plan[0]", "transfer", "dev")
    assert train.spec == dev.spec == SignalSpec(logits=True)
    assert (train.readings, dev.readings) == (2.0, 5.0)
    assert train.student is TEXTS["transfer"]
    assert train.teacher is TEXTS["train"]
    assert dev.student is dev.teacher is TEXTS["dev"]
    # Where nothing else is said, once an epoch but not before 50 steps: at 0 and 8.
    assert request_signals(stages, {}, 8, 0)[1].readings == 2.0


def test_a_stage_for_another_model_keeps_its_losses():
    stage = plan_one(make_encoder(), loss="representation+labels", data="train", hidden_map="last")
    other = make_encoder(vocabulary_size=9)
    changed = with_model(stage, other, TEXTS["dev"], TEXTS["train"])
    assert changed.train is TEXTS["dev"]
    assert changed.dev is TEXTS["train"]
    assert changed.step.losses.model == other
    assert changed.step.losses.hidden_map == stage.step.losses.hidden_map
    assert (changed.name, changed.trainable) == (stage.name, stage.trainable)


# --- steps and rates ------------------------------------------------------------------------------


def test_steps_follow_from_sentences_a_batch():
    """24 sentences; a batch of 8 is as many rows as hold their mean length."""
    run = plan_one(make_bilstm(), loss="logits", epochs=2.5)
    subwords, rows = run.train.subwords, run.train.rows
    steps = run.count_steps(8)
    assert steps.rows == round(8 * len(subwords.tokens) / 24 / 12)
    assert steps.epoch == -(-len(rows.subword) // steps.rows)
    assert steps.total == -(-5 * steps.epoch // 2)
    run.config.batch_size = 4
    assert run.count_steps(8).rows == round(4 * len(subwords.tokens) / 24 / 12)


def rates_of(steps: int, **fields: Any) -> np.ndarray:
    stage = Stage(name="labels", loss="labels", data="train", lr=1.0, **fields)
    (run,) = plan_all((stage,), make_bilstm())
    return run.schedule_rates(steps)


def test_linear_with_warm_up_begins_at_zero_and_ends_one_step_before_it():
    """Two of ten steps rise, eight fall: what HF's linear schedule gives."""
    expected = [0.0, 0.5, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    np.testing.assert_allclose(rates_of(10, schedule="linear", warmup=0.2), expected, atol=1e-6)


def test_without_warm_up_the_first_step_is_at_the_peak():
    np.testing.assert_allclose(rates_of(4, schedule="linear"), [1.0, 0.75, 0.5, 0.25], atol=1e-6)
    np.testing.assert_allclose(rates_of(3, schedule="constant"), [1.0, 1.0, 1.0])
    expected = [(1 + np.cos(np.pi * step / 4)) / 2 for step in range(4)]
    np.testing.assert_allclose(rates_of(4, schedule="cosine"), expected, atol=1e-6)


def test_schedules_go_towards_their_last_rate():
    linear = rates_of(4, schedule="linear", lr_end=0.2)
    np.testing.assert_allclose(linear, [1.0, 0.8, 0.6, 0.4], atol=1e-6)
    cosine = rates_of(4, schedule="cosine", lr_end=0.2)
    expected = [0.2 + 0.8 * (1 + np.cos(np.pi * step / 4)) / 2 for step in range(4)]
    np.testing.assert_allclose(cosine, expected, atol=1e-6)


def test_warm_up_precedes_every_schedule():
    expected = [0.0, 0.5, 1.0, (1 + np.cos(np.pi / 2)) / 2]
    np.testing.assert_allclose(rates_of(4, warmup=0.5), expected, atol=1e-6)
    np.testing.assert_allclose(rates_of(4, warmup=0.5, schedule="constant"), [0.0, 0.5, 1, 1])


def test_a_single_step_has_a_rate():
    for schedule in ("linear", "cosine", "constant"):
        assert rates_of(1, schedule=schedule, warmup=0.1).tolist() == [1.0]
