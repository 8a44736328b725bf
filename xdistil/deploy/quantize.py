"""An exported ONNX file -> a smaller one, in int8 if possible, that passes the quality gate.

ONNX Runtime quantizes the kernels of dense layers and LSTMs with one scale per unit, and multiplies
in int8. It would quantize an embedding with a single scale, so embeddings are quantized here with
one scale per row, and only the rows of a batch are converted back. Biases, norms, small tables and
the last layer stay in float32.
"""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from xdistil.data.examples import Example
from xdistil.data.segmentation import UNITS
from xdistil.data.subwords import Subwords
from xdistil.data.word_alignment import label_subwords
from xdistil.deploy.jax_backend import JaxBackend
from xdistil.deploy.onnx_backend import OnnxBackend
from xdistil.deploy.onnx_export import (
    FOLDER,
    QUANTIZED,
    RECORD,
    WHOLE,
    build_file,
    choose_subwords,
    cut,
    write_beside,
)
from xdistil.deploy.quality_gate import Verdict, judge
from xdistil.errors import InputError, RefusedError
from xdistil.evaluation.formatting import align
from xdistil.evaluation.results import QuantizationResult
from xdistil.models.hf.folder import is_output
from xdistil.models.onnx_graph import FLOAT16, INT8
from xdistil.runtime.json_io import write_json

log = logging.getLogger("xdistil")

_SMALLEST = 1024  # numbers in the smallest weight that is quantized
_KERNELS = {"MatMul": slice(1, 2), "LSTM": slice(1, 3)}  # operator -> those inputs that are kernels


@dataclass(frozen=True)
class Weight:
    """A weight that may be stored in a smaller type."""

    name: str
    part: str  # of the model: embeddings, lstm, encoder.layer.3 ...
    products: tuple[str, ...]  # the nodes whose kernel it is; empty for an embedding


@dataclass(frozen=True)
class Candidate:
    """One option of storing a file's weights."""

    name: str
    storage: dict[str, str]  # by weight, as `Graph` takes it
    products: tuple[str, ...] = ()  # the nodes computed in int8


@dataclass(frozen=True)
class Trial:
    """A candidate and its result."""

    name: str
    bytes: int  # of the file
    loaded: int  # bytes of file, tokenizer and config.json together
    dev: Verdict | None  # None: too large to be tried
    test: Verdict | None  # None: it failed on dev, or there is no test
    passed: bool


@dataclass(frozen=True)
class Outcome:
    """The result of `quantize_onnx`."""

    path: Path
    whole_bytes: int  # of the float32 file
    trials: list[Trial]  # in order; the last one passed


def quantize_onnx(
    opened: JaxBackend,
    folder: str | Path,
    dev: Sequence[Example],
    test: Sequence[Example] | None,
    max_bytes: int = 0,
) -> Outcome:
    """Writes `onnx/model_quantized.onnx` and `onnx/quantization.json` into a model folder.

    Candidates are tried from the smallest to the largest: all weights in int8; all but the one,
    two, four ... most sensitive parts in int8; embeddings in int8 and the rest in float16; all in
    float16. The first that passes `quality_gate.judge` on dev, and on test if given, is written.

    Args:
        opened: the model in the folder.
        dev, test: labelled examples.
        max_bytes: limit for the file, tokenizer and config.json together; 0: no limit.

    Raises:
        InputError: there are no examples, or the folder cannot be written.
        RefusedError: no candidate passed; the message holds the table of results.
    """
    folder = Path(folder)
    path = folder / FOLDER / QUANTIZED
    whole = folder / FOLDER / WHOLE
    if not dev:
        raise InputError("A quantized file is tested on dev sentences: give some.")
    splits = {"dev": _Split(opened, whole, dev), "test": _Split(opened, whole, test or ())}
    others = sum(size for name, size in count_loaded(folder).items() if name != WHOLE)
    trials: list[Trial] = []
    with write_beside(path) as place:
        for stale in (path, path.with_name(RECORD)):
            stale.unlink(missing_ok=True)
        for candidate in _propose(opened, whole, dev, place):
            write_candidate(build_file(opened, candidate.storage), candidate, place)
            size = place.stat().st_size
            trial = Trial(candidate.name, size, size + others, None, None, False)
            if not max_bytes or trial.loaded <= max_bytes:
                trial = _try(trial, place, splits)
            log.info(_describe(trial))
            trials.append(trial)
            if trial.passed:
                break
        outcome = Outcome(path, whole.stat().st_size, trials)
        if not trials[-1].passed:
            limit = f" in {max_bytes / 1e6:.1f} MB" if max_bytes else ""
            raise RefusedError(
                f"{path} was not written: no candidate passed{limit}.\n{render_outcome(outcome)}"
            )
    with write_beside(path.with_name(RECORD)) as place:
        write_json(place, record_outcome(outcome))
    return outcome


