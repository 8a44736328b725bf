"""What is about to happen, in words: for the start of a run and for --dry-run."""

import tempfile
from pathlib import Path

import jax
import numpy as np

from xdistil.config import Experiment, split_names
from xdistil.distill.course import count_steps
from xdistil.distill.recipes import PlannedStage
from xdistil.evaluation.formatting import align
from xdistil.experiment.build import Prepared, Texts, find_texts, prepare
from xdistil.experiment.legs import plan_routes
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.types import count_parameters
from xdistil.student.initialise import embedding_init
from xdistil.student.tokenizer import settle_start
from xdistil.student.vocabulary_transfer import count_shared
from xdistil.student.warm_start import describe_head
from xdistil.teacher.cache_policy import describe_route
from xdistil.teacher.signal_file import SignalFolder

_SHOWN = 4  # largest and smallest languages that a line lists
MANY_UNKNOWN = 0.05  # share of words holding an unknown subword above which scores mean little


def describe_data(prepared: Prepared) -> str:
    """A table: sentences of every split, subwords a word and unknown words, by language."""
    counts = prepared.counts
    languages = sorted({language for split in counts.values() for language in split})
    names = {"dev": "held out", "gold_dev": "dev"} if not prepared.corpus.gold else {}
    header = (
        "language",
        *(names.get(name, name) for name in counts),
        "pieces/word",
        "unknown words",
    )
    lines = [header]
    suspicious = []
    for language in languages:
        here = [split[language] for split in counts.values() if language in split]
        words = sum(count.words for count in here)
        subwords = sum(count.subwords for count in here)
        unknown = sum(count.unknown * count.words for count in here) / max(words, 1)
        sentences = [str(c[language].sentences) if language in c else "-" for c in counts.values()]
        lines.append(
            (language, *sentences, f"{subwords / max(words, 1):.2f}", f"{100 * unknown:.1f}%")
        )
        if unknown > MANY_UNKNOWN:
            suspicious.append(language)
    text = "\n".join(align(lines, (0,)))
    if suspicious:
        text += (
            f"\nWarning: in {', '.join(suspicious)} more than {MANY_UNKNOWN:.0%} of the words hold "
            "an unknown subword; scores there measure the tokenizer."
        )
    return text


def describe_plan(experiment: Experiment, prepared: Prepared) -> str:
    """Teacher, student and every stage: losses, what trains, layer map, steps, when it stops."""
    lines = []
    if prepared.signals is not None:
        lines.append(_describe_signals(prepared.signals))
    for name, model in (("teacher", prepared.teacher), ("student", prepared.student)):
        if model is None:
            continue
        shapes = jax.eval_shape(model.init_params, jax.random.key(0))
        count = count_parameters(shapes)
        lines.append(
            f"{name}: {_describe_model(model)}, {count['total']:,} parameters, "
            f"{count['embeddings']:,} of them word embeddings"
        )
    if prepared.at_words:
        lines.append(_describe_meeting(experiment, prepared))
    lines += _describe_start(experiment, prepared)
    if prepared.kept is not None:
        lines.append(f"student vocabulary: {len(prepared.kept):,} subwords that the texts hold")
    for name, stages in (
        ("teacher", prepared.teacher_stages),
        ("student", prepared.student_stages),
    ):
        for number, planned in enumerate(stages, 1):
            source = find_texts(experiment, prepared, name, planned.stage)
            lines.append(
                f"{name} {number}/{len(stages)} {_describe_stage(experiment, planned, source)}"
            )
    lines += _describe_languages(experiment, prepared)
    lines += map(describe_route, plan_routes(experiment, prepared))
    if not prepared.corpus.gold:
        return "\n".join([*lines, *_describe_left_out(experiment, prepared)])
    for baseline in experiment.baselines:
        lines.append(
            f"baseline {baseline.name}: labels alone, {baseline.label_fraction:.0%} of them, "
            f"learning rate the best on dev of {', '.join(split_names(baseline.lrs))}, "
            f"patience {baseline.patience}"
        )
    return "\n".join(lines)


def _describe_signals(signals: SignalFolder) -> str:
    called = f" of {signals.teacher}" if signals.teacher else ""
    return (
        f"teacher: signals{called} from {signals.path}: {', '.join(sorted(signals.values))} of "
        f"{len(signals.texts):,} texts ({signals.offsets[-1]:,} values), {signals.layers} layers x "
        f"{signals.width}"
    )


def _describe_meeting(experiment: Experiment, prepared: Prepared) -> str:
    own, task = prepared.student_tokenizer, prepared.corpus.task
    where = "on the first subword of every word" if task.kind == "tagging" else "on whole texts"
    told = (
        f"student tokenizer: {own.vocabulary_size:,} subwords of its own, so that losses on logits "
        f"and hidden states live {where}"
    )
    if prepared.signals is not None or embedding_init(experiment.student) in (
        "random",
        "checkpoint",
    ):
        return told
    shared = count_shared(own, prepared.tokenizer)
    return (
        f"{told}; the teacher's word embeddings lend rows to {shared:,} subwords that it has too, "
        "and means of its subwords to the others"
    )


