"""What a run will do, in words: an overview that fits a screen, and the details."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from xdistil.config import Experiment, expand_home
from xdistil.data.packing import PackedTexts
from xdistil.data.streamed import number_languages
from xdistil.distill.stages import StageRun
from xdistil.distill.unfreezing import EMBEDDINGS, HEAD
from xdistil.evaluation.formatting import align
from xdistil.experiment.build import Run, build
from xdistil.experiment.corpus_overview import WIDTH, abridge, describe_corpus, wrap
from xdistil.experiment.language_table import (
    SPLITS,
    count_languages,
    share_unknown,
    sort_languages,
    tabulate_languages,
)
from xdistil.experiment.memory import describe_memory
from xdistil.experiment.model_overview import describe_size, describe_start, describe_teacher
from xdistil.runtime.environment import describe_device
from xdistil.teacher.cache_policy import (
    CacheChoice,
    describe_choice,
    describe_limit,
    describe_seconds,
)
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.teacher.signals import SignalSpec

MANY_UNKNOWN = 0.05  # share of words with an unknown subword above which scores mean little
_WORDS = (0, 1, 2, 3)  # columns of the table of stages that are no numbers


def describe(experiment: Experiment, verbose: bool = False) -> str:
    """What `run` would do, without training, reading weights or leaving a file behind.

    Args:
        verbose: with the details.

    Raises:
        InputError: as `run` would, but for the numbers of weights and the memory of devices.
    """
    with tempfile.TemporaryDirectory() as folder:
        # What runs share is not written either.
        alone = replace(experiment, teacher=replace(experiment.teacher, shared_folder=""))
        run = build(expand_home(alone), Path(folder), weights=False)
        device = describe_device(run.experiment.dtype)
        overview = f"{device}\n\n{describe_data(run)}\n\n{describe_plan(run)}"
        return f"{overview}\n\n{describe_details(run)}" if verbose else overview


def describe_data(run: Run) -> str:
    """What was understood of the files; and a table of the sentences of every split, subwords per
    word and unknown words, by language."""
    understood = describe_corpus(run.corpus)
    counts = count_languages(run)
    languages = sort_languages(counts)
    lines = [*understood, "", *tabulate_languages(run, counts, abridge(languages))]
    unknown = [name for name in languages if share_unknown(counts, [name]) > MANY_UNKNOWN]
    if unknown:
        sentence = (
            f"Warning: more than {MANY_UNKNOWN:.0%} of the words hold an unknown subword in "
            f"{', '.join(abridge(sorted(unknown)))}; scores there measure the tokenizer."
        )
        lines += wrap([sentence])
    return "\n".join(lines)


def describe_plan(run: Run) -> str:
    """Teacher, student and stages as a table, within WIDTH columns."""
    experiment = run.experiment
    student = f"student: {describe_size(run.student.model)}"
    teacher = [describe_teacher(run), *describe_memory(run)]
    if run.voted is not None and isinstance(run.teacher, ModelTeacher):
        teacher.append(f"silver labels: {run.voted.name}")
    lines = wrap([*teacher, student, *describe_start(run)])
    rows = [("stage", "losses", "texts", "trains", "steps", "batch", "lr")]
    for plan, stages in (("teacher", run.finetuning), ("student", run.stages)):
        for number, stage in enumerate(stages, 1):
            steps = stage.count_steps(experiment.batch_size)
            rows.append(
                (
                    f"{plan} {number}/{len(stages)} {stage.name}",
                    stage.config.loss,
                    stage.texts,
                    _describe_trainable(stage),
                    f"{steps.total:,}",
                    f"{len(stage.train.examples) / steps.epoch:.0f}",
                    f"{stage.config.lr:g}",
                )
            )
    lines += ["", *align(_shorten(rows, _WORDS), _WORDS)]
    notes = [*_describe_class_weights(run), *_describe_drawing(run), *_describe_masking(run)]
    notes += describe_signals(run.teacher.plan(run.requests))
    if not run.corpus.gold:
        notes += _describe_left_out(run)
    elif not run.corpus.train:
        notes += [
            f"left out: baseline {each.name}: no train file" for each in run.experiment.baselines
        ]
    for baseline in run.baselines:
        notes.append(
            f"baseline {baseline.config.name}: {baseline.config.label_fraction:.0%} of the labels, "
            f"learning rate the best on dev of {', '.join(f'{lr:g}' for lr in baseline.lrs)}"
        )
    return "\n".join([*lines, *wrap(notes)])


def describe_details(run: Run) -> str:
    """All languages, layer maps, groups, batches, patience, caches and rows by temperature."""
    splits = (run.texts[name].examples for name in SPLITS if name in run.texts)
    languages = sorted({language for split in splits for language in number_languages(split)[0]})
    lines = []
    if abridge(languages) != languages:  # the overview does not have all of them
        counts = count_languages(run)
        lines += [*tabulate_languages(run, counts, sort_languages(counts)), ""]
    for plan, stages in (("teacher", run.finetuning), ("student", run.stages)):
        for number, stage in enumerate(stages, 1):
            lines.append(f"{plan} {number}/{len(stages)} {_describe_stage(run, stage)}")
    lines += _describe_temperature(run)
    lines += map(describe_choice, run.teacher.plan(run.requests))
    for baseline in run.baselines:
        lines.append(
            f"baseline {baseline.config.name}: patience {baseline.config.patience}, at most "
            f"{baseline.stages[0].count_steps(run.experiment.batch_size).total:,} steps"
        )
    return "\n".join(lines)


def describe_signals(choices: Sequence[CacheChoice]) -> list[str]:
    """What is cached and what is computed of the teacher's signals; where the faster option was not
    possible, and where the steps write a cache."""
    notes = []
    for cached, where in ((True, "cached"), (False, "computed in the steps")):
        texts: dict[str, list[str]] = {}  # by what is read of them
        for choice in choices:
            if choice.cached is cached:
                texts.setdefault(_describe_spec(choice.spec), []).append(choice.texts)
        if texts:
            told = [f"{signals} of {', '.join(sorted(names))}" for signals, names in texts.items()]
            notes.append(f"teacher's signals {where}: {'; '.join(told)}")
    for choice in choices:
        if choice.too_large:
            notes.append(
                f"{_describe_spec(choice.spec)} of {choice.texts}, computed in about "
                f"{describe_seconds(choice.computed_seconds)} instead of "
                f"{describe_seconds(choice.cached_seconds)} with a cache: {describe_limit(choice)}"
            )
    computed = {choice.texts: choice.spec for choice in choices if not choice.cached}
    for choice in choices:
        if choice.grows:
            notes.append(
                f"the steps that compute {_describe_spec(computed[choice.texts])} of "
                f"{choice.texts} write the cache of its {_describe_spec(choice.spec)}"
            )
    return notes


def _describe_class_weights(run: Run) -> list[str]:
    """The weights of the classes in the stages that have any; stages with the same in one line."""
    places: dict[tuple[float, ...], list[str]] = {}
    for stage in (*run.finetuning, *run.stages):
        weights = stage.step.losses.class_weights
        if weights and stage.place not in places.setdefault(weights, []):
            places[weights].append(stage.place)
    return [
        f"class weights of {' and '.join(named)}: "
        + ", ".join(
            f"{label} {weight:.3g}"
            for label, weight in zip(run.corpus.task.labels, weights, strict=True)
        )
        for weights, named in places.items()
    ]


def _describe_drawing(run: Run) -> list[str]:
    """Which stages draw languages by their gaps, or texts by doubt."""
    weighed = {each.place: each.config.gap_weight for each in run.stages if each.weighs_languages}
    return [
        f"languages of {place}: drawn 1 + {weight:g} gap / mean gap times as often (teacher less "
        "student, on dev)"
        for place, weight in weighed.items()
    ] + [
        f"texts of {place}: half of an epoch is drawn by the student's doubts"
        for place in dict.fromkeys(each.place for each in run.stages if each.samples_doubtful)
    ]


def _describe_masking(run: Run) -> list[str]:
    """The words that stages hide from the student, and what it reads instead."""
    hidden = {stage.place: masking for stage in run.stages if (masking := stage.step.masking)}
    backend = run.student.tokenizer.backend
    return [
        f"hidden from the student in {place}: {100 * masking.share:.3g}% of the "
        f"{'words' if masking.whole_words else 'subwords'}, which become "
        f"{backend.id_to_token(masking.subword)}"
        for place, masking in hidden.items()
    ]


def _describe_spec(spec: SignalSpec) -> str:
    """Which kinds of signals are read."""
    kinds = (
        ("logits", spec.logits),
        ("hidden states", spec.hidden),
        ("attention maps", spec.attention),
        ("queries, keys and values", spec.vectors),
    )
    return " and ".join(name for name, read in kinds if read)


def _shorten(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> list[list[str]]:
    """The rows with the widest cells of some columns cut, so that lines fit; others are whole."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH:
        widths[max(columns, key=lambda column: widths[column])] -= 1
    return [
        [
            cell if len(cell) <= width else f"{cell[: width - 3]}..."
            for cell, width in zip(row, widths, strict=True)
        ]
        for row in rows
    ]


