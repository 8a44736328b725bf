"""Prediction with an ONNX file: subwords -> logits, by ONNX Runtime on the CPU."""

from pathlib import Path

import numpy as np
import onnxruntime

from xdistil.data.subwords import PREDICTION_SUBWORDS, Subwords
from xdistil.errors import InputError

_BATCH_TEXTS = 64
LONGEST = "max_length"  # the key of a file's metadata for the largest number of subwords of a text


class OnnxBackend:
    """An opened ONNX file of `xdistil export`, quantized or not."""

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        """Opens a file; `threads` 0 means one thread per core.

        Raises InputError if the file cannot be run.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's types have no common base
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{path} is not an ONNX file that can be run: {reason}.") from None
        self._inputs = [each.name for each in self._session.get_inputs()]

    @property
    def longest(self) -> int | None:
        """The largest number of subwords of a text; None if the file does not say it."""
        said = self._session.get_modelmeta().custom_metadata_map.get(LONGEST, "")
        return int(said) if said.isdecimal() else None

    def run(
        self, tokens: np.ndarray, attention_mask: np.ndarray, token_type: np.ndarray
    ) -> np.ndarray:
        """Integers [B,T] -> logits f32[B,T,C] (tagging) or f32[B,C] (classification)."""
        given = {
            "input_ids": tokens,
            "attention_mask": attention_mask,
            "token_type_ids": token_type,
        }
        feed = {name: given[name].astype(np.int64, copy=False) for name in self._inputs}
        return self._session.run(["logits"], feed)[0]

    def compute_logits(
        self, subwords: Subwords, classes: int, order: np.ndarray | None = None, texts: int = 0
    ) -> np.ndarray:
        """f32[P,C] at every subword (tagging) or every segment's first subword (classification).

        Args:
            order: i64[S], the order of segments in batches; None: by length.
            texts: segments in a batch; 0: as many as fit.
        """
        lengths = np.diff(subwords.start)
        order = np.argsort(lengths, kind="stable") if order is None else order
        logits = np.zeros((len(subwords.tokens), classes), np.float32)
        at = 0
        while at < len(order):
            size = texts or max(
                1, min(_BATCH_TEXTS, PREDICTION_SUBWORDS // int(lengths[order[at]]))
            )
            chosen = order[at : at + size]
            places, there = find_places(subwords, chosen)
            output = self.run(
                np.where(there, subwords.tokens[places], 0),
                there,
                np.where(there, subwords.token_type[places], 0),
            )
            if output.ndim == 3:
                logits[places[there]] = output[there]
            else:
                logits[subwords.start[chosen]] = output
            at += size
        return logits


def find_places(subwords: Subwords, segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Subword indices i64[B,T] of segments i64[B], padded at the end, and their mask bool[B,T]."""
    first = subwords.start[segments]
    lengths = subwords.start[segments + 1] - first
    within = np.arange(lengths.max())
    there = within < lengths[:, None]
    return np.where(there, first[:, None] + within, 0), there
