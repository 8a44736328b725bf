"""What a run is watched for: the lines that it takes, and its time."""

import contextlib
import inspect
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from xdistil.annotators.prompting.answer_values import read_entities
from xdistil.annotators.prompting.batches import read_result
from xdistil.annotators.prompting.entities import locate_entities
from xdistil.annotators.prompting.gather import gather_answers
from xdistil.annotators.prompting.loose_json import find_values
from xdistil.annotators.prompting.marked import read_marked
from xdistil.annotators.prompting.occurrences import Quoted
from xdistil.annotators.prompting.replies import read_reply
from xdistil.data.columns import cut_rows
from xdistil.data.conll import find_columns
from xdistil.data.corpus import read_corpus
from xdistil.data.examples import read_file
from xdistil.data.json_arrays import cut_records
from xdistil.data.json_records import load_json
from xdistil.data.json_spans import tag_words
from xdistil.data.layouts import find_layout
from xdistil.data.lines import read_lines
from xdistil.data.packing import pack
from xdistil.data.parquet import read_rows
from xdistil.data.records import read_text_field
from xdistil.data.segmentation import find_units
from xdistil.data.subwords import tokenize
from xdistil.data.tag_notation import find_notation
from xdistil.data.tag_schemes import is_tag
from xdistil.data.text_columns import read_rows as read_table_rows
from xdistil.data.text_stream import read_stream
from xdistil.data.tokenizer import load_tokenizer
from xdistil.deploy.jax_backend import JaxBackend
from xdistil.deploy.predictor import Tagger
from xdistil.models.config_fields import read_field
from xdistil.models.families.bert import Encoder
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.hf.folder import load_model
from xdistil.models.hf.tensor_files import read_tensors
from xdistil.models.tensor_names import Names

Arc = tuple[str, int, int]  # file, the line before, the line

SECONDS = 30  # a run may take
# Something of every file whose lines are traced.
TRACED = {
    inspect.getsourcefile(each)
    for each in (
        *(read_corpus, read_file, read_lines, tokenize, pack, load_tokenizer, is_tag),
        *(find_layout, find_notation, find_units, cut_rows, cut_records, load_json, tag_words),
        *(find_columns, read_text_field, read_stream, read_table_rows, read_rows),
        *(gather_answers, read_reply, read_result, read_entities, read_marked, find_values),
        *(locate_entities, Quoted),
        *(load_model, read_tensors, Names, read_field, Encoder, BiLSTM, JaxBackend, Tagger),
    )
}


@contextlib.contextmanager
def trace(arcs: set[Arc]) -> Iterator[None]:
    """Adds the arcs between lines of the traced files that are taken."""

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        if file not in TRACED:
            return None
        before = 0

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            arcs.add((file, before, frame.f_lineno))
            before = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(None)


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """TimeoutError after SECONDS."""

    def late(*_: object) -> None:
        raise TimeoutError(f"over {SECONDS} seconds")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing is printed: Rust panics and warnings of libraries would be."""
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    with open(os.devnull, "wb") as nowhere:
        for stream, _ in kept:
            os.dup2(nowhere.fileno(), stream)
    try:
        yield
    finally:
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)