def _describe_trainable(stage: StageRun) -> str:
    """The trained groups in short: the highest and the lowest, since all between train too."""
    first, *_, last = (*stage.trainable, stage.trainable[-1])
    if last == EMBEDDINGS:
        return "all groups" if HEAD in stage.trainable else "all but head"
    return first if first == last else f"{first} to {last}"


def _describe_temperature(run: Run) -> list[str]:
    """The share of every language in the rows of an epoch."""
    lines = []
    for name, texts in run.texts.items():
        rows = texts.rows
        if not len(rows.quota):
            continue
        languages = sorted(number_languages(texts.examples)[0])
        shares = [
            f"{language} {count / len(rows.subword):.1%} -> {quota / len(rows.subword):.1%}"
            for language, count, quota in zip(languages, rows.languages, rows.quota, strict=True)
        ]
        by_size = [shares[i] for i in np.argsort(-rows.languages, kind="stable")]
        lines.append(
            f"rows of {name} by language at temperature {run.experiment.data.temperature:g}: "
            + ", ".join(abridge(by_size))
        )
    return lines


def _describe_left_out(run: Run) -> list[str]:
    """What a run without labels changes in the plan."""
    lines = [
        "without labels: the teacher's predictions replace them, and the student that agrees best "
        f"with it on {len(run.corpus.dev):,} held-out transfer texts is kept"
    ]
    for stage in run.experiment.plan:
        if "labels" in stage.loss.split("+"):
            rest = "" if stage.loss == "labels" else ", its other losses stay"
            lines.append(f"left out: labels in stage {stage.name}{rest}")
        elif stage.data != "transfer":
            lines.append(f"stage {stage.name} reads the transfer texts instead of {stage.data}")
    lines += [f"left out: baseline {baseline.name}" for baseline in run.experiment.baselines]
    return lines


