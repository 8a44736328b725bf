"""How fast is a step of each kind of stage, in real tokens a second and beside a matrix product?

    python benchmarks/steps.py --model=MINILM --data=wikiann5 --seconds=20 --output=steps.json

Texts are the task folder's training sentences in the pieces of the model's tokenizer, packed into
rows of 64, 4,096 positions a batch. Teachers have the shapes of MiniLM and of BERT-base, students
are a BiLSTM and two transformers; their weights are random. A step is timed as a run makes it: the
batch goes to the device, the teacher runs where its signals are wanted on the fly, then loss,
gradient and optimizer. Batches are made before the clock starts (a run makes them in a thread of
their own); evaluation and checkpoints are not timed.

On a CPU the arithmetic is float32. On a GPU it is bfloat16, and a turn is ten steps, waited for at
their end.

Tokens are real pieces: padding is not counted, neither in the rate nor in the operations. The
operations of a batch are, for a model with P numbers in its matrices (tables that are looked up
are none), L attention layers of width D, N real pieces and S the sum of the squared lengths of its
segments,

    forward  = 2 P N + 4 L D S
    training = 3 forward (a forward pass, the gradients of what comes in and of the weights)

where a part that is frozen below all that trains counts once, and a teacher on the fly adds its
forward pass. Side projections count as matrices. Two directions of an LSTM are two matrices each.
The share is operations a second over the rate of a product of two square matrices of 1,024
(float32, CPU) or 8,192 (bfloat16, GPU) in the same round; with --peak=OPERATIONS_A_SECOND the
table has the share of that peak too (989e12: a dense bfloat16 product on an H100 by its maker).
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
import measure
import numpy as np
from flax.traverse_util import flatten_dict
from jax.sharding import NamedSharding, PartitionSpec
from measure import Action, Counts
from xdistil.distill.recipes import PlannedStage, plan_stages, wanted_signals

from xdistil.config import Data, Stage, Student
from xdistil.data import batches
from xdistil.data.corpus import read_corpus
from xdistil.data.examples import Example, Task
from xdistil.data.packing import Batch, Rows, pack
from xdistil.data.subwords import Pieces, cut_pieces
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.data.trim_tokenizer import renumber
from xdistil.distill.finetune import find_pieces
from xdistil.distill.plan import SIDE
from xdistil.distill.step import init_state, train_step
from xdistil.distill.unfreezing import HEAD, split_params
from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.models.hf.folder import Model
from xdistil.models.trim import trim_model
from xdistil.models.types import Params
from xdistil.runtime.mesh import make_mesh, replicate, shard_rows
from xdistil.runtime.process import ask_for_huge_pages
from xdistil.student.design import design_student
from xdistil.teacher.signals import Wanted, arrange_signals, compute_signals, signal_names
from xdistil.teacher.storage import MapSignal, Signal, first_pairs

TEACHERS = {
    "MiniLM": {"hidden_size": 384, "layers": 6, "intermediate_size": 1536},
    "BERT-base": {"hidden_size": 768, "layers": 12, "intermediate_size": 3072},
}
STUDENTS = {
    "BiLSTM 50/290": Student(
        kind="bilstm", embedding_size=50, hidden_size=290, embeddings="random"
    ),
    "transformer 6x384": Student(
        kind="transformer",
        hidden_size=384,
        layers=6,
        heads=12,
        intermediate_size=3072,
        dropout=0.1,
        embeddings="random",
    ),
    "transformer 3x192": Student(
        kind="transformer",
        hidden_size=192,
        layers=3,
        heads=12,
        intermediate_size=3072,
        dropout=0.1,
        embeddings="random",
    ),
}
# A rate so small that random weights stay what they are, however many steps are timed.
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
# The side of the square matrices whose product the machine's rate is read with.
PRODUCT_SIZES = {"float32": 1024, "bfloat16": 8192}
BATCHES = 8  # that the steps go through


@dataclass(frozen=True)
class Texts:
    """Sentences as pieces in packed rows."""

    task: Task
    tokenizer: Tokenizer
    pieces: Pieces
    rows: Rows


@dataclass(frozen=True)
class Setting:
    """What every case reads."""

    texts: Texts
    batch_rows: int
    dtype: str
    steps: int  # in a turn


def read_texts(
    folder: Path, tokenizer: Tokenizer, row_length: int, languages: str, limit: int
) -> Texts:
    """The first training sentences of a task folder, in rows."""
    corpus = read_corpus(Data(folder=str(folder), languages=languages, limit=limit), 0)
    return pack_texts(corpus.train, corpus.task, tokenizer, row_length)


def pack_texts(examples: list[Example], task: Task, tokenizer: Tokenizer, row_length: int) -> Texts:
    """Examples in rows of a length, cut to segments that fit."""
    pieces = cut_pieces(examples, task, tokenizer, row_length)
    return Texts(task, tokenizer, pieces, pack(pieces, row_length, 0))


def design_teacher(name: str, texts: Texts, dtype: str) -> Encoder:
    """A teacher of one of the shapes, for the task and the tokenizer of the texts."""
    shape = TEACHERS[name]
    config = EncoderConfig(
        vocabulary_size=texts.tokenizer.vocabulary_size,
        embedding_size=shape["hidden_size"],
        **shape,
    )
    return Encoder(config, texts.task.kind, len(texts.task.labels), dtype)


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


def count_training(planned: PlannedStage, trainable: Params, frozen: Params, batch: Batch) -> float:
    """Operations of a step's forward pass and gradient, the teacher's aside."""
    if not planned.learns_head:
        frozen = leave_head(frozen)
    return 3 * count_forward(trainable, batch) + count_forward(frozen, batch)


def make_feed(
    texts: Texts, batch_rows: int, signals: dict[str, Signal]
) -> list[tuple[Batch, dict[str, np.ndarray]]]:
    """Full batches of the texts in a shuffled order, with their signals."""
    feed = batches.make_batches(
        texts.pieces, texts.rows, signals, batch_rows, 1.0, 0, texts.tokenizer.pad
    )
    full = max(1, len(texts.rows.piece) // batch_rows)
    return list(itertools.islice(feed, min(BATCHES, full)))


def run_steps(
    step: Callable[[], tuple[Counts, Any]], wait: Callable[[Any], Any], steps: int
) -> Action:
    """An action of several steps, waited for at their end, as a run lets the device go ahead."""

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
    """Steps of a stage, or of the first of its sub-stages.

    Args:
        teacher: what the stage learns from.
        params: where to start; None: at random.
        on_the_fly: whether the teacher runs in the steps; otherwise its signals are random numbers
            in the cache's type and shape.
    """
    texts, mesh = setting.texts, make_mesh()
    shape = None if teacher is None else teacher.config
    planned = plan_stages((stage,), "plan", model, shape)[0]
    wanted = wanted_signals(planned.recipe)
    cached = {} if on_the_fly or teacher is None else draw_signals(texts, teacher, wanted)
    feed = make_feed(texts, setting.batch_rows, cached)

    params = params or model.init_params(jax.random.key(0))
    trainable, frozen = split_params({**params, **draw_sides(planned)}, planned.substage.trainable)
    operations = [count_training(planned, trainable, frozen, batch) for batch, _ in feed]
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
    state = init_state(planned.recipe, trainable, frozen, jax.random.key(2))
    state = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    turn = itertools.cycle(zip(feed, operations, strict=True))

    def step() -> tuple[Counts, Any]:
        nonlocal state
        (batch, values), count = next(turn)
        real = int(np.count_nonzero(batch.segment))
        batch = shard_rows(mesh, batch)
        if on_the_fly:
            signals = compute_signals(teacher_params, batch, model=teacher, wanted=wanted)
        else:
            signals = arrange_signals(wanted, dict(shard_rows(mesh, values)))
        state, metrics = train_step(state, batch, signals, np.float32(RATE), recipe=planned.recipe)
        return {"tokens": real, "operations": count}, (state.trainable, metrics)

    return run_steps(step, jax.block_until_ready, setting.steps)


def start_finetuning(setting: Setting, model: Encoder, params: Params | None = None) -> Action:
    """Steps of FINETUNING with the pieces alone that the texts hold, as a run does it."""
    texts = setting.texts
    kept = find_pieces(model, [texts.pieces])
    small, start = trim_model(model, params or model.init_params(jax.random.key(0)), kept)
    narrow = replace(texts, pieces=renumber(texts.pieces, kept))
    return start_training(replace(setting, texts=narrow), small, FINETUNING, params=start)


def draw_signals(texts: Texts, teacher: Encoder, wanted: Wanted) -> dict[str, Signal]:
    """Random numbers in place of a teacher's cached outputs, in float16."""
    generator = np.random.default_rng(0)
    first, pairs = first_pairs(texts.pieces)

    def draw(rows: int, width: int) -> np.ndarray:
        return generator.random((rows, width), np.float32).astype(np.float16)

    signals: dict[str, Signal] = {}
    for name in signal_names(wanted):
        if name.startswith("attention"):
            signals[name] = MapSignal(draw(pairs, teacher.config.heads), first)
        else:
            is_logits = name == "logits"
            width = len(texts.task.labels) if is_logits else teacher.config.hidden_size
            signals[name] = draw(len(texts.pieces.tokens), width)
    return signals


