"""A model folder in people's hands: texts or words in; words, entities, labels and scores out.

`xdistil.load` opens one. With ONNX Runtime as backend neither this file nor what it imports needs
more than numpy, tokenizers and onnxruntime.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xdistil.data.examples import UNKNOWN_LANGUAGE, Example, Task
from xdistil.data.spans import Entity, Word, find_entities, join_words, split_words
from xdistil.data.subwords import Subwords, cut_and_count, tell_cut
from xdistil.data.tokenizer import Tokenizer, open_tokenizer
from xdistil.data.word_alignment import align_words, name_classes
from xdistil.deploy.preprocessing import PREPROCESSING, read_preprocessing
from xdistil.errors import InputError, show
from xdistil.models.hf.head import check_head, read_head
from xdistil.models.hf.hub import find_exported
from xdistil.runtime.json_io import read_json

if TYPE_CHECKING:
    from xdistil.deploy.onnx_backend import OnnxBackend

BACKENDS = ("jax", "onnx", "int8")
_FILES = {"onnx": "onnx/model.onnx", "int8": "onnx/model_quantized.onnx"}
_TOGETHER = 1024  # texts that are cut and computed together: bounds memory
_log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class Prediction:
    """What a model says of one input."""

    labels: tuple[str, ...]  # one legal IOB2 tag a word, or one class name
    scores: np.ndarray  # f32[N,C] probabilities of the classes; zeros for a word without a subword


@dataclass(frozen=True)
class Tagged:
    """A text with its words and entities."""

    text: str
    words: tuple[Word, ...]
    entities: tuple[Entity, ...]


@dataclass(frozen=True)
class Classified:
    """The class of a text, or of two."""

    label: str
    score: float  # its probability
    scores: dict[str, float]  # of all classes


@dataclass(frozen=True)
class Predictor:
    """What surrounds a forward pass: inputs -> subwords, logits -> legal labels and scores.

    It keeps nothing between calls, so that threads may share it.
    """

    task: Task
    tokenizer: Tokenizer
    max_length: int  # subwords in a segment: longer sentences are windows, longer texts are cut
    scheme: str  # how the gold tags of its training were written
    repair: bool  # whether illegal ones were made legal there
    compute_logits: Callable[[Subwords], np.ndarray]  # f32[P,C], where labels stand

    def predict(self, inputs: Sequence[tuple[str, ...]]) -> list[Prediction]:
        """The answer to each: words of a sentence (tagging), or one or two texts (classification).

        An answer depends on its own input alone. Texts that lose their ends are counted in a
        warning.
        """
        answers, cut = self.predict_and_count(inputs)
        self.tell_cut(cut, len(inputs))
        return answers

    def predict_and_count(self, inputs: Sequence[tuple[str, ...]]) -> tuple[list[Prediction], int]:
        """What `predict` returns, and how many texts lost their ends."""
        empty = np.zeros((0, len(self.task.labels)), np.float32)
        answers = [Prediction((), empty)] * len(inputs)
        cut = 0
        for width in (1, 2):  # of one shape within a call: `cut_and_count` asks for it
            chosen = [index for index, each in enumerate(inputs) if self._width(each) == width]
            for first in range(0, len(chosen), _TOGETHER):
                part = chosen[first : first + _TOGETHER]
                found, its_cut = self._predict_alike([inputs[index] for index in part])
                cut += its_cut
                for index, answer in zip(part, found, strict=True):
                    answers[index] = answer
        return answers, cut

    def tell_cut(self, cut: int, texts: int) -> None:
        """Warns where so many of the texts lost their ends."""
        if cut:
            _log.warning(tell_cut(cut, texts, self.max_length))

    def _width(self, inputs: tuple[str, ...]) -> int:
        return min(len(inputs), 1) if self.task.kind == "tagging" else len(inputs)

    def _predict_alike(self, inputs: Sequence[tuple[str, ...]]) -> tuple[list[Prediction], int]:
        examples = [Example(each, None, UNKNOWN_LANGUAGE) for each in inputs]
        subwords, cut = cut_and_count(examples, self.task, self.tokenizer, self.max_length)
        logits = self.compute_logits(subwords)[subwords.label_mask]
        words = align_words(subwords, examples, self.task)
        place = words.number[subwords.label_mask]
        classes = np.full(words.count, -1)
        classes[place] = logits.argmax(axis=-1)
        scores = np.zeros((words.count, len(self.task.labels)), np.float32)
        scores[place] = _softmax(logits)
        labels = name_classes(classes, examples, self.task)
        ends = np.cumsum([len(each) for each in labels])
        parts = np.split(scores, ends[:-1])
        return [Prediction(*each) for each in zip(labels, parts, strict=True)], cut


@dataclass(frozen=True)
class Tagger:
    """Finds entities in texts; `load` makes one. Threads may share it."""

    predictor: Predictor

    def tag(self, texts: Sequence[str | Sequence[str]]) -> list[Tagged]:
        """Words, tags and entities of each text, in batches of any size.

        Args:
            texts: each one text, whose words are what `str.split` finds, or a sequence of words;
                the text of words is they with a space between every two.

        Raises:
            InputError: something else than texts or words.
        """
        _check_sequence(texts, "tag")
        found = [_find_words(text, f"Text {i}") for i, text in enumerate(texts)]
        answers = self.predictor.predict([words for _, words, _ in found])
        return [
            self._describe(text, words, spans, answer)
            for (text, words, spans), answer in zip(found, answers, strict=True)
        ]

    def describe(self, text: str | None, words: tuple[str, ...], answer: Prediction) -> Tagged:
        """An answer of the predictor in words; the words' text may be unknown."""
        raw, spans = join_words(words) if text is None else (text, split_words(text)[1])
        return self._describe(raw, words, spans, answer)

    def _describe(
        self, text: str, words: Sequence[str], spans: list[tuple[int, int]], answer: Prediction
    ) -> Tagged:
        scores = answer.scores.max(axis=-1, initial=0).tolist()
        parts = zip(words, spans, answer.labels, scores, strict=True)
        described = tuple(Word(word, *span, tag, score) for word, span, tag, score in parts)
        return Tagged(text, described, find_entities(text, described))