def _describe_stage(run: Run, stage: StageRun) -> str:
    steps = stage.count_steps(run.experiment.batch_size)
    losses, config, texts = stage.step.losses, stage.config, stage.train
    projections = ""
    if any(width != target for width, target in stage.projections):
        projections = ", one projection" if losses.shared_projection else ", projections by layer"
    kinds = {
        "representation": f" ({losses.hidden_loss}{projections})",
        "attention": f" ({losses.attention_loss})",
        "relations": f" ({losses.relation_heads} heads)",
        "logits": f" ({losses.logits_loss})",
        "labels": " (crf)" if losses.labels_loss == "crf" else "",
    }
    terms = [
        ("" if weight == 1 else f"{weight:g} x ") + name + kinds.get(name, "")
        for name, weight in losses.weights
    ]
    maps = []
    for what, pairs in (
        ("hidden", losses.hidden_map),
        ("attention", losses.attention_map),
        ("relations", losses.relation_map),
    ):
        if pairs:
            layers = ", ".join(f"{own} from {its}" for own, its in pairs)
            maps.append(f"{what} {layers}")
    stop = f"stops early after {config.patience} evaluations without a better one"
    return (
        f"{stage.name}: {' + '.join(terms)} on {config.data}"
        + (f"; layers: {'; '.join(maps)}" if maps else "")
        + f"; trains {', '.join(stage.trainable)}; at most {steps.total:,} steps of "
        f"{len(texts.examples) / steps.epoch:.0f} sentences ({_describe_rows(texts, steps.rows)}); "
        f"learning rate {config.lr:g} {config.schedule}; "
        + (stop if config.patience else "never stops early")
    )


def _describe_rows(texts: PackedTexts, batch_rows: int) -> str:
    rows = texts.rows.subword
    epoch = math.ceil(len(rows) / batch_rows)
    filled = len(texts.subwords.tokens) / rows.size
    return (
        f"{batch_rows} rows of {rows.shape[1]}, {len(texts.subwords.tokens) / epoch:,.0f} "
        f"subwords, {filled:.0%} filled"
    )
