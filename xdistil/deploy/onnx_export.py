"""A model folder -> `onnx/model.onnx` in it: checked against the model, or not written.

What needs the packages of the extra `onnx` is imported where it is used, so that a run without
them works without it.
"""

import contextlib
import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xdistil.data.examples import Example, Task
from xdistil.data.subwords import Cutting, Subwords, cut_and_count
from xdistil.deploy.jax_backend import JaxBackend
from xdistil.errors import InputError, RefusedError
from xdistil.models.families.registry import FAMILIES
from xdistil.models.types import Model, Params, count_parameters
from xdistil.runtime.json_io import write_atomically

if TYPE_CHECKING:
    import onnx

log = logging.getLogger("xdistil")

FOLDER, WHOLE = "onnx", "model.onnx"
QUANTIZED, RECORD = "model_quantized.onnx", "quantization.json"  # as quantize.py writes them
TOLERANCE = 1e-4  # between a logit of the file and of the model
_MOST_PARAMETERS = 500_000_000  # of float32: a protobuf, which an ONNX file is, ends at 2 GiB
_CHECKED = 128  # sentences that the two are compared on, of as many lengths as there are
_TOGETHER = 8  # of them in a batch


def check_packages() -> None:
    """Raises InputError where the packages that write and run ONNX files are not installed."""
    missing = [name for name in ("onnx", "onnxruntime") if not importlib.util.find_spec(name)]
    if missing:
        raise InputError(
            f"ONNX files need the package {' and '.join(missing)}: pip install 'xdistil[onnx]'."
        )


def export_onnx(opened: JaxBackend, folder: str | Path, examples: Sequence[Example]) -> Path:
    """Writes `onnx/model.onnx` into a model folder and returns its path; logs how exact it is.

    Its inputs are `input_ids` and `attention_mask`, i64[batch,length] of texts padded at their
    ends, and `token_type_ids` where the model has more than one type; its output is `logits`,
    f32[batch,length,C] (tagging) or f32[batch,C] (classification). Only the embeddings of positions
    bound the length: a text that is longer than `max_position_embeddings` of config.json allows
    must be cut by whoever runs the file.

    Args:
        opened: the model in the folder, as `open_model` opens it.
        examples: sentences that the file is checked on.

    Raises:
        InputError: packages are missing, there are no examples, or the folder cannot be written.
        RefusedError: the file and the model differ by more than TOLERANCE.
    """
    check_packages()
    import onnx

    subwords = choose_subwords(opened, examples)
    path = Path(folder) / FOLDER / WHOLE
    with write_beside(path) as place:
        for stale in (path, path.with_name(QUANTIZED), path.with_name(RECORD)):
            stale.unlink(missing_ok=True)  # they may be of another model
        onnx.save_model(build_file(opened), str(place))
        difference, length = compare(opened, subwords, place)
        if not difference <= TOLERANCE:
            raise RefusedError(
                f"{path} was not written: its logits differ from the model's by {difference:.1e} in"
                f" a text of {length} subwords, and {TOLERANCE:.0e} is allowed."
            )
    log.info(
        "the file's logits differ from the model's by %.1e at most, in a text of %d subwords",
        difference,
        length,
    )
    return path


def build_graph(
    model: Model, params: Params, task: Task, storage: Mapping[str, str] | None = None
) -> "onnx.ModelProto":
    """The model with its head as a graph, whose inputs and output `export_onnx` describes.

    Args:
        storage: how weights are stored, by name, as `Graph` takes it; all in float32 by default.

    Raises:
        InputError: the model is too large for one ONNX file.
    """
    from xdistil.models.onnx_graph import Graph

    total = count_parameters(params)["total"]
    if total > _MOST_PARAMETERS:
        raise InputError(
            f"The model has {total} parameters, and an ONNX file holds {_MOST_PARAMETERS} at most:"
            " export its student."
        )
    graph = Graph(params, storage or {})
    logits = FAMILIES[model.config.model_type].add_graph(graph, model.config, task.kind)
    subwords: tuple[str, ...] = ("length",) if task.kind == "tagging" else ()
    return graph.finish(logits, ("batch", *subwords, len(task.labels)))


def build_file(opened: JaxBackend, storage: Mapping[str, str] | None = None) -> "onnx.ModelProto":
    """The graph of `build_graph`, with the largest number of subwords of a text in its metadata."""
    import onnx

    from xdistil.deploy.onnx_backend import LONGEST

    graph = build_graph(opened.model, opened.params, opened.task, storage)
    onnx.helper.set_model_props(graph, {LONGEST: str(opened.max_length)})
    return graph


@contextlib.contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """A place to write to, which becomes `path` where nothing is raised, and vanishes otherwise."""
    try:
        path.parent.mkdir(exist_ok=True)
        with write_atomically(path) as place:
            yield place
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}).") from error


def choose_subwords(opened: JaxBackend, examples: Sequence[Example]) -> Subwords:
    """Subwords of at most _CHECKED examples, from the shortest to the longest; all of one shape."""
    if not examples:
        raise InputError("There are no sentences to check an ONNX file on: give some.")
    width = len(examples[0].inputs)
    if opened.task.kind == "classification":
        examples = [example for example in examples if len(example.inputs) == width]
    subwords = cut(opened, examples)
    longest = np.zeros(len(examples), np.int64)
    np.maximum.at(longest, subwords.example, np.diff(subwords.start))
    order = np.argsort(longest, kind="stable")
    # Lengths evenly, for most sentences are of a few of them.
    targets = np.linspace(longest[order[0]], longest[order[-1]], min(_CHECKED, len(order)))
    places = np.searchsorted(longest[order], targets.round())
    chosen = np.unique(places)  # the first of each length
    shard_params = np.linspace(0, len(order) - 1, _CHECKED - len(chosen)).astype(np.int64)
    return cut(opened, [examples[order[place]] for place in np.union1d(chosen, shard_params)])


def cut(opened: JaxBackend, examples: Sequence[Example]) -> Subwords:
    """The subwords that the model reads of examples of one shape."""
    return cut_and_count(
        examples,
        opened.task,
        opened.tokenizer,
        Cutting(opened.max_length, opened.segmentation, opened.overlap),
    )[0]


def compare(opened: JaxBackend, subwords: Subwords, path: Path) -> tuple[float, int]:
    """The largest difference between logits of model and file, and the subwords of that text.

    The model reads packed rows and the file batches padded at random: neither sees its neighbours.
    """
    from xdistil.deploy.onnx_backend import OnnxBackend

    expected = opened.compute_logits(subwords)
    shuffled = np.random.default_rng(0).permutation(len(subwords.start) - 1)
    given = OnnxBackend(path).compute_logits(subwords, expected.shape[1], shuffled, _TOGETHER)
    if opened.task.kind == "classification":
        expected, given = (each[subwords.start[:-1]] for each in (expected, given))
    differences = np.abs(expected - given).max(axis=1)
    worst = int(differences.argmax())
    segment = worst
    if opened.task.kind == "tagging":
        segment = int(np.searchsorted(subwords.start, worst, side="right")) - 1
    return float(differences[worst]), int(subwords.start[segment + 1] - subwords.start[segment])
