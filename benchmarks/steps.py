"""How fast is a training step of each kind of stage, beside a matrix product, and in which rows?

    python -m benchmarks.steps --model=MINILM --data=wikiann5 --seconds=20 --output=steps.json
    python -m benchmarks.steps --rows --model=MINILM --data=nli4 --languages= --output=rows.json

Texts are the task folder's training sentences in the subwords of the model's tokenizer, packed into
rows of 64, 4,096 positions per batch. Teachers have the shapes of MiniLM and of BERT-base; students
are a BiLSTM and two transformers; all weights are random. A step is timed as a run makes it: the
batch goes to the device, the teacher runs where its signals are computed on the fly, then loss,
gradient and optimizer. Batches are made before the clock starts (a run makes them in another
thread); evaluation and checkpoints are not timed. The arithmetic is that of --dtype,
auto for the faster one as in a run; on a GPU a turn is ten steps, with one wait at their end.

Tokens are real subwords: padding counts neither in the rate nor in the operations. The operations
of a batch are, for a model with P numbers in its matrices (embedding tables are not counted), L
attention layers of width D, N real subwords and S the sum of the squared lengths of its segments,

    forward  = 2 P N + 4 L D S
    training = 3 forward (a forward pass, the gradients of inputs and of weights)

where a frozen part below everything that is trained counts once, and a teacher on the fly adds its
forward pass. Projections between widths count as matrices. Two directions of an LSTM are two
matrices each. The share is operations per second over the rate of a product of two square matrices
of 1,024 (on a CPU) or 8,192 (on a GPU) in the same round; with --peak=OPERATIONS_PER_SECOND the
table has the share of that peak too (989e12: a dense bfloat16 product on an H100, by its maker).

--rows compares rows of 64, 128, 256 and 512 subwords in one run, with 4,096 positions per batch
each: the forward pass of MiniLM's shape as the cache asks for it, and a training step of the BiLSTM
student on labels. A text longer than a row is cut to it, as in a run, so long texts have fewer
subwords in short rows: the table shows the subwords per sentence.
"""

import argparse
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks import harness, step_inputs, timing
from benchmarks.timing import MATRIX_PRODUCT, Action, Counts
from xdistil.config import Data, Experiment, Stage, Student
from xdistil.data.batches import make_batches
from xdistil.data.corpus import read_corpus
from xdistil.data.examples import Example, Task
from xdistil.data.packing import Batch, PackedTexts, pack
from xdistil.data.subwords import Cutting, tokenize
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.data.trim_tokenizer import renumber
from xdistil.distill.finetune import find_subwords
from xdistil.distill.layer_maps import middle_layer
from xdistil.distill.losses import SIDE_PROJECTIONS
from xdistil.distill.stages import StageRun
from xdistil.distill.step import init_state, train_step
from xdistil.distill.unfreezing import HEAD, split_params
from xdistil.models.encoder import Transformer
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bert import Encoder
from xdistil.models.trim import trim_model
from xdistil.models.types import Model, Params
from xdistil.runtime.arithmetic import choose_dtype
from xdistil.runtime.mesh import make_mesh, replicate, shard_batch
from xdistil.runtime.process import request_huge_pages
from xdistil.student.design import design_student
from xdistil.teacher.signals import SignalSpec, arrange_signals, compute_signals, signal_names
from xdistil.teacher.storage import MapSignal, Signal, first_pairs, gather_signals