@dataclass(frozen=True)
class Classifier:
    """Names the class of texts; `load` makes one. Threads may share it."""

    predictor: Predictor

    def classify(self, texts: Sequence[str | tuple[str, str]]) -> list[Classified]:
        """The class of each text, or pair of texts, in batches of any size.

        Raises:
            InputError: something else than texts or pairs of them.
        """
        _check_sequence(texts, "classify")
        inputs = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
        for i, each in enumerate(inputs):
            if len(each) not in (1, 2) or not all(map(_is_text, each)):
                raise InputError(f"Text {i} is {show(texts[i])}; it must be a text or two.")
        return [self.describe(answer) for answer in self.predictor.predict(inputs)]

    def describe(self, answer: Prediction) -> Classified:
        """An answer of the predictor in words."""
        scores = dict(zip(self.predictor.task.labels, answer.scores[0].tolist(), strict=True))
        return Classified(answer.labels[0], scores[answer.labels[0]], scores)


def load(
    name: str, backend: str = "jax", revision: str = "main", threads: int = 0
) -> Tagger | Classifier:
    """Opens a model folder, or a hub id, whose head tags words or classifies texts.

    Args:
        backend: "jax", or with ONNX Runtime on the CPU "onnx" (onnx/model.onnx of the folder) or
            "int8" (onnx/model_quantized.onnx).
        threads: of ONNX Runtime; 0: as many as there are cores.

    Raises:
        InputError: there is no such model or file, it is damaged, or it has no such head.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend is {show(backend)}; it must be {', '.join(BACKENDS)}.")
    predictor = _open_jax(name, revision) if backend == "jax" else None
    predictor = predictor or _open_onnx(name, revision, backend, threads)
    return (Tagger if predictor.task.kind == "tagging" else Classifier)(predictor)


def _open_jax(name: str, revision: str) -> Predictor:
    from xdistil.deploy.jax_backend import open_model

    opened = open_model(name, revision)
    return Predictor(
        task=opened.task,
        tokenizer=opened.tokenizer,
        max_length=opened.max_length,
        scheme=opened.scheme,
        repair=opened.repair,
        compute_logits=opened.compute_logits,
    )


def _open_onnx(name: str, revision: str, backend: str, threads: int) -> Predictor:
    try:
        from xdistil.deploy.onnx_backend import OnnxBackend
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise InputError(f"Backend {backend!r} needs onnxruntime: pip install it.") from None
    folder = find_exported(name, revision, _FILES[backend])
    config = folder / "config.json"
    raw = read_json(config)
    task = check_head(read_head(raw, config), name)
    path = folder / _FILES[backend]
    if not path.is_file():
        raise InputError(f"{path} does not exist: `xdistil export` writes it.")
    model = OnnxBackend(path, threads)
    tokenizer = open_tokenizer(folder, words=task.kind == "tagging")
    _try_out(model, tokenizer, len(task.labels), path)
    longest = model.longest
    if longest is None and PREPROCESSING not in raw:
        raise InputError(f"{path} does not say how long texts may be: export it anew.")
    read = read_preprocessing(raw, longest, str(config))
    # Numbers of an int8 file are scaled by the largest of a batch: neighbours would matter.
    texts = 1 if backend == "int8" else 0
    return Predictor(
        task=task,
        tokenizer=tokenizer,
        max_length=read["max_length"],
        scheme=read["scheme"],
        repair=read["repair"],
        compute_logits=lambda subwords: model.compute_logits(
            subwords, len(task.labels), texts=texts
        ),
    )


def _try_out(model: "OnnxBackend", tokenizer: Tokenizer, classes: int, path: Path) -> None:
    # Whether it knows the tokenizer's last subword and answers the classes of config.json.
    last = np.array([[tokenizer.vocabulary_size - 1]])
    try:
        answered = model.run(last, np.ones_like(last), np.zeros_like(last)).shape[-1]
    except Exception as error:  # ONNX Runtime's have no common type
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} cannot read all {tokenizer.vocabulary_size} subwords of the tokenizer beside "
            f"it: put the model's own tokenizer there ({reason})."
        ) from None
    if answered != classes:
        raise InputError(
            f"{path} answers {answered} classes and config.json names {classes}: export it anew."
        )


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _is_text(value: Any) -> bool:
    # A text that UTF-8 can hold: tokenizers take no halves of surrogate pairs.
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


def _find_words(text: Any, where: str) -> tuple[str, tuple[str, ...], list[tuple[int, int]]]:
    if _is_text(text):
        return text, *split_words(text)
    if isinstance(text, str) or not isinstance(text, Sequence) or not all(map(_is_text, text)):
        raise InputError(f"{where} is {show(text)}; it must be a text, or a list of words.")
    raw, spans = join_words(text)
    return raw, tuple(text), spans
