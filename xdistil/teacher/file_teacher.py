"""A file as the teacher: what a model in any framework computed, or what annotators answered."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xdistil.data.examples import Example, Task
from xdistil.data.word_alignment import align_words, choose_decoding, label_words
from xdistil.errors import InputError
from xdistil.models.encoder_config import EncoderConfig
from xdistil.runtime.session import Session
from xdistil.teacher.cache_policy import CacheChoice
from xdistil.teacher.interface import SignalReader, Unit
from xdistil.teacher.signal_file import SignalFolder
from xdistil.teacher.signals import Request, merge_requests, signal_names
from xdistil.teacher.storage import Signal, place_signals
from xdistil.teacher.voted_texts import VotedTexts


@dataclass(frozen=True)
class FileTeacher:
    """A folder of signals (docs/signals.md), or answers of annotators (docs/annotators.md); its
    values belong to words."""

    file: SignalFolder | VotedTexts
    task: Task
    unit: Unit = Unit.WORD

    @property
    def name(self) -> str:
        """What the file says of itself."""
        return self.file.name

    def shape(self, where: str) -> EncoderConfig:
        """What the folder says of the model that wrote it."""
        return EncoderConfig(
            embedding_size=self.file.width,
            hidden_size=self.file.width,
            layers=self.file.layers,
        )

    def check(self, request: Request) -> None:
        """Raises InputError where the folder lacks a signal, or one of the texts."""
        if loss := request.spec.pair_loss:
            raise InputError(
                f"{request.stage}.loss has {loss}, which compares pairs of subwords, and a file "
                "of signals is of words: drop it."
            )
        if missing := [name for name in signal_names(request.spec) if name not in self.file.values]:
            raise InputError(
                f"{request.stage} learns {missing[0]}, which is not in {self.file.source}: "
                f"they are {', '.join(sorted(self.file.values))}."
            )
        self.file.locate(request.student.examples, self.task, request.texts)

    def plan(self, requests: Sequence[Request]) -> tuple[CacheChoice, ...]:
        """All signals come from the folder."""
        return ()

    def reader(self, requests: Sequence[Request], session: Session) -> SignalReader:
        """A reader of the folder's values, memory-mapped."""
        merged = merge_requests(requests).values()
        return SignalReader({each.texts: self._read(each) for each in merged})

    def _read(self, request: Request) -> Mapping[str, Signal]:
        texts = request.student
        place = self.file.locate(texts.examples, self.task, request.texts)
        values = {name: self.file.values[name] for name in signal_names(request.spec)}
        return place_signals(values, place, align_words(texts.subwords, texts.examples, self.task))

    def predict(self, examples: Sequence[Example]) -> list[tuple[str, ...]] | str:
        """The labels that the folder's logits give to examples, or why it has none."""
        if "logits" not in self.file.values:
            return "it holds no logits"
        if np.any(self.file.find_texts(examples, self.task) < 0):
            return "it does not hold all of the texts"
        # What is too uncertain to teach is still what the votes say.
        file = self.file.whole if isinstance(self.file, VotedTexts) else self.file
        place = file.locate(examples, self.task, "the texts")
        absent = place < 0
        if self.task.kind == "classification" and np.any(absent):
            return "it holds no values for some of the texts"
        logits = self.file.values["logits"][place]
        return label_words(logits, ~absent, examples, self.task, choose_decoding(self.task))

    def fingerprints(self) -> dict[str, tuple[str, str]]:
        """Every file of the folder."""
        return {role: (str(path), _digest(path)) for role, path in self.file.files.items()}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