def draw_sides(planned: PlannedStage) -> Params:
    """Random projections from the student's width to the teacher's, where a loss needs them."""
    generator = np.random.default_rng(0)
    sides = {
        str(index): {
            "kernel": generator.normal(0, width**-0.5, (width, target)).astype(np.float32),
            "bias": np.zeros(target, np.float32),
        }
        for index, (width, target) in enumerate(planned.sides)
        if width != target
    }
    return {SIDE: sides} if sides else {}


def start_forward(setting: Setting, teacher: Encoder) -> Action:
    """Batches of a teacher's signals for the cache: logits and its middle hidden states."""
    mesh = make_mesh()
    wanted = Wanted(logits=True, hidden=(math.ceil(7 * teacher.config.layers / 12),))
    params = replicate(mesh, teacher.init_params(jax.random.key(1)))
    turn = itertools.cycle(
        (batch, count_forward(params, batch))
        for batch, _ in make_feed(setting.texts, setting.batch_rows, {})
    )

    def step() -> tuple[Counts, Any]:
        batch, count = next(turn)
        real = int(np.count_nonzero(batch.segment))
        signals = compute_signals(params, shard_rows(mesh, batch), model=teacher, wanted=wanted)
        return {"tokens": real, "operations": count}, signals

    return run_steps(step, jax.block_until_ready, setting.steps)