def count_loaded(folder: Path) -> dict[str, int]:
    """Bytes by name of the files that prediction loads: float32 ONNX file, tokenizer, config."""
    files = [folder / FOLDER / WHOLE, folder / "config.json", *folder.glob("tokenizer*")]
    return {path.name: path.stat().st_size for path in files}


def record_outcome(outcome: Outcome) -> QuantizationResult:
    """The outcome as JSON; scores are fractions."""
    return {
        "format": 1,
        "float32_bytes": outcome.whole_bytes,
        "chosen": outcome.trials[-1].name if outcome.trials[-1].passed else None,
        "tried": [dataclasses.asdict(trial) for trial in outcome.trials],
    }


def render_outcome(outcome: Outcome) -> str:
    """Tables of the candidates, and of the last one's scores by language and by script."""
    rows = []
    for trial in outcome.trials:
        cells = [trial.name, _megabytes(trial.bytes), _megabytes(trial.loaded)]
        for verdict in (trial.dev, trial.test):
            cells += [_change(verdict), ", ".join(verdict.worse) if verdict else ""]
        rows.append((*cells, "passed" if trial.passed else "failed" if trial.dev else "too large"))
    header = ("weights", "MB", "MB loaded", "dev", "worse on dev", "test", "worse on test", "gate")
    tables = [align([header, *rows], (0, 4, 6, 7))]
    last = outcome.trials[-1].test or outcome.trials[-1].dev
    if last is not None:
        languages = [
            (name, _percent(each.whole), _percent(each.small), str(each.wanted), f"{each.p:.4f}")
            for name, each in last.groups.items()
        ]
        tables.append(align([("language", "float32", "quantized", "gold", "p"), *languages], (0,)))
        scripts = [
            (name, _percent(whole), _percent(small), str(wanted))
            for name, (whole, small, wanted) in last.scripts.items()
        ]
        tables.append(align([("script", "float32", "quantized", "gold"), *scripts], (0,)))
    return "\n\n".join("\n".join(lines) for lines in tables)


class _Split:
    """Examples, with their subwords and the float32 model's predictions, computed on first use."""

    def __init__(self, opened: JaxBackend, whole: Path, examples: Sequence[Example]) -> None:
        self.opened, self.examples = opened, examples
        self._whole = whole
        self._read: tuple[Subwords, list[tuple[str, ...]]] | None = None

    def judge(self, path: Path) -> Verdict:
        """Compares a file with the model."""
        if self._read is None:
            subwords = cut(self.opened, self.examples)
            self._read = subwords, self._label(self._whole, subwords)
        subwords, predictions = self._read
        return judge(self.opened.task, self.examples, predictions, self._label(path, subwords))

    def _label(self, path: Path, subwords: Subwords) -> list[tuple[str, ...]]:
        task = self.opened.task
        logits = OnnxBackend(path).compute_logits(subwords, len(task.labels))
        joins = self.opened.segmentation == UNITS
        carried = logits[subwords.word >= 0]
        return label_subwords(subwords, carried, self.examples, task, self.opened.decoding, joins)


def _try(trial: Trial, path: Path, splits: dict[str, _Split]) -> Trial:
    dev = splits["dev"].judge(path)
    test = splits["test"].judge(path) if dev.passed and splits["test"].examples else None
    passed = dev.passed and (test is None or test.passed)
    return dataclasses.replace(trial, dev=dev, test=test, passed=passed)


