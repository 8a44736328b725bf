"""Prediction with a model folder: texts -> words, entities, classes and scores.

`xdistil.load` opens a folder. With an ONNX backend, this module and its imports need numpy,
tokenizers and onnxruntime alone.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xdistil.data.decoding import ARGMAX, VITERBI, weigh_tags
from xdistil.data.examples import UNKNOWN_LANGUAGE, Example, Task
from xdistil.data.label_sets import pack_labels
from xdistil.data.segmentation import UNITS
from xdistil.data.spans import Entity, Word, find_entities, join_words, split_words
from xdistil.data.subwords import Cutting, Subwords, cut_and_count, tell_cut
from xdistil.data.tokenizer import Tokenizer, open_tokenizer
from xdistil.data.word_alignment import align_words, find_sequences, label_words, name_classes
from xdistil.deploy.preprocessing import read_preprocessing
from xdistil.errors import InputError, show
from xdistil.models.hf.head import check_head, check_problem, read_head
from xdistil.models.hf.hub import find_exported, find_folder, find_local, find_student
from xdistil.models.hf.record import RECORD
from xdistil.runtime.json_io import read_json

if TYPE_CHECKING:
    from xdistil.deploy.onnx_backend import OnnxBackend

BACKENDS = ("jax", "onnx", "int8")
_FILES = {"onnx": "onnx/model.onnx", "int8": "onnx/model_quantized.onnx"}
_TOGETHER = 1024  # texts that are cut and computed together, to limit memory
_log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one input."""

    labels: tuple[str, ...]  # one legal IOB2 tag per word, or one class name; or any number of them
    # f32[N,C], probabilities of the classes, with `viterbi` among legal tags; zero for a word
    # without subwords
    scores: np.ndarray


@dataclass(frozen=True)
class Tagged:
    """A text with its tagged words and entities."""

    text: str
    words: tuple[Word, ...]
    entities: tuple[Entity, ...]


@dataclass(frozen=True)
class Classified:
    """The class of a text or of a pair of texts, or its classes."""

    label: str  # the most probable class
    score: float  # its probability
    scores: dict[str, float]  # of all classes
    labels: tuple[str, ...] | None = None  # of a multi-label model: classes above the threshold


@dataclass(frozen=True)
class Predictor:
    """Inputs -> subwords -> logits -> legal labels and scores.

    It has no state, so threads may share it.
    """

    task: Task
    tokenizer: Tokenizer
    max_length: int  # subwords in a segment; longer sentences become windows, longer texts are cut
    segmentation: str  # of texts and words: units, or spaces
    joined: str  # marks that join the units of a text to words
    overlap: int  # subwords that windows of a sentence share
    scheme: str  # the tag scheme of its training data
    repair: bool  # whether illegal tags in its training data were repaired
    decoding: str  # of its tags: viterbi, or argmax
    compute_logits: Callable[[Subwords], np.ndarray]  # f32[P,C], valid where the label mask is set
    threshold: float = 0.5  # multi-label: the probability above which a text has a class

    def predict(self, inputs: Sequence[tuple[str, ...]]) -> list[Prediction]:
        """A prediction for each input, which does not depend on the other inputs.

        A word gets the tag of its first unit. A warning says how many texts were cut to
        `max_length`.

        Args:
            inputs: the words of a sentence (tagging), or one text or two (classification).
        """
        predictions, cut = self.predict_and_count(inputs)
        self.warn_if_cut(cut, len(inputs))
        return predictions

    def predict_and_count(self, inputs: Sequence[tuple[str, ...]]) -> tuple[list[Prediction], int]:
        """The predictions of `predict`, and the number of texts that were cut."""
        empty = np.zeros((0, len(self.task.labels)), np.float32)
        predictions = [Prediction((), empty)] * len(inputs)
        cut = 0
        for width in (1, 2):  # `cut_and_count` takes inputs of one shape
            chosen = [index for index, each in enumerate(inputs) if self._width(each) == width]
            for first in range(0, len(chosen), _TOGETHER):
                part = chosen[first : first + _TOGETHER]
                found, part_cut = self._predict_part([inputs[index] for index in part])
                cut += part_cut
                for index, prediction in zip(part, found, strict=True):
                    predictions[index] = prediction
        return predictions, cut

    def split(self, text: str) -> tuple[tuple[str, ...], list[tuple[int, int]]]:
        """The words of a text, and (start, end) of each."""
        return split_words(text, self.segmentation, self.joined)

    def warn_if_cut(self, cut: int, texts: int) -> None:
        """Warns if some of the texts were cut."""
        if cut:
            _log.warning(tell_cut(cut, texts, self.max_length))

    def _width(self, inputs: tuple[str, ...]) -> int:
        return min(len(inputs), 1) if self.task.kind == "tagging" else len(inputs)

    def _predict_part(self, inputs: Sequence[tuple[str, ...]]) -> tuple[list[Prediction], int]:
        examples = [Example(each, None, UNKNOWN_LANGUAGE) for each in inputs]
        cutting = Cutting(self.max_length, self.segmentation, self.overlap)
        subwords, cut = cut_and_count(examples, self.task, self.tokenizer, cutting)
        words = align_words(subwords, examples, self.task)
        here = words.number >= 0
        logits = np.zeros((words.count, len(self.task.labels)), np.float32)
        logits[words.number[here]] = self.compute_logits(subwords)[here]
        known = words.spoken
        scores = np.zeros_like(logits)
        scores[known] = self._weigh(logits[known], known, examples)
        if self.task.multilabel:
            labels = name_classes(pack_labels(scores > self.threshold), examples, self.task)
            return [Prediction(*each) for each in zip(labels, scores[:, None], strict=True)], cut
        joins = self.segmentation == UNITS
        labels = label_words(logits, known, examples, self.task, self.decoding, joins)
        ends = np.cumsum([len(each) for each in labels])
        parts = np.split(scores, ends[:-1])
        return [Prediction(*each) for each in zip(labels, parts, strict=True)], cut

    def _weigh(
        self, logits: np.ndarray, known: np.ndarray, examples: Sequence[Example]
    ) -> np.ndarray:
        """f32[K,C] probabilities by the logits of the known words."""
        if self.task.multilabel:
            return _sigmoid(logits)
        if self.task.kind == "tagging" and self.decoding == VITERBI and len(logits):
            begins = find_sequences(known, examples, self.task, self.segmentation == UNITS)
            return weigh_tags(logits, begins, self.task.labels)
        return _softmax(logits)