def _describe_start(experiment: Experiment, prepared: Prepared) -> list[str]:
    """What the student starts from, where there is a choice."""
    student = settle_start(experiment)
    if student.kind == "checkpoint":
        told = describe_head(student.checkpoint, prepared.corpus.task)
        return [f"student: goes on from {student.checkpoint}; {told}"]
    teacher = f"the {'pre-trained' if student.start == 'pretrained' else 'fine-tuned'} teacher"
    if prepared.kept_layers and prepared.teacher is not None:
        layers = ", ".join(map(str, prepared.kept_layers))
        return [
            f"student layers: {layers} (counted from 0) of the {prepared.teacher.config.layers} of "
            f"{teacher}, with its embeddings and head"
        ]
    start = embedding_init(student)
    if prepared.vectors is None:
        told = {"svd": f"SVD of {teacher}'s", "pca": f"PCA of {teacher}'s"}.get(start, start)
        return [f"student word embeddings: {told}"]
    subwords, vocabulary = prepared.vectors.subwords, prepared.student_tokenizer.vocabulary_size
    has_vector = np.zeros(vocabulary, bool)
    has_vector[subwords] = True
    running = has_vector[prepared.student_texts["transfer"].subwords.tokens].mean()
    lends = 0 if prepared.teacher is None else prepared.teacher.config.embedding_size
    narrow = prepared.student.config.embedding_size <= lends
    rest = f"from the SVD of {teacher}'s" if narrow else "at random"
    return [
        f"student word embeddings: {len(subwords):,} of {vocabulary:,} subwords, {running:.1%} of "
        f"the transfer texts, are among the {prepared.vectors.words:,} words of {student.vectors}; "
        f"the others start {rest}"
    ]


def _describe_languages(experiment: Experiment, prepared: Prepared) -> list[str]:
    """What the temperature makes of every set of texts that steps read."""
    lines = []
    for name, texts in prepared.student_texts.items():
        rows = texts.rows
        if not len(rows.quota):
            continue
        languages = sorted({example.language for example in texts.examples})
        told = [
            f"{language} {count / len(rows.subword):.1%} -> {quota / len(rows.subword):.1%}"
            for language, count, quota in zip(languages, rows.languages, rows.quota, strict=True)
        ]
        by_size = [told[i] for i in np.argsort(-rows.languages, kind="stable")]
        if len(by_size) > 2 * _SHOWN:
            by_size = [*by_size[:_SHOWN], "...", *by_size[-_SHOWN:]]
        lines.append(
            f"rows of {name} by language at temperature {experiment.data.temperature:g}: "
            + ", ".join(by_size)
        )
    return lines


def _describe_left_out(experiment: Experiment, prepared: Prepared) -> list[str]:
    """What a run without labels does otherwise than its config would with them."""
    held = len(prepared.corpus.dev)
    lines = [
        "without labels: the teacher's answers stand for them, and the student that agrees best "
        f"with it on {held:,} held-out transfer texts is kept"
    ]
    for stage in experiment.plan:
        if "labels" in stage.loss.split("+"):
            rest = "" if stage.loss == "labels" else ", its other losses stay"
            lines.append(f"left out: labels in stage {stage.name}{rest}")
        elif stage.data != "transfer":
            lines.append(f"stage {stage.name} reads the transfer texts instead of {stage.data}")
    lines += [f"left out: baseline {baseline.name}" for baseline in experiment.baselines]
    return lines


def _describe_model(model) -> str:
    shape = model.config
    if isinstance(model, BiLSTM):
        return (
            f"BiLSTM, embeddings {shape.embedding_size}, 2 x {shape.hidden_size} units, projection "
            f"to {shape.projection_size}"
        )
    return (
        f"{shape.model_type}, {shape.layers} layers x {shape.hidden_size}, {shape.heads} heads, "
        f"embeddings {shape.embedding_size}"
    )


def _describe_stage(experiment: Experiment, planned: PlannedStage, texts: Texts) -> str:
    stage, recipe = planned.stage, planned.recipe
    batch_rows, epoch, steps = count_steps(
        planned, texts.subwords, texts.rows, experiment.batch_size
    )
    projections = ""
    if any(width != target for width, target in planned.sides):
        projections = ", one projection" if recipe.shared_projection else ", projections by layer"
    details = []
    for name, weight in recipe.weights:
        kind = {
            "representation": f" ({recipe.representation}{projections})",
            "attention": f" ({recipe.attention})",
            "relations": f" ({recipe.relation_heads} heads)",
            "logits": f" ({recipe.logits})",
        }
        details.append(("" if weight == 1 else f"{weight:g} x ") + name + kind.get(name, ""))
    maps = []
    for what, pairs in (
        ("hidden", recipe.hidden_map),
        ("attention", recipe.attention_map),
        ("relations", recipe.relation_map),
    ):
        if pairs:
            told = ", ".join(f"{own} from {its}" for own, its in pairs)
            maps.append(f"{what} {told}")
    filled = len(texts.subwords.tokens) / texts.rows.subword.size
    stop = f"after {stage.patience} evaluations without gain" if stage.patience else "never early"
    return (
        f"{planned.substage.name}: {' + '.join(details)} on {stage.data}"
        + (f"; layers: {'; '.join(maps)}" if maps else "")
        + f"; trains {', '.join(planned.substage.trainable)}; at most {steps:,} steps of "
        f"{len(texts.examples) / epoch:.0f} sentences ({batch_rows} rows of "
        f"{texts.rows.subword.shape[1]}, {len(texts.subwords.tokens) / epoch:,.0f} subwords, "
        f"{filled:.0%} filled); lr {stage.lr:g} {stage.schedule}; stops {stop}"
    )


def describe(experiment: Experiment) -> str:
    """What `run` would do, without training or leaving a file behind.

    Raises:
        InputError: as `run` would.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(experiment, Path(folder))
        return f"{describe_data(prepared)}\n\n{describe_plan(experiment, prepared)}"
