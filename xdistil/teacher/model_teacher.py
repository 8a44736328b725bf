"""A model as the teacher: fine-tuned here or beforehand, read in the steps or once for a cache."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xdistil import config
from xdistil.data.examples import Task
from xdistil.data.packing import PackedTexts
from xdistil.data.tokenizer import Tokenizer
from xdistil.data.word_alignment import align_words
from xdistil.errors import InputError
from xdistil.models.encoder import Transformer
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.forward import prediction_rows, sows_qkv
from xdistil.models.types import Params
from xdistil.runtime.mesh import shard_params
from xdistil.runtime.session import Session
from xdistil.teacher.cache import open_cache, packing_checksum
from xdistil.teacher.cache_policy import CacheChoice, choose_cache
from xdistil.teacher.growing_cache import GrowingCache
from xdistil.teacher.head import check_classes, is_fine_tuned
from xdistil.teacher.interface import SignalReader, Unit
from xdistil.teacher.signals import (
    PlacedModel,
    Request,
    SignalSpec,
    merge_requests,
    params_fingerprint,
    signal_names,
)
from xdistil.teacher.storage import MapSignal, Signal, place_signals

log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class ModelTeacher:
    """A model with its parameters on the host; `replace(params=...)` after fine-tuning."""

    config: config.Teacher
    model: Transformer
    params: Params
    tokenizer: Tokenizer
    task: Task
    decoding: str  # of its tags as it was loaded: viterbi, or argmax
    padding_id: int  # of the subwords that it reads: its own, or the student's where `remap` is
    unit: Unit = Unit.SUBWORD
    remap: np.ndarray | None = None  # i32[v] its id of each student subword; None: the same ids

    @property
    def name(self) -> str:
        """The folder or hub id, or `from scratch`."""
        return self.config.model or "from scratch"

    def shape(self, where: str) -> EncoderConfig:
        """The model's config."""
        return self.model.config

    def check(self, request: Request) -> None:
        """Raises InputError where the model has no such signal, or the student cannot read it."""
        if request.spec.logits and is_fine_tuned(self.config):
            check_classes(self.config, self.task, needs_head=True)
        loss = request.spec.pair_loss
        if loss and self.unit is Unit.WORD:
            raise InputError(
                f"{request.stage}.loss has {loss}, which compares pairs of subwords, and the "
                "student's subwords are not those that the teacher reads: drop it, or give the "
                "student the teacher's tokenizer, with teacher.subwords=student where "
                "student.vocabulary_size or student.min_count leave subwords out."
            )
        if request.spec.vectors and not sows_qkv(self.model):
            raise InputError(
                f"{request.stage}.loss has relations, but a teacher of "
                f"{self.model.config.model_type} has no queries, keys and values to compare: "
                "learn representation or attention instead."
            )

    def plan(self, requests: Sequence[Request]) -> tuple[CacheChoice, ...]:
        """What is cached and what is computed in the steps."""
        by_word = self.unit is Unit.WORD
        return choose_cache(requests, self.config, self.model, self.task, by_word)

    def place(self, session: Session) -> PlacedModel:
        """The model with its parameters on the devices."""
        return PlacedModel(
            model=self.model,
            params=shard_params(session.mesh, self.params),
            padding_id=self.padding_id,
            remap=self.remap,
            fingerprint=params_fingerprint(self.params),
            mesh=session.mesh,
        )

    def reader(self, requests: Sequence[Request], session: Session) -> SignalReader:
        """Reads the texts of cached signals once, unless the steps do, and computes the others in
        the steps."""
        placed = self.place(session)
        merged = merge_requests(requests)
        stored: dict[str, Mapping[str, Signal]] = {}
        growing: dict[str, GrowingCache] = {}
        with session.preemption.deferred():
            for choice in self.plan(requests):
                name, request = choice.texts, merged[choice.texts]
                if choice.grows:
                    growing[name] = self._grow(placed, request, choice, session)
                elif choice.cached:
                    stored[name] = self._open(placed, request, choice, session)
        return SignalReader(stored, placed.compute, growing)

    def _grow(
        self, placed: PlacedModel, request: Request, choice: CacheChoice, session: Session
    ) -> GrowingCache:
        texts = request.teacher
        return GrowingCache(
            session.workdir / "cache" / "signals",
            placed,
            texts.subwords,
            texts.rows,
            choice.spec,
            prediction_rows(texts.rows, session.mesh.size),
            choice.bytes,
            session.preemption.raise_if_requested,
            self.config.cache_type,
        )

    def _open(
        self, placed: PlacedModel, request: Request, choice: CacheChoice, session: Session
    ) -> Mapping[str, Signal]:
        texts, words = request.teacher, None
        if self.unit is Unit.WORD:
            words = align_words(texts.subwords, texts.examples, self.task)
        values = open_cache(
            self._find_cache(texts, choice.spec, session.workdir),
            placed,
            texts.subwords,
            texts.rows,
            choice.spec,
            prediction_rows(texts.rows, session.mesh.size),
            session.preemption.raise_if_requested,
            words,
            self.config.cache_type,
        )
        if words is None:
            return values
        place = np.where(words.spoken, np.arange(words.count), -1)
        # There are no maps among them: `check` refuses plans that ask for maps of words.
        vectors = {name: each for name, each in values.items() if not isinstance(each, MapSignal)}
        student = request.student
        return place_signals(
            vectors, place, align_words(student.subwords, student.examples, self.task)
        )

    def _find_cache(self, texts: PackedTexts, spec: SignalSpec, workdir: Path) -> Path:
        """The folder of cached signals.

        In a folder that runs share, signals that are computed together have their own: which
        signals a program computes, and how texts are packed, may change the last bits of each, and
        so it must not matter which run comes first.
        """
        if self.config.cache_folder:
            return Path(self.config.cache_folder)
        if not self.config.shared_folder:
            return workdir / "cache" / "signals"
        together = json.dumps([signal_names(spec), packing_checksum(texts.rows)])
        digest = hashlib.sha256(together.encode()).hexdigest()[:8]
        return Path(self.config.shared_folder) / f"signals-{digest}"

    def fingerprints(self) -> dict[str, tuple[str, str]]:
        """Tokenizer and parameters, of a model that was read from somewhere."""
        if not self.config.model:
            return {}
        text = self.tokenizer.backend.to_str().encode()
        return {
            "teacher.tokenizer": (
                self.config.tokenizer or self.config.model,
                hashlib.sha256(text).hexdigest(),
            ),
            "teacher.model": (self.config.model, params_fingerprint(self.params)),
        }


def match_subwords(
    teacher: ModelTeacher, student: Tokenizer, kept: np.ndarray | None
) -> ModelTeacher:
    """The teacher of a student that has some or all of its subwords.

    Args:
        kept: i32[v] the teacher's id of each of the student's subwords; None: the same ids.
    """
    return replace(teacher, unit=Unit.SUBWORD, remap=kept, padding_id=student.pad)


def match_words(teacher: ModelTeacher, shared: bool) -> ModelTeacher:
    """The teacher of a student that splits words otherwise.

    Args:
        shared: the student's subwords are some of the teacher's, so that the teacher could read
            them.

    Raises:
        InputError: `teacher.cache=never`, which needs the teacher to read the student's rows.
    """
    if teacher.config.cache == "never":
        either = " or teacher.subwords=student" if shared else ""
        raise InputError(
            "teacher.cache=never has the teacher read the student's subwords in every step, and "
            f"they are not those that it reads: set teacher.cache=auto{either}."
        )
    return replace(teacher, unit=Unit.WORD)
