"""The student's sub-stages with their texts, and how the teacher's signals reach them."""

from collections.abc import Iterable, Mapping
from math import ceil
from pathlib import Path

import jax
import numpy as np

from xdistil.config import Experiment, Stage
from xdistil.data.word_alignment import align_words
from xdistil.distill.course import Leg, Source, count_steps, steps_between_evaluations
from xdistil.distill.recipes import PlannedStage, wanted_signals
from xdistil.experiment.build import Prepared, Texts, find_texts
from xdistil.experiment.setting import Setting
from xdistil.teacher.cache import count_bytes, open_cache
from xdistil.teacher.cache_policy import Route, estimate_route, nominal_rate, settle_routes
from xdistil.teacher.model_teacher import Reader
from xdistil.teacher.signal_file import SignalFolder
from xdistil.teacher.signals import SignalSpec, signal_names
from xdistil.teacher.storage import MapSignal, Signal, place_signals


def draw_legs(setting: Setting, teacher: Reader | None) -> tuple[Leg, ...]:
    """The legs of the student's plan; the teacher reads the texts of cached routes here, once.

    Args:
        teacher: None where its signals come from a file.
    """
    prepared = setting.prepared
    texts = stage_texts(setting.experiment, prepared, "student")
    cached: dict[str, Mapping[str, Signal]] = {}
    if prepared.signals is not None:
        cached = {
            key: _read_file(prepared, prepared.signals, texts[key], key, wanted)
            for key, wanted in _list_wanted(prepared.student_stages).items()
        }
    elif teacher is not None:
        with setting.stop.deferred():
            cached = {
                route.texts: _read_cache(setting, teacher, texts, route.texts, route.wanted)
                for route in plan_routes(setting.experiment, prepared)
                if route.cached
            }
    sources = {
        key: Source(each.subwords, each.rows, cached.get(key, {})) for key, each in texts.items()
    }
    return tuple(
        Leg(
            planned,
            train=sources[texts_key(planned.stage)].select(wanted_signals(planned.recipe)),
            dev=sources["dev"].select(wanted_signals(planned.recipe)),
        )
        for planned in prepared.student_stages
    )


def _read_cache(
    setting: Setting, teacher: Reader, texts: dict[str, Texts], key: str, wanted: SignalSpec
) -> Mapping[str, Signal]:
    """The teacher's signals of some texts: of its subwords, or of the words in the student's."""
    prepared, task = setting.prepared, setting.prepared.corpus.task
    read, words = texts[key], None
    if prepared.at_words:
        read = stage_texts(setting.experiment, prepared, "teacher")[key]
        words = align_words(read.subwords, read.examples, task)
    folder = setting.experiment.teacher.cache_folder
    values = open_cache(
        Path(folder) if folder else setting.workdir / "cache" / "signals",
        teacher,
        read.subwords,
        read.rows,
        wanted,
        setting.prediction_rows,
        setting.stop.raise_if_requested,
        words,
        setting.experiment.teacher.cache_type,
    )
    if words is None:
        return values
    place = np.where(words.spoken, np.arange(words.count), -1)
    # There are no maps among them: words have none, and plans that want them are refused.
    vectors = {name: each for name, each in values.items() if not isinstance(each, MapSignal)}
    return place_signals(
        vectors, place, align_words(texts[key].subwords, texts[key].examples, task)
    )


def _read_file(
    prepared: Prepared, signals: SignalFolder, texts: Texts, key: str, wanted: SignalSpec
) -> Mapping[str, Signal]:
    """What a file says of some texts, in the student's subwords."""
    task = prepared.corpus.task
    place = signals.locate(texts.examples, task, key)
    values = {name: signals.values[name] for name in signal_names(wanted)}
    return place_signals(values, place, align_words(texts.subwords, texts.examples, task))


