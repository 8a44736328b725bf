"""Teacher and student of a run in words: their shape, and what the student starts from."""

import numpy as np

from xdistil.distill.layer_maps import middle_and_last, middle_layer, name_layers
from xdistil.experiment.build import Run
from xdistil.experiment.contextual_means import TEXTS, find_texts
from xdistil.models.types import Model, count_parameters, trace_shapes
from xdistil.student.initialise import FromCheckpoint, KeptLayers
from xdistil.student.vocabulary_transfer import count_shared
from xdistil.student.warm_start import describe_head
from xdistil.teacher.file_teacher import FileTeacher
from xdistil.teacher.interface import Unit
from xdistil.teacher.model_teacher import ModelTeacher


def describe_teacher(run: Run) -> str:
    """The kind of teacher, its shape, and whether it is trained."""
    match run.teacher:
        case ModelTeacher() as teacher:
            use = "fine-tuned" if run.finetuning else "used without fine-tuning"
            if not teacher.config.model:
                use = "trained"
            return f"teacher: {describe_size(teacher.model)}; {use} ({teacher.name})"
        case FileTeacher() as teacher:
            return f"teacher: {teacher.name}: {teacher.file.summary}"
        case _:
            return "teacher: none"


def describe_size(model: Model) -> str:
    """The shape of a model and the numbers of its parameters."""
    count = count_parameters(trace_shapes(model))
    return (
        f"{model.summary()}, {count['total']:,} parameters, {count['embeddings']:,} of them word "
        "embeddings"
    )


def describe_start(run: Run) -> list[str]:
    """The student's vocabulary and what its parameters start from."""
    student, config = run.student, run.experiment.student
    lines = []
    if run.teacher.unit is Unit.WORD:
        lines.append(_describe_comparison(run))
    if config.vocabulary == "seen":
        size = student.tokenizer.vocabulary_size
        lines.append(f"student vocabulary: the {size:,} subwords in the texts")
    teacher = f"the {'pre-trained' if config.start == 'pretrained' else 'fine-tuned'} teacher"
    if isinstance(student, KeptLayers):
        layers = ", ".join(map(str, student.layers))
        lines.append(
            f"student layers: {layers} (counted from 0) of the {student.teacher.config.layers} of "
            f"{teacher}, with its embeddings and head"
        )
        return lines
    if isinstance(student, FromCheckpoint) and config.kind == "checkpoint":
        head = describe_head(config.checkpoint, run.corpus.task)
        lines.append(f"student: continues from {config.checkpoint}; {head}")
        return lines
    kind = student.embeddings.kind
    if kind != "vectors":
        names = {"svd": f"SVD of {teacher}'s", "pca": f"PCA of {teacher}'s"}.get(kind, kind)
        if kind == "contextual":
            names = f"PCA of {teacher}'s {_describe_states(run)}"
        if config.train_embedding_projection:
            names += ", and the projection is trained"
        if config.project_states:
            names += f", also that of {teacher}'s {_describe_isolated_states(run)}"
        return [*lines, f"student word embeddings: {names}"]
    vectors, vocabulary = student.embeddings.vectors, student.tokenizer.vocabulary_size
    has_vector = np.zeros(vocabulary, bool)
    has_vector[vectors.subwords] = True
    running = has_vector[run.texts["transfer"].subwords.tokens].mean()
    width = 0
    if isinstance(run.teacher, ModelTeacher):
        width = run.teacher.model.config.embedding_size
    narrow = student.model.config.embedding_size <= width
    rest = f"from the SVD of {teacher}'s" if narrow else "at random"
    lines.append(
        f"student word embeddings: {len(vectors.subwords):,} of {vocabulary:,} subwords, "
        f"{running:.1%} of the transfer texts, are among the {vectors.words:,} words of "
        f"{config.vectors}; the others start {rest}"
    )
    return lines


def _describe_states(run: Run) -> str:
    """Which hidden states of the teacher the word embeddings start from."""
    assert isinstance(run.teacher, ModelTeacher)
    layers, every = run.teacher.model.depth, len(find_texts(run).examples)
    read = min(TEXTS, every)
    texts = f"{read:,} transfer texts" if read == every else f"{read:,} of {every:,} transfer texts"
    return (
        f"states after layer {middle_layer(layers)} of {layers}, averaged by subword over {texts}"
    )


def _describe_isolated_states(run: Run) -> str:
    """Which hidden states of the teacher are projected beside its word embeddings."""
    assert isinstance(run.teacher, ModelTeacher)
    depth = run.teacher.model.depth
    layers = name_layers(middle_and_last(depth))
    return f"states of isolated subwords after {layers} of {depth}"


def _describe_comparison(run: Run) -> str:
    """Where student and teacher are compared, and how many of the student's subwords the teacher
    has."""
    own = run.student.tokenizer
    where = (
        "the first subword of every word" if run.corpus.task.kind == "tagging" else "whole texts"
    )
    compared = f"losses on logits and hidden states compare {where}"
    told = f"student tokenizer: {own.vocabulary_size:,} subwords of its own; {compared}"
    if not isinstance(run.teacher, ModelTeacher):
        return told
    if own.source == run.teacher.tokenizer.source:
        return f"the teacher reads its own subwords, not the student's; {compared}"
    kind = "" if isinstance(run.student, KeptLayers) else run.student.embeddings.kind
    if kind not in ("svd", "pca", "contextual", "vectors"):
        return told
    shared = count_shared(own, run.teacher.tokenizer)
    rows = "mean states" if kind == "contextual" else "word embeddings"
    return (
        f"{told}; the teacher's {rows} have a row for {shared:,} of them, and means of "
        "rows serve the others"
    )
