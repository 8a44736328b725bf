"""The texts of a run, cut into subwords and packed into rows, by the names that stages read."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from xdistil.config import SILVER, Experiment, Stage
from xdistil.data.corpus import Corpus, take_evenly
from xdistil.data.examples import Example
from xdistil.data.packing import PackedTexts, Rows, load_packed, pack, pack_languages, save_packed
from xdistil.data.streamed import JoinedExamples, drop_labels
from xdistil.data.subwords import Cutting, Subwords, first_examples, join_subwords, tokenize_blocks
from xdistil.data.tokenizer import Tokenizer
from xdistil.deploy.preprocessing import choose_overlap
from xdistil.distill.stages import texts_name
from xdistil.experiment.shared_texts import find_packed, hold_packed
from xdistil.plans import without_labels
from xdistil.teacher.voted_texts import VotedTexts

# Texts of steps, whose languages a temperature draws.
LEARNT = ("train", "transfer", "all", SILVER)


@dataclass(frozen=True)
class Packer:
    """Packs the texts of a run in the subwords of any tokenizer."""

    experiment: Experiment
    corpus: Corpus
    cache: Path
    writes: bool
    voted: VotedTexts | None = None

    def list_splits(self, transfer: bool) -> dict[str, Sequence[Example]]:
        """The texts by name, with or without the transfer texts."""
        corpus = self.corpus
        names = ("train", "dev", "test", *(("transfer",) if transfer else ()), "gold_dev")
        plans = self.experiment.plan + self.experiment.teacher.plan
        if any(stage.data == SILVER for stage in plans):
            names = (*names, SILVER)
        splits = {name: found for name in names if (found := getattr(corpus, name))}
        if "transfer" in splits:
            splits["transfer"] = corpus.all_transfer
        if transfer and corpus.gold and any(each.data == "all" for each in self.experiment.plan):
            splits["all"] = JoinedExamples(corpus.all_transfer, drop_labels(corpus.train))
        return splits

    def pack_all(
        self,
        splits: Mapping[str, Sequence[Example]],
        tokenizer: Tokenizer,
        reader: str,
        stages: Iterable[Stage],
    ) -> dict[str, PackedTexts]:
        """All texts by name, with the shares of train that stages ask for.

        Args:
            reader: teacher or student, the folder in the cache.
        """
        packed = {}
        read = {texts_name(stage): stage for stage in stages}
        groups: set[str] = set()  # texts whose languages a stage weighs
        if reader == "student":
            plan = self.experiment.plan
            plan = plan if self.corpus.gold else without_labels(plan)
            groups = {texts_name(stage) for stage in plan if stage.gap_weight}
        for name, examples in splits.items():
            if name == "transfer" and "all" in splits and name not in read:
                continue
            # Gold that is there for its scores alone may have tags that the head does not name.
            texts = examples if self.corpus.gold else drop_labels(examples)
            grouped = name in groups
            if self.experiment.teacher.shared_folder:
                learnt, task = name in LEARNT, self.corpus.task
                folder = find_packed(self.experiment, task, tokenizer, texts, learnt, grouped)
            else:
                folder = self.cache / reader / name
            if self.writes:
                self._save(folder, name, examples, texts, tokenizer, grouped)
            packed[name] = self._join(examples, *load_packed(folder))
            if name == SILVER and self.voted is not None:
                soft = self.voted.label_softly(packed[name], self.corpus.task)
                packed[name] = replace(packed[name], soft_labels=soft)
        for name, stage in read.items():
            if name not in packed and "train" in packed:
                share = self._take_share(packed["train"], stage, tokenizer, name in groups)
                packed[name] = share
        if "transfer" in splits and "transfer" not in packed:
            packed["transfer"] = self._take_transfer(packed["all"])
        return packed

    def _save(
        self,
        folder: Path,
        name: str,
        examples: Sequence[Example],
        texts: Sequence[Example],
        tokenizer: Tokenizer,
        grouped: bool,
    ) -> None:
        """Writes subwords and rows, unless they are there for all runs that share them."""
        shared = self.experiment.teacher.shared_folder
        with hold_packed(folder) if shared else contextlib.nullcontext(True) as missing:
            if missing:
                parts = self._tokenize(texts, tokenizer, predicts=name not in LEARNT)
                save_packed(folder, parts, partial(self._pack, name, grouped, examples))

    def _take_transfer(self, every: PackedTexts) -> PackedTexts:
        """The transfer texts among `all`, where they come first; no stage reads them alone, so that
        they have no rows."""
        examples = self.corpus.all_transfer
        nothing = np.zeros((0, self.experiment.data.row_length), np.int32)
        subwords = first_examples(every.subwords, len(examples))
        return self._join(examples, subwords, Rows(nothing, nothing, nothing))

    def _take_share(
        self, texts: PackedTexts, stage: Stage, tokenizer: Tokenizer, grouped: bool
    ) -> PackedTexts:
        """The first of each language, as large a share of all as the stage says."""
        count = max(1, round(stage.label_fraction * len(texts.examples)))
        examples = take_evenly(texts.examples, count)
        subwords = join_subwords(self._tokenize(examples, tokenizer))
        rows = self._pack("train", grouped, examples, subwords)
        return self._join(examples, subwords, rows)

    def _join(self, examples: Sequence[Example], subwords: Subwords, rows: Rows) -> PackedTexts:
        return PackedTexts(examples, subwords, rows, self.experiment.data.segmentation)

    def _tokenize(
        self, examples: Sequence[Example], tokenizer: Tokenizer, predicts: bool = False
    ) -> Iterator[Subwords]:
        """Their subwords; windows overlap as in prediction where labels are predicted."""
        data, task = self.experiment.data, self.corpus.task
        length = data.max_length or data.row_length
        overlap = choose_overlap(length, data.segmentation) if predicts else 0
        cutting = Cutting(length, data.segmentation, overlap)
        return tokenize_blocks(examples, task, tokenizer, cutting)

    def _pack(
        self,
        name: str,
        grouped: bool,
        examples: Sequence[Example],
        subwords: Subwords,
        folder: Path | None = None,
    ) -> Rows:
        data, seed = self.experiment.data, self.experiment.seed
        if not grouped and (data.temperature == 1 or name not in LEARNT):
            return pack(subwords, data.row_length, seed, folder)
        return pack_languages(subwords, data.row_length, seed, examples, data.temperature, folder)