TEACHERS = {"MiniLM": (384, 6, 1536), "BERT-base": (768, 12, 3072)}  # width, layers, feed-forward
TRANSFORMER = Student(
    kind="transformer", heads=12, intermediate_size=3072, dropout=0.1, embeddings="random"
)
STUDENTS = {
    "BiLSTM 50/290": Student(
        kind="bilstm", embedding_size=50, hidden_size=290, embeddings="random"
    ),
    "transformer 6x384": replace(TRANSFORMER, hidden_size=384, layers=6),
    "transformer 3x192": replace(TRANSFORMER, hidden_size=192, layers=3),
}
# A learning rate so small that random weights stay what they are, however many steps are timed.
RATE = 1e-6
FINETUNING = Stage(name="finetune", loss="labels", data="train", clip=1.0, weight_decay=0.01)
STATES_AND_MAPS = Stage(
    name="both",
    loss="representation+attention",
    hidden_loss="mse",
    hidden_map="last",
    attention_map="last",
    clip=1.0,
    weight_decay=0.01,
)
CACHED = Stage(name="cached", loss="representation")
OTHERS = {
    "logits": Stage(name="logits", loss="logits"),
    "labels": Stage(name="labels", loss="labels", data="train"),
    "head only": Stage(name="logits", loss="logits", unfreeze="gradual"),
}
ROW_LENGTHS = (64, 128, 256, 512)
BATCHES = 8  # that the steps go through


@dataclass(frozen=True, kw_only=True)
class Texts(PackedTexts):
    """Sentences as subwords in packed rows."""

    task: Task
    tokenizer: Tokenizer


@dataclass(frozen=True)
class Setting:
    """What every case reads."""

    texts: Texts
    batch_rows: int
    dtype: str
    steps: int  # in a turn


def pack_texts(examples: list[Example], task: Task, tokenizer: Tokenizer, row_length: int) -> Texts:
    """Examples in rows of a length, cut to segments that fit."""
    subwords = tokenize(examples, task, tokenizer, Cutting(row_length))
    rows = pack(subwords, row_length, 0)
    return Texts(examples, subwords, rows, task=task, tokenizer=tokenizer)


def design_teacher(name: str, texts: Texts, dtype: str) -> Encoder:
    """A teacher of one of the shapes, for the task and the tokenizer of the texts."""
    width, layers, feed_forward = TEACHERS[name]
    config = EncoderConfig(
        vocabulary_size=texts.tokenizer.vocabulary_size,
        embedding_size=width,
        hidden_size=width,
        layers=layers,
        intermediate_size=feed_forward,
    )
    return Encoder(config, texts.task.kind, len(texts.task.labels), dtype)


def make_student(name: str, teacher: Encoder, texts: Texts, dtype: str) -> Model:
    """One of STUDENTS for the task and the tokenizer of the texts."""
    return design_student(STUDENTS[name], teacher.config, texts.tokenizer, texts.task, dtype)


def count_forward(params: Params, batch: Batch) -> float:
    """Operations of a forward pass through these parameters, as the docstring above has them."""
    kernels = {path: x for path, x in flatten_dict(params).items() if path[-1].endswith("kernel")}
    numbers = sum(math.prod(kernel.shape) for kernel in kernels.values())
    widths = [kernel.shape[1] for path, kernel in kernels.items() if path[-2] == "query"]
    segment = np.asarray(batch.segment)
    real = int(np.count_nonzero(segment))
    same = segment[:, :, None] == segment[:, None, :]
    pairs = int(np.count_nonzero(same & (segment[:, :, None] > 0)))
    return 2.0 * numbers * real + 4.0 * sum(widths) * pairs


def leave_head(params: Params) -> Params:
    """Parameters without those of the head, which no representation stage computes."""
    return split_params(params, (HEAD,))[1]


def count_training(stage: StageRun, trainable: Params, frozen: Params, batch: Batch) -> float:
    """Operations of a step's forward pass and gradient, without the teacher's."""
    if not stage.trains_head:
        frozen = leave_head(frozen)
    return 3 * count_forward(trainable, batch) + count_forward(frozen, batch)