@dataclass(frozen=True)
class Tagger:
    """Finds entities in texts; `load` creates one. Threads may share it."""

    predictor: Predictor

    def tag(self, texts: Sequence[str | Sequence[str]]) -> list[Tagged]:
        """The words, tags and entities of each text.

        Args:
            texts: any number of texts. Each is a string, whose words are its units, or a sequence
                of words, which are joined by spaces and get a tag each.

        Raises:
            InputError: an item is neither a text nor a sequence of words.
        """
        _check_sequence(texts, "tag")
        found = [self._find_words(text, f"Text {i}") for i, text in enumerate(texts)]
        predictions = self.predictor.predict([words for _, words, _ in found])
        return [
            self._describe(text, words, spans, prediction)
            for (text, words, spans), prediction in zip(found, predictions, strict=True)
        ]

    def _find_words(
        self, text: Any, where: str
    ) -> tuple[str, tuple[str, ...], list[tuple[int, int]]]:
        if _is_text(text):
            return text, *self.predictor.split(text)
        if isinstance(text, str) or not isinstance(text, Sequence) or not all(map(_is_text, text)):
            raise InputError(f"{where} is {show(text)}; it must be a text or a list of words.")
        raw, spans = join_words(text)
        return raw, tuple(text), spans

    def describe(self, text: str | None, words: tuple[str, ...], prediction: Prediction) -> Tagged:
        """A prediction with its words and entities; without a text the words are joined."""
        if text is None:
            raw, spans = join_words(words)
        else:
            raw, spans = text, self.predictor.split(text)[1]
        return self._describe(raw, words, spans, prediction)

    def _describe(
        self, text: str, words: Sequence[str], spans: list[tuple[int, int]], prediction: Prediction
    ) -> Tagged:
        scores = self._score_tags(prediction).tolist()
        parts = zip(words, spans, prediction.labels, scores, strict=True)
        described = tuple(Word(word, *span, tag, score) for word, span, tag, score in parts)
        return Tagged(text, described, find_entities(text, described, self.predictor.segmentation))

    def _score_tags(self, prediction: Prediction) -> np.ndarray:
        """f32[N] the probability of each word's tag; with `argmax` that before its repair."""
        if self.predictor.decoding == ARGMAX:
            return prediction.scores.max(axis=-1, initial=0)
        column = {label: i for i, label in enumerate(self.predictor.task.labels)}
        columns = [column.get(label, 0) for label in prediction.labels]
        return prediction.scores[np.arange(len(columns)), columns]


@dataclass(frozen=True)
class Classifier:
    """Classifies texts; `load` creates one. Threads may share it."""

    predictor: Predictor

    def classify(self, texts: Sequence[str | tuple[str, str]]) -> list[Classified]:
        """The class of each text or pair of texts, any number of them.

        Raises:
            InputError: an item is neither a text nor a pair of texts.
        """
        _check_sequence(texts, "classify")
        inputs = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
        for i, each in enumerate(inputs):
            if len(each) not in (1, 2) or not all(map(_is_text, each)):
                raise InputError(
                    f"Text {i} is {show(texts[i])}; it must be a text or a pair of texts."
                )
        return [self.describe(prediction) for prediction in self.predictor.predict(inputs)]

    def describe(self, prediction: Prediction) -> Classified:
        """A prediction with the name and score of its class."""
        scores = dict(zip(self.predictor.task.labels, prediction.scores[0].tolist(), strict=True))
        best = max(scores, key=scores.__getitem__)
        labels = prediction.labels if self.predictor.task.multilabel else None
        return Classified(best, scores[best], scores, labels)