def plan_routes(experiment: Experiment, prepared: Prepared) -> list[Route]:
    """How the teacher's signals of every set of texts reach the steps that want them; of a file
    there is only one way."""
    if prepared.teacher is None:
        return []
    texts = stage_texts(experiment, prepared, "teacher" if prepared.at_words else "student")
    reading = [each for each in prepared.student_stages if _reads_teacher(each)]
    plain = [each for each in reading if wanted_signals(each.recipe).plain]
    others = [each for each in reading if each not in plain]
    whole = _estimate(experiment, prepared, texts, reading)
    if not (plain and others):
        return list(whole.values())
    of_plain = _estimate(experiment, prepared, texts, plain)
    of_others = _estimate(experiment, prepared, texts, others)
    routes = []
    for key, route in whole.items():
        if key in of_plain and key in of_others:
            choice = experiment.teacher.cache
            routes += settle_routes(route, of_plain[key], of_others[key], choice)
        else:
            routes.append(route)
    return routes


def _estimate(
    experiment: Experiment,
    prepared: Prepared,
    texts: dict[str, Texts],
    stages: list[PlannedStage],
) -> dict[str, Route]:
    """One way for all of these stages, by their texts."""
    model = prepared.teacher
    assert model is not None
    readings: dict[str, float] = {}
    for planned in stages:
        key = texts_key(planned.stage)
        epochs, evaluations = _count_readings(experiment, planned, texts[key])
        readings[key] = readings.get(key, 0.0) + epochs
        readings["dev"] = readings.get("dev", 0.0) + evaluations
    shapes = jax.eval_shape(model.init_params, jax.random.key(0))
    rate = nominal_rate(sum(leaf.size for leaf in jax.tree.leaves({**shapes, "embeddings": {}})))
    routes = {}
    for key, wanted in _list_wanted(stages).items():
        subwords = texts[key].subwords
        vectors = len(subwords.tokens)
        if prepared.at_words:
            vectors = align_words(subwords, texts[key].examples, prepared.corpus.task).count
        routes[key] = estimate_route(
            key,
            wanted,
            count_bytes(
                wanted,
                experiment.teacher.cache_type,
                model,
                vectors,
                pairs=int(np.square(np.diff(subwords.start)).sum()),
            ),
            len(subwords.tokens),
            readings[key],
            rate,
            experiment.teacher.cache,
            prepared.at_words,
        )
    return routes


def stage_texts(experiment: Experiment, prepared: Prepared, reader: str) -> dict[str, Texts]:
    """The texts of dev and of every stage of the student's plan, by `texts_key`.

    Args:
        reader: teacher or student: in whose subwords.
    """
    of = prepared.teacher_texts if reader == "teacher" else prepared.student_texts
    texts = {"dev": of["dev"]}
    for planned in prepared.student_stages:
        stage, key = planned.stage, texts_key(planned.stage)
        if key not in texts:
            texts[key] = find_texts(experiment, prepared, reader, stage)
    return texts


def texts_key(stage: Stage) -> str:
    """What a stage's texts are called: transfer, all, train, or a share of train."""
    if stage.data != "train" or stage.label_fraction == 1:
        return stage.data
    return f"{stage.label_fraction:.3%} of train"


def _reads_teacher(planned: PlannedStage) -> bool:
    """Whether a stage wants any signals."""
    return wanted_signals(planned.recipe) != SignalSpec()


def _list_wanted(stages: Iterable[PlannedStage]) -> dict[str, SignalSpec]:
    """All signals that stages want of each set of texts."""
    wanted: dict[str, SignalSpec] = {}
    for planned in stages:
        if _reads_teacher(planned):
            for key in (texts_key(planned.stage), "dev"):
                union = wanted.get(key, SignalSpec()).union(wanted_signals(planned.recipe))
                wanted[key] = union
    return wanted


def _count_readings(
    experiment: Experiment, planned: PlannedStage, texts: Texts
) -> tuple[float, float]:
    """(epochs, evaluations) of a sub-stage, at most."""
    _, epoch, steps = count_steps(planned, texts.subwords, texts.rows, experiment.batch_size)
    every = steps_between_evaluations(experiment.eval_every, epoch)
    return planned.substage.epochs, 1 + ceil(steps / every)