def list_cases(setting: Setting) -> dict[str, Callable[[], Action]]:
    """What starts each case, by its name."""
    texts, dtype = setting.texts, setting.dtype
    teachers = {name: design_teacher(name, texts, dtype) for name in TEACHERS}
    cases: dict[str, Callable[[], Action]] = {}
    for name, teacher in teachers.items():
        cases[f"fine-tuning, {name}"] = partial(start_finetuning, setting, teacher)
        cases[f"forward for the cache, {name}"] = partial(start_forward, setting, teacher)
        for of, student in STUDENTS.items():
            model = design_student(student, teacher.config, texts.tokenizer, texts.task, dtype)
            start = partial(start_training, setting, model)
            if student.kind == "transformer":
                for way in ("on the fly", "from the cache"):
                    cases[f"hidden states and attention {way}, {name} to {of}"] = partial(
                        start, STATES_AND_MAPS, teacher, on_the_fly=way == "on the fly"
                    )
            cases[f"representation from the cache, {name} to {of}"] = partial(
                start, CACHED, teacher
            )
    # Nothing of a teacher but its logits, whose width is the task's, reaches these.
    teacher = teachers["MiniLM"]
    for of, student in STUDENTS.items():
        model = design_student(student, teacher.config, texts.tokenizer, texts.task, dtype)
        for kind, stage in OTHERS.items():
            learns_from = None if stage.loss == "labels" else teacher
            cases[f"{kind}, {of}"] = partial(start_training, setting, model, stage, learns_from)
    return cases