def load(
    name: str,
    backend: str = "jax",
    revision: str = "main",
    threads: int = 0,
    threshold: float = 0.5,
) -> Tagger | Classifier:
    """Opens a model folder, a run's student or a hub id, with a head for tagging or classification.

    Args:
        name: a model folder, the workdir of a run, or a hub id.
        backend: "jax"; or, with ONNX Runtime on the CPU, "onnx" (the folder's onnx/model.onnx) or
            "int8" (its onnx/model_quantized.onnx).
        threads: of ONNX Runtime; 0: one per core.
        threshold: of a multi-label model: the probability above which a text has a class.

    Raises:
        InputError: the model or file does not exist, is damaged, or has no such head.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend is {show(backend)}; it must be {', '.join(BACKENDS)}.")
    if not 0 <= threshold < 1:
        raise InputError(f"threshold is {threshold}; it must lie in [0, 1).")
    name = find_student(name)
    if backend == "jax" and find_local(name) is None:
        find_folder(name, revision)  # before JAX is imported, which takes a second
    predictor = _open_jax(name, revision) if backend == "jax" else None
    predictor = predictor or _open_onnx(name, revision, backend, threads)
    predictor = replace(predictor, threshold=threshold)
    return (Tagger if predictor.task.kind == "tagging" else Classifier)(predictor)


def _open_jax(name: str, revision: str) -> Predictor:
    from xdistil.deploy.jax_backend import open_model

    opened = open_model(name, revision)
    return Predictor(
        task=opened.task,
        tokenizer=opened.tokenizer,
        max_length=opened.max_length,
        segmentation=opened.segmentation,
        joined=opened.joined,
        overlap=opened.overlap,
        scheme=opened.scheme,
        repair=opened.repair,
        decoding=opened.decoding,
        compute_logits=opened.compute_logits,
    )


def _open_onnx(name: str, revision: str, backend: str, threads: int) -> Predictor:
    try:
        from xdistil.deploy.onnx_backend import OnnxBackend
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise InputError(
            f"Backend {backend!r} needs onnxruntime: pip install onnxruntime."
        ) from None
    folder = find_exported(name, revision, _FILES[backend])
    config = folder / "config.json"
    raw = read_json(config)
    task = check_head(read_head(raw, config), name)
    check_problem(raw, task, name)
    path = folder / _FILES[backend]
    if not path.is_file():
        raise InputError(f"{path} does not exist: `xdistil export` writes it.")
    model = OnnxBackend(path, threads)
    tokenizer = open_tokenizer(folder, words=task.kind == "tagging")
    _try_out(model, tokenizer, len(task.labels), path)
    longest = model.longest
    if longest is None and RECORD not in raw:
        raise InputError(f"{path} does not say how long texts may be: export it again.")
    read = read_preprocessing(raw, longest, str(config))
    # An int8 file scales numbers by the largest of the batch, so other texts would change them.
    texts = 1 if backend == "int8" else 0
    return Predictor(
        task=task,
        tokenizer=tokenizer,
        max_length=read["max_length"],
        segmentation=read["segmentation"],
        joined=read["joined"],
        overlap=read["overlap"],
        scheme=read["scheme"],
        repair=read["repair"],
        decoding=read["decoding"],
        compute_logits=lambda subwords: model.compute_logits(
            subwords, len(task.labels), texts=texts
        ),
    )


def _try_out(model: "OnnxBackend", tokenizer: Tokenizer, classes: int, path: Path) -> None:
    # The file must have a row for the tokenizer's last subword, and the classes of config.json.
    last = np.array([[tokenizer.vocabulary_size - 1]])
    try:
        answered = model.run(last, np.ones_like(last), np.zeros_like(last)).shape[-1]
    except Exception as error:  # ONNX Runtime's types have no common base
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} does not take all {tokenizer.vocabulary_size} subwords of the tokenizer in "
            f"its folder: put the model's own tokenizer there ({reason})."
        ) from None
    if answered != classes:
        raise InputError(
            f"{path} has {answered} classes and config.json names {classes}: export it again."
        )


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits.astype(np.float64)))


def _is_text(value: Any) -> bool:
    # A string that UTF-8 can encode: tokenizers do not take lone surrogates.
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_sequence(texts: Any, verb: str) -> None:
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise InputError(f"`{verb}` takes a list of texts, not {show(texts)}.")