def make_feed(
    texts: Texts, batch_rows: int, signals: dict[str, Signal]
) -> list[tuple[Batch, dict[str, np.ndarray]]]:
    """Full batches of the texts in a shuffled order, with their signals."""
    columns = partial(gather_signals, signals, texts.rows)
    feed = make_batches(
        texts.subwords, texts.rows, columns, batch_rows, 1.0, 0, texts.tokenizer.pad
    )
    full = max(1, len(texts.rows.subword) // batch_rows)
    return list(itertools.islice(feed, min(BATCHES, full)))


def run_steps(
    step: Callable[[], tuple[Counts, Any]], wait: Callable[[Any], Any], steps: int
) -> Action:
    """An action of several steps with one wait at their end: in a run the device works ahead."""

    def act() -> Counts:
        total: Counts = {"steps": steps}
        for _ in range(steps):
            counts, pending = step()
            for thing, count in counts.items():
                total[thing] = total.get(thing, 0.0) + count
        wait(pending)
        return total

    return act


def start_training(
    setting: Setting,
    model: Model,
    stage: Stage,
    teacher: Encoder | None = None,
    params: Params | None = None,
    on_the_fly: bool = False,
) -> Action:
    """Steps of a stage, or of its first stage run.

    Args:
        teacher: what the stage learns from.
        params: where to start; None: at random.
        on_the_fly: whether the teacher runs in the steps; otherwise its signals are random numbers
            in the cache's type and shape.
    """
    texts, mesh = setting.texts, make_mesh()
    shape = None if teacher is None else teacher.config
    run = step_inputs.plan_on(texts, (stage,), model, shape)[0]
    spec = run.spec
    cached = {} if on_the_fly or teacher is None else draw_signals(texts, teacher, spec)
    feed = make_feed(texts, setting.batch_rows, cached)

    params = {**(params or model.init_params(jax.random.key(0))), **draw_projections(run)}
    trainable, frozen = split_params(params, run.trainable)
    operations = [count_training(run, trainable, frozen, batch) for batch, _ in feed]
    teacher_params: Params = {}
    if on_the_fly:
        assert teacher is not None  # plan_stages refuses such a stage without one
        teacher_params = replicate(mesh, teacher.init_params(jax.random.key(1)))
        body = leave_head(teacher_params)
        operations = [
            count + count_forward(body, batch)
            for count, (batch, _) in zip(operations, feed, strict=True)
        ]
    trainable, frozen = replicate(mesh, (trainable, frozen))
    state = init_state(run.step, trainable, frozen, jax.random.key(2))
    state = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    turn = itertools.cycle(zip(feed, operations, strict=True))

    def step() -> tuple[Counts, Any]:
        nonlocal state
        (batch, values), count = next(turn)
        real = int(np.count_nonzero(batch.segment))
        batch = shard_batch(mesh, batch)
        if on_the_fly:
            signals = compute_signals(teacher_params, batch, model=teacher, spec=spec)
        else:
            signals = arrange_signals(spec, dict(shard_batch(mesh, values)))
        state, metrics = train_step(state, batch, signals, np.float32(RATE), config=run.step)
        return {"tokens": real, "operations": count}, (state.trainable, metrics)

    return run_steps(step, jax.block_until_ready, setting.steps)


def start_finetuning(setting: Setting, model: Transformer, params: Params | None = None) -> Action:
    """Steps of FINETUNING with only the subwords of the texts, as in a run."""
    texts = setting.texts
    kept = find_subwords(model, [texts.subwords])
    small, start = trim_model(model, params or model.init_params(jax.random.key(0)), kept)
    narrow = replace(texts, subwords=renumber(texts.subwords, kept))
    return start_training(replace(setting, texts=narrow), small, FINETUNING, params=start)


def draw_signals(texts: Texts, teacher: Encoder, spec: SignalSpec) -> dict[str, Signal]:
    """Random numbers in place of a teacher's cached outputs, in float16."""
    generator = np.random.default_rng(0)
    first, pairs = first_pairs(texts.subwords)

    def draw(rows: int, width: int) -> np.ndarray:
        return generator.random((rows, width), np.float32).astype(np.float16)

    signals: dict[str, Signal] = {}
    for name in signal_names(spec):
        if name.startswith("attention"):
            signals[name] = MapSignal(draw(pairs, teacher.config.heads), first)
        else:
            classes, width = len(texts.task.labels), teacher.config.hidden_size
            signals[name] = draw(len(texts.subwords.tokens), classes if name == "logits" else width)
    return signals


def draw_projections(stage: StageRun) -> Params:
    """Random projections from the student's width to the teacher's, where a loss needs them."""
    generator = np.random.default_rng(0)
    projections = {
        str(index): {
            "kernel": generator.normal(0, width**-0.5, (width, target)).astype(np.float32),
            "bias": np.zeros(target, np.float32),
        }
        for index, (width, target) in enumerate(stage.projections)
        if width != target
    }
    return {SIDE_PROJECTIONS: projections} if projections else {}


def start_forward(setting: Setting, teacher: Encoder) -> Action:
    """Batches of a teacher's signals for the cache: logits and its middle hidden states."""
    mesh = make_mesh()
    spec = SignalSpec(logits=True, hidden=(middle_layer(teacher.config.layers),))
    params = replicate(mesh, teacher.init_params(jax.random.key(1)))
    turn = itertools.cycle(
        (batch, count_forward(params, batch))
        for batch, _ in make_feed(setting.texts, setting.batch_rows, {})
    )

    def step() -> tuple[Counts, Any]:
        batch, count = next(turn)
        real = int(np.count_nonzero(batch.segment))
        signals = compute_signals(params, shard_batch(mesh, batch), model=teacher, spec=spec)
        return {"tokens": real, "operations": count}, signals

    return run_steps(step, jax.block_until_ready, setting.steps)


def list_actions(setting: Setting) -> dict[str, Callable[[], Action]]:
    """What starts each kind of step, by its name."""
    texts, dtype = setting.texts, setting.dtype
    teachers = {name: design_teacher(name, texts, dtype) for name in TEACHERS}
    actions: dict[str, Callable[[], Action]] = {}
    for name, teacher in teachers.items():
        actions[f"fine-tuning, {name}"] = partial(start_finetuning, setting, teacher)
        actions[f"forward for the cache, {name}"] = partial(start_forward, setting, teacher)
        for of, design in STUDENTS.items():
            student = make_student(of, teacher, texts, dtype)
            start = partial(start_training, setting, student)
            if design.kind == "transformer":
                for way in ("on the fly", "from the cache"):
                    actions[f"hidden states and attention {way}, {name} to {of}"] = partial(
                        start, STATES_AND_MAPS, teacher, on_the_fly=way == "on the fly"
                    )
            actions[f"representation from the cache, {name} to {of}"] = partial(
                start, CACHED, teacher
            )
    # Of the teacher only the logits reach these, and their width is the task's.
    teacher = teachers["MiniLM"]
    for of in STUDENTS:
        student = make_student(of, teacher, texts, dtype)
        for kind, stage in OTHERS.items():
            source = None if stage.loss == "labels" else teacher
            actions[f"{kind}, {of}"] = partial(start_training, setting, student, stage, source)
    return actions


def time_action(
    start: Callable[[], Action], product: Action, seconds: float, peak: float | None
) -> dict[str, Any]:
    """One kind of step in rounds with the matrix product."""
    turns = timing.time_rounds({"step": start(), MATRIX_PRODUCT: product}, seconds)
    steps = turns["step"]
    result = {
        **timing.describe(steps),
        "matrix_product": timing.describe(turns[MATRIX_PRODUCT]),
        "share_of_matrix_product": timing.compare(steps, turns[MATRIX_PRODUCT], "operations"),
    }
    if peak:
        shares = [rate / peak for rate in timing.rates(steps, "operations")]
        result["share_of_peak"] = timing.summarise(shares)
    return result


def print_cases(cases: dict[str, dict[str, Any]]) -> None:
    """A line per case."""
    columns = {
        "tokens/s": ("tokens_per_second", 0, 1.0),
        "GFLOP/s": ("operations_per_second", 1, 1e-9),
        "% of product": ("share_of_matrix_product", 1, 100.0),
        "% of peak": ("share_of_peak", 1, 100.0),
    }
    rows = []
    for name, case in cases.items():
        cells = columns.values()
        rows.append(
            (name, *(harness.show(case[x], n, by) if x in case else "" for x, n, by in cells))
        )
    harness.print_table(("case", *columns), rows)


def compare_rows(workload: str, settings: dict[str, Setting], seconds: float) -> dict[str, Any]:
    """A workload in rows of several lengths; the first are the reference."""
    actions: dict[str, Action] = {}
    for name, setting in settings.items():
        teacher = design_teacher("MiniLM", setting.texts, setting.dtype)
        if workload == "forward":
            actions[name] = start_forward(setting, teacher)
        else:
            student = make_student("BiLSTM 50/290", teacher, setting.texts, setting.dtype)
            actions[name] = start_training(setting, student, OTHERS["labels"])
    first, setting = next(iter(settings.items()))
    turns = timing.time_rounds(
        {**actions, MATRIX_PRODUCT: timing.multiply_in_jax(setting.dtype)}, seconds
    )
    return timing.describe_comparison(turns, first, "tokens")


def run_rows(flags: argparse.Namespace) -> None:
    """Compares ROW_LENGTHS on both workloads, and prints their tables."""
    settings = {f"rows of {length}": make_setting(flags, length) for length in ROW_LENGTHS}
    described = {name: describe_setting(setting) for name, setting in settings.items()}
    cases = {
        name: partial(compare_rows, name, settings, flags.seconds)
        for name in ("forward", "training")
    }
    for workload, case in harness.run_cases(cases, flags, {"rows": described}).items():
        timing.print_comparison(workload, case, next(iter(settings)), "tokens")
    rows = [
        (name, f"{1 - told['filled_positions']:.1%}", f"{told['subwords_per_sentence']:.1f}")
        for name, told in described.items()
    ]
    harness.print_table(("", "padding", "subwords per sentence"), rows)


def make_parser(description: str) -> argparse.ArgumentParser:
    """The flags of a command that times steps."""
    parser = harness.make_parser(description)
    parser.add_argument("--model", type=Path, required=True, help="an HF folder with its tokenizer")
    parser.add_argument("--data", type=Path, required=True, help="a task folder")
    parser.add_argument("--languages", default="en", help="of the sentences; empty: all")
    parser.add_argument("--limit", type=int, default=4000, help="sentences, at most")
    parser.add_argument("--row-length", type=int, default=64, help="subwords in a row")
    parser.add_argument("--positions", type=int, default=4096, help="rows times length of a batch")
    parser.add_argument("--dtype", default="auto", help="of the arithmetic, as in a config")
    harness.add_case_flags(parser, seconds=20.0)
    return parser


def make_setting(flags: argparse.Namespace, row_length: int) -> Setting:
    """The texts of the flags, and the arithmetic of the device."""
    dtype = choose_dtype(Experiment(dtype=flags.dtype))
    steps = 10 if jax.default_backend() == "gpu" else 1
    data = Data(folder=str(flags.data), languages=flags.languages, limit=flags.limit)
    corpus = read_corpus(data, 0)
    tokenizer = load_tokenizer(str(flags.model))
    texts = pack_texts(list(corpus.train), corpus.task, tokenizer, row_length)
    return Setting(texts, max(1, flags.positions // row_length), dtype, steps)


def describe_setting(setting: Setting) -> dict[str, Any]:
    """What a result tells of it."""
    subwords = setting.texts.subwords
    return {
        "dtype": setting.dtype,
        "subwords_per_sentence": len(subwords.tokens) / (int(subwords.example[-1]) + 1),
        "filled_positions": float(np.mean(setting.texts.rows.subword >= 0)),
        "batch_rows": setting.batch_rows,
    }


def main() -> None:
    """Runs the cases whose names contain --only."""
    parser = make_parser(__doc__)
    parser.add_argument("--peak", type=float, help="operations per second of the device")
    parser.add_argument("--rows", action="store_true", help="compare row lengths instead")
    flags = parser.parse_args()
    if flags.rows:
        run_rows(flags)
        return
    setting = make_setting(flags, flags.row_length)
    product = timing.multiply_in_jax(setting.dtype)
    cases = {
        name: partial(time_action, start, product, flags.seconds, flags.peak)
        for name, start in list_actions(setting).items()
    }
    print_cases(harness.run_cases(cases, flags, describe_setting(setting)))


if __name__ == "__main__":
    request_huge_pages()
    main()
