"""Stage -> Recipe: what a stage means for one student and one teacher; refused if impossible."""

import math
from dataclasses import dataclass, replace

import jax

from xdistil.config import Stage
from xdistil.distill.plan import (
    HEAD,
    PROJECTION,
    SubStage,
    expand_plan,
    list_groups,
    map_attention,
    map_hidden,
)
from xdistil.distill.step import Recipe
from xdistil.errors import InputError
from xdistil.models.families.bert import EncoderConfig
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.forward import sows_qkv
from xdistil.models.hf.folder import Model, Transformer
from xdistil.teacher.signals import SignalSpec


@dataclass(frozen=True)
class PlannedStage:
    """A sub-stage with what it means for one student and one teacher."""

    substage: SubStage
    stage: Stage
    recipe: Recipe
    sides: tuple[tuple[int, int], ...]  # (student width, teacher width) of compared hidden states;
    # one for all of them where their projection is shared

    @property
    def learns_labels(self) -> bool:
        """Whether gold labels are among the losses; then the main score is monitored."""
        return any(name == "labels" for name, _ in self.recipe.weights)

    @property
    def learns_head(self) -> bool:
        """Whether the losses reach the head, so that scores mean something afterwards."""
        return any(name in ("logits", "labels") for name, _ in self.recipe.weights)


def plan_stages(
    plan: tuple[Stage, ...],
    field: str,
    model: Model,
    teacher: EncoderConfig | None,
    train_embeddings: bool = True,
) -> tuple[PlannedStage, ...]:
    """The sub-stages of a plan in order, each with its recipe.

    Args and raises as in `make_recipe`; `field` is the plan's place in the config.
    """
    shapes = jax.eval_shape(model.init_params, jax.random.key(0))
    planned = []
    for substage in expand_plan(plan, list_groups(shapes), train_embeddings):
        stage = plan[substage.stage]
        recipe, sides = make_recipe(stage, f"{field}[{substage.stage}]", model, teacher)
        recipe = replace(
            recipe,
            encoder_frozen={HEAD, PROJECTION}.issuperset(substage.trainable)
            and not (recipe.hidden_map or recipe.attention_map or recipe.relation_map),
        )
        if any(width != target for width, target in sides):
            # The loss reads the student through projections that begin at random.
            substage = replace(substage, trainable=(PROJECTION, *substage.trainable))
        planned.append(PlannedStage(substage, stage, recipe, sides))
    return tuple(planned)


def make_recipe(
    stage: Stage, field: str, model: Model, teacher: EncoderConfig | None
) -> tuple[Recipe, tuple[tuple[int, int], ...]]:
    """A stage's recipe, and the (student width, teacher width) of every pair of hidden states.

    Args:
        field: the stage's place in the config, such as `plan[0]`, for errors.
        model: the student.
        teacher: the teacher's shape; None where nothing but labels is learnt.

    Raises:
        InputError: the stage wants a signal that is not there: layers that do not exist, attention
            maps of a BiLSTM or of another number of heads, a teacher where there is none.
    """
    names = stage.loss.split("+")
    recipe = Recipe(
        model=model,
        weights=tuple((name, float(getattr(stage, f"{name}_weight"))) for name in names),
        shared_projection=stage.projections == "shared",
        representation=stage.hidden_loss,
        attention=stage.attention_loss,
        logits=stage.logits_loss,
        temperature=float(stage.temperature),
        clip=float(stage.clip),
        weight_decay=float(stage.weight_decay),
    )
    if names == ["labels"]:
        return recipe, ()
    if teacher is None:
        raise InputError(
            f"{field}.loss is {stage.loss!r}, which needs a teacher: set teacher.model."
        )
    layers = 1 if isinstance(model, BiLSTM) else model.config.layers
    sides: tuple[tuple[int, int], ...] = ()
    if "representation" in names:
        text = stage.hidden_map
        if isinstance(model, BiLSTM) and text in ("last", "uniform"):
            text = str(teacher.layers)
        pairs = map_hidden(text, layers, teacher.layers, f"{field}.hidden_map")
        if isinstance(model, BiLSTM) and (len(pairs) > 1 or pairs[0][0] != 1):
            raise InputError(
                f"{field}.hidden_map is {stage.hidden_map!r}: a BiLSTM has one representation, so "
                "name one teacher layer."
            )
        recipe = replace(recipe, hidden_map=pairs)
        if isinstance(model, BiLSTM):  # whose own projection has the teacher's width
            if model.config.projection_size != teacher.hidden_size:
                raise InputError(
                    f"{field}.loss has representation, but the student's projection is "
                    f"{model.config.projection_size} wide and the teacher {teacher.hidden_size}: "
                    "drop it, or name the teacher that the student was made from."
                )
        else:
            sides = tuple((model.config.hidden_size, teacher.hidden_size) for _ in pairs)
            sides = sides[:1] if recipe.shared_projection else sides
    if "attention" in names:
        if isinstance(model, BiLSTM):
            raise InputError(f"{field}.loss has attention, and a BiLSTM has none: drop it.")
        if model.config.heads != teacher.heads:
            raise InputError(
                f"{field}.loss has attention, but the student has {model.config.heads} heads and "
                f"the teacher {teacher.heads}: set student.heads={teacher.heads}, or learn "
                "relations."
            )
        pairs = map_attention(stage.attention_map, layers, teacher.layers, f"{field}.attention_map")
        recipe = replace(recipe, attention_map=pairs)
    if "relations" in names:
        pairs = map_attention(stage.relation_map, layers, teacher.layers, f"{field}.relation_map")
        heads = _count_relation_heads(stage, field, model, teacher)
        recipe = replace(recipe, relation_map=pairs, relation_heads=heads)
    return recipe, sides


def _count_relation_heads(stage: Stage, field: str, model: Model, teacher: EncoderConfig) -> int:
    """The parts that the vectors of student and teacher are cut into."""
    if not sows_qkv(model):
        name = (
            "a BiLSTM" if isinstance(model, BiLSTM) else f"a student of {model.config.model_type}"
        )
        raise InputError(
            f"{field}.loss has relations, but {name} hands out no queries, keys and values: drop "
            "it."
        )
    heads = stage.relation_heads or teacher.heads
    widths = model.config.hidden_size, teacher.hidden_size
    if any(width % heads for width in widths):
        raise InputError(
            f"{field}.relation_heads is {heads}, which does not divide the widths of student and "
            f"teacher, {widths[0]} and {widths[1]}: choose a divisor of {math.gcd(*widths)}."
        )
    return heads


def check_teacher(planned: tuple[PlannedStage, ...], teacher: Transformer) -> None:
    """Raises InputError where a stage wants relations of a teacher that hands out no vectors."""
    for stage in planned:
        if stage.recipe.relation_map and not sows_qkv(teacher):
            raise InputError(
                f"The stage {stage.stage.name!r} learns relations, but a teacher of "
                f"{teacher.config.model_type} hands out no queries, keys and values: learn "
                "representation or attention instead."
            )


def wanted_signals(recipe: Recipe) -> SignalSpec:
    """The teacher's outputs that a recipe's losses read."""
    names = {name for name, _ in recipe.weights}
    return SignalSpec(
        logits="logits" in names,
        hidden=tuple(layer for _, layer in recipe.hidden_map),
        attention=tuple(layer - 1 for _, layer in recipe.attention_map),
        vectors=tuple(layer - 1 for _, layer in recipe.relation_map),
    )