def run_case(action: Action, product: Action, seconds: float, peak: float | None) -> dict[str, Any]:
    """One case in turns with the matrix product."""
    turns = measure.take_turns({"step": action, measure.MATRIX_PRODUCT: product}, seconds)
    steps = turns["step"]
    result = {
        **measure.describe(steps),
        "matrix_product": measure.describe(turns[measure.MATRIX_PRODUCT]),
        "share_of_matrix_product": measure.compare(
            steps, turns[measure.MATRIX_PRODUCT], "operations"
        ),
    }
    if peak:
        shares = [rate / peak for rate in measure.rates(steps, "operations")]
        result["share_of_peak"] = measure.summarise(shares)
    return result


def print_cases(cases: dict[str, dict[str, Any]]) -> None:
    """A line a case."""
    rows = []
    for name, case in cases.items():
        told = [measure.show(case["tokens_per_second"])]
        told.append(measure.show(case["operations_per_second"], 1, 1e-9))
        told.append(measure.show(case["share_of_matrix_product"], 1, 100))
        told.append(measure.show(case["share_of_peak"], 1, 100) if "share_of_peak" in case else "")
        rows.append((name, *told))
    header = ("case", "real tokens/s", "GFLOP/s", "% of product", "% of peak")
    measure.print_table(header, rows)


def make_parser(description: str) -> argparse.ArgumentParser:
    """The flags of a command that times steps."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, required=True, help="an HF folder with its tokenizer")
    parser.add_argument("--data", type=Path, required=True, help="a task folder")
    parser.add_argument("--languages", default="en", help="of the sentences; empty: all")
    parser.add_argument("--limit", type=int, default=4000, help="sentences, at most")
    parser.add_argument("--row-length", type=int, default=64, help="pieces in a row")
    parser.add_argument("--positions", type=int, default=4096, help="rows times length of a batch")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each case, at least")
    parser.add_argument("--peak", type=float, help="operations a second of the device")
    measure.add_output(parser)
    return parser


def make_setting(flags: argparse.Namespace) -> Setting:
    """The texts of the flags, and the arithmetic of the device."""
    on_gpu = jax.default_backend() == "gpu"
    dtype, steps = ("bfloat16", 10) if on_gpu else ("float32", 1)
    tokenizer = load_tokenizer(str(flags.model))
    texts = read_texts(flags.data, tokenizer, flags.row_length, flags.languages, flags.limit)
    batch_rows = max(1, flags.positions // flags.row_length)
    return Setting(texts, batch_rows, dtype, steps)


def describe_setting(setting: Setting) -> dict[str, Any]:
    """What a result tells of it."""
    texts = setting.texts
    return {
        "dtype": setting.dtype,
        "pieces_a_sentence": len(texts.pieces.tokens) / (len(texts.pieces.start) - 1),
        "real_pieces_a_position": float(np.mean(texts.rows.piece >= 0)),
        "batch_rows": setting.batch_rows,
    }


def main() -> None:
    """Runs the cases whose names hold --only."""
    flags = make_parser(__doc__.split("\n")[0]).parse_args()
    setting = make_setting(flags)
    cases: dict[str, dict[str, Any]] = {}
    product = measure.multiply_in_jax(PRODUCT_SIZES[setting.dtype], setting.dtype)
    for name, start in list_cases(setting).items():
        if flags.only in name:
            print(f"{name} ...", flush=True)
            cases[name] = run_case(start(), product, flags.seconds, flags.peak)
            told = {**describe_setting(setting), "cases": cases}
            measure.write_result(flags.output, flags, told)
    print_cases(cases)


if __name__ == "__main__":
    ask_for_huge_pages()
    main()