def _propose(
    opened: JaxBackend, whole: Path, dev: Sequence[Example], place: Path
) -> Iterator[Candidate]:
    weights = list_weights(onnx.load(str(whole)))
    yield choose_int8("int8", weights)
    sensitive = _order_by_sensitivity(opened, whole, weights, dev, place)
    excluded = 1
    while excluded < len(sensitive):
        kept = [weight for weight in weights if weight.part not in sensitive[:excluded]]
        yield choose_int8(f"int8, but {', '.join(sensitive[:excluded])}", kept)
        excluded *= 2
    embeddings = {weight.name: INT8 for weight in weights if weight.part == "embeddings"}
    half = {weight.name: FLOAT16 for weight in weights}
    yield Candidate("int8 embeddings, float16", {**half, **embeddings})
    yield Candidate("float16", half)


def list_weights(graph: onnx.ModelProto) -> list[Weight]:
    """The float32 weights of a graph that may be stored in a smaller type."""
    products: dict[str, list[str]] = {}
    for node in graph.graph.node:
        for kernel in node.input[_KERNELS.get(node.op_type, slice(0))]:
            products.setdefault(kernel, []).append(node.name)
    return [
        Weight(each.name, _find_part(each.name), tuple(products.get(each.name, ())))
        for each in graph.graph.initializer
        if each.data_type == onnx.TensorProto.FLOAT
        and len(each.dims) > 1
        and np.prod(each.dims) >= _SMALLEST
        and not each.name.endswith("bias")
        and not is_output(tuple(each.name.split(".")))
    ]


def _find_part(name: str) -> str:
    """The layer of the encoder, or the first part of the name."""
    first, *rest = name.split(".")
    return ".".join([first, *rest[:2]]) if first == "encoder" and rest[0] == "layer" else first


def choose_int8(name: str, weights: Sequence[Weight]) -> Candidate:
    """The candidate with these weights in int8 and the others in float32."""
    return Candidate(
        name,
        {weight.name: INT8 for weight in weights if not weight.products},
        tuple(dict.fromkeys(product for weight in weights for product in weight.products)),
    )


def write_candidate(graph: onnx.ModelProto, candidate: Candidate, place: Path) -> None:
    """Writes a graph built with the candidate's storage, its products in int8 if it has any."""
    if not candidate.products:
        onnx.save_model(graph, str(place))
        return
    add_pre_process_metadata(graph)  # silences the advice to fold constants; there are few
    quantize_dynamic(
        graph,
        str(place),
        op_types_to_quantize=list(_KERNELS),
        nodes_to_quantize=list(candidate.products),
        per_channel=True,
        weight_type=QuantType.QInt8,
        # Seven bits: processors without VNNI add two products in 16 bits, which eight bits would
        # overflow, but not on every machine that runs the quality gate.
        reduce_range=True,
    )


def _order_by_sensitivity(
    opened: JaxBackend,
    whole: Path,
    weights: Sequence[Weight],
    dev: Sequence[Example],
    place: Path,
) -> list[str]:
    """The model's parts, first the one whose int8 weights change the logits most."""
    subwords, classes = choose_subwords(opened, dev), len(opened.task.labels)
    expected = OnnxBackend(whole).compute_logits(subwords, classes)[subwords.label_mask]
    changes: dict[str, float] = {}
    for part in dict.fromkeys(weight.part for weight in weights):
        own = [weight for weight in weights if weight.part == part]
        candidate = choose_int8(part, own)
        write_candidate(build_file(opened, candidate.storage), candidate, place)
        logits = OnnxBackend(place).compute_logits(subwords, classes)[subwords.label_mask]
        changes[part] = float(np.abs(logits - expected).mean())
    return sorted(changes, key=lambda part: -changes[part])


def _describe(trial: Trial) -> str:
    text = f"{trial.name}: {_megabytes(trial.bytes)} MB"
    if trial.dev is None:
        return f"{text}, with tokenizer and config {_megabytes(trial.loaded)} MB: too large"
    for name, verdict in (("dev", trial.dev), ("test", trial.test)):
        if verdict is not None:
            worse = f", worse in {', '.join(verdict.worse)}" if verdict.worse else ""
            text += f", {name} {_change(verdict)}{worse}"
    return f"{text}: {'passed' if trial.passed else 'failed'}"


def _change(verdict: Verdict | None) -> str:
    return f"{100 * (verdict.small - verdict.whole):+.2f}" if verdict else ""


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f}"
