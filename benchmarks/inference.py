"""How many times faster does the student answer than the fastest runtime of its teacher?

    python benchmarks/inference.py --teacher=runs/wikiann5/teacher \\
        --student=runs/wikiann5/student --data=wikiann5 --output=inference.json
    python benchmarks/inference.py --shapes --output=shapes.json

The student runs in JAX; the teacher in JAX and in PyTorch: the modules of `transformers` in
inference mode, with `sdpa`, its default, and with eager attention, on all cores of the process and
on one (where other work holds a core, PyTorch's threads wait for each other, and one alone may be
faster). All take turns in one run. The speed-up is the student's against that teacher whose median
is the fastest: its seconds over the student's, round by round.

What is timed, at 32 sentences at once and one at a time: the forward pass up to the class of every
piece; and with tokenisation the whole way from words (or texts) to labels. Ours is then what
predict.py calls, sentences packed into rows; PyTorch's is the bare fast tokenizer, the forward
pass and a look at the first piece of every word.

Sentences are those of the task folder's test file that both tokenizers leave with at most 32
pieces, the paper's length. JAX pads them to 32, since every length would be compiled; PyTorch pads
to the longest of the batch, and a single sentence not at all.

--shapes measures the setting of XtremeDistil's Table 16 on random weights: a BiLSTM of 50/200 over
mBERT's vocabulary of 119,547 against mBERT, 12 layers of 768, forward pass only, all sentences of
32 pieces drawn at random, 11 classes.
"""

import argparse
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import measure
import numpy as np
from measure import Action, Counts

from xdistil.data.examples import Example, Task, read_file
from xdistil.data.subwords import Pieces, cut_pieces
from xdistil.deploy.jax_backend import JaxModel, open_model
from xdistil.deploy.predictor import load
from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.forward import predict_batch
from xdistil.models.hf.folder import Model
from xdistil.models.types import Params

LENGTH = 32  # pieces of the longest sentence, as in the paper
SIZES = {"32 at once": 32, "single": 1}
BATCHES = 8  # that the rounds go through
ATTENTIONS = ("sdpa", "eager")
STUDENT = "student, JAX"
VOCABULARY, CLASSES = 119_547, 11  # of mBERT, and of the paper's tagging task


@dataclass(frozen=True)
class Contestant:
    """A model in JAX with the sentences as its tokenizer cuts them."""

    model: Model
    params: Params  # on the device
    pieces: Pieces  # one segment a sentence


def cut_sentences(opened: JaxModel, examples: Sequence[Example]) -> Pieces:
    """Segments twice as long as wanted at most, so that what is too long shows."""
    return cut_pieces(examples, opened.task, opened.tokenizer, 2 * LENGTH)


def find_short(pieces: Pieces) -> set[int]:
    """Examples in one segment of at most LENGTH pieces."""
    short = np.diff(pieces.start) <= LENGTH
    segments = np.bincount(pieces.example)
    return {example for example in pieces.example[short].tolist() if segments[example] == 1}


def choose_examples(folder: Path, models: Sequence[JaxModel]) -> list[Example]:
    """Test sentences, drawn with seed 0, that are short for all tokenizers: full batches."""
    examples = read_file(folder / "test.tsv", models[0].task)
    largest = max(SIZES.values())
    # A sample of the file is enough to draw from, and far quicker to cut.
    order = np.random.default_rng(0).permutation(len(examples))[: 20 * BATCHES * largest]
    sample = [examples[index] for index in order]
    short = set.intersection(*(find_short(cut_sentences(each, sample)) for each in models))
    if len(short) < largest:
        raise SystemExit(f"{folder} has too few test sentences of at most {LENGTH} pieces.")
    return [sample[index] for index in sorted(short)[: BATCHES * largest]]


def draw_sentences(count: int) -> Pieces:
    """Sentences of LENGTH random pieces."""
    tokens = np.random.default_rng(0).integers(1, VOCABULARY, count * LENGTH, np.int32)
    start = np.arange(count + 1, dtype=np.int64) * LENGTH
    zeros = np.zeros(len(tokens), np.int32)
    mask = np.ones(len(tokens), bool)
    example = np.arange(count, dtype=np.int32)
    return Pieces(tokens, zeros.astype(np.int8), zeros, mask, zeros, start, example)


def split_evenly(count: int, size: int) -> list[range]:
    """The full batches of `size` among `count` sentences, at most BATCHES."""
    return [range(first, first + size) for first in range(0, count - size + 1, size)][:BATCHES]


def answer_in_turn(answer: Callable[[Any], Any], batches: Iterable[Any], size: int) -> Action:
    """An action: the next batch answered."""
    turn = itertools.cycle(batches)

    def act() -> Counts:
        answer(next(turn))
        return {"sentences": size}

    return act


def run_in_jax(contestant: Contestant, size: int) -> Action:
    """The forward pass in JAX, one sentence a row of LENGTH."""
    pieces, padding_id = contestant.pieces, contestant.model.config.padding_id
    batches = [
        jax.device_put(measure.pad_segments(pieces, segments, LENGTH, padding_id)[0])
        for segments in split_evenly(len(pieces.start) - 1, size)
    ]

    def answer(batch: Any) -> None:
        np.asarray(predict_batch(contestant.params, batch, model=contestant.model))

    return answer_in_turn(answer, batches, size)


def run_in_torch(model: Any, pieces: Pieces, padding_id: int, size: int) -> Action:
    """The forward pass in PyTorch, rows as long as the longest of the batch."""
    import torch

    batches = []
    for segments in split_evenly(len(pieces.start) - 1, size):
        longest = int(np.diff(pieces.start)[list(segments)].max())
        batch, _ = measure.pad_segments(pieces, segments, longest, padding_id)
        batches.append(
            {
                "input_ids": torch.from_numpy(batch.tokens).long().to(model.device),
                "attention_mask": torch.from_numpy(batch.segment).long().to(model.device),
                "token_type_ids": torch.from_numpy(batch.token_type).long().to(model.device),
            }
        )

    def answer(inputs: Any) -> None:
        with torch.inference_mode():
            model(**inputs).logits.argmax(-1).cpu()

    return answer_in_turn(answer, batches, size)


def label_in_jax(folder: Path, examples: Sequence[Example], size: int) -> Action:
    """From words or texts to labels as predict.py goes."""
    inputs = [example.inputs for example in examples]
    batches = [[inputs[index] for index in part] for part in split_evenly(len(inputs), size)]
    return answer_in_turn(load(str(folder)).labeller.answer, batches, size)


def label_in_torch(model: Any, opened: JaxModel, examples: Sequence[Example], size: int) -> Action:
    """From words or texts to labels with the bare tokenizer and PyTorch."""
    import torch

    tokenizer, task = opened.tokenizer, opened.task
    tagging = task.kind == "tagging"
    # The tokenizer takes words as a list, a text as a string, a pair of texts as a tuple.
    texts: list[Any] = [example.inputs for example in examples]
    if tagging:
        texts = [list(words) for words in texts]
    elif len(examples[0].inputs) == 1:
        texts = [text for (text,) in texts]
    batches = [[texts[index] for index in part] for part in split_evenly(len(texts), size)]

    def answer(batch: list[Any]) -> list[Any]:
        encodings = tokenizer.backend.encode_batch(batch, is_pretokenized=tagging)
        length = max(len(encoding.ids) for encoding in encodings)
        shape = (len(batch), length)
        tokens = np.full(shape, tokenizer.pad, np.int64)
        types, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, encoding in enumerate(encodings):
            count = len(encoding.ids)
            tokens[row, :count], types[row, :count] = encoding.ids, encoding.type_ids
            mask[row, :count] = 1
        with torch.inference_mode():
            logits = model(
                input_ids=torch.from_numpy(tokens).to(model.device),
                attention_mask=torch.from_numpy(mask).to(model.device),
                token_type_ids=torch.from_numpy(types).to(model.device),
            ).logits
            classes = logits.argmax(-1).cpu().tolist()
        if not tagging:
            return [task.labels[index] for index in classes]
        return [
            name_words(encoding.word_ids, row, len(words), task)
            for encoding, row, words in zip(encodings, classes, batch, strict=True)
        ]

    return answer_in_turn(answer, batches, size)


def name_words(word_ids: list[int | None], classes: list[int], count: int, task: Task) -> list[str]:
    """The tag of each word, from its first piece."""
    tags: list[str | None] = [None] * count
    for position, word in enumerate(word_ids):
        if word is not None and tags[word] is None:
            tags[word] = task.labels[classes[position]]
    return [tag or "O" for tag in tags]


def open_in_torch(folder: Path, kind: str, attention: str) -> Any:
    """The folder's model with its head in `transformers`."""
    import torch
    import transformers

    kinds = {
        "tagging": transformers.AutoModelForTokenClassification,
        "classification": transformers.AutoModelForSequenceClassification,
    }
    return kinds[kind].from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)


def build_mbert(attention: str) -> Any:
    """A random model of mBERT's shape in `transformers`, whose defaults are BERT-base's."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=VOCABULARY, num_labels=CLASSES, attn_implementation=attention
    )
    return transformers.BertForTokenClassification(config)


def run_contest(
    contestants: dict[str, Action], products: dict[str, Action], seconds: float
) -> dict[str, Any]:
    """All in turns; the student's speed-up against every teacher, and against the fastest."""
    turns = measure.take_turns({**contestants, **products}, seconds, warm_up=BATCHES)
    described = {name: measure.describe(turns[name]) for name in turns}
    for name in contestants:
        described[name]["student_over_it"] = measure.compare(
            turns[STUDENT], turns[name], "sentences"
        )
    teachers = [name for name in contestants if name != STUDENT]
    fastest = max(teachers, key=lambda n: described[n]["sentences_per_second"]["median"])
    return {
        "fastest_teacher": fastest,
        "speed_up": described[fastest]["student_over_it"],
        "contestants": described,
    }


def measure_folders(
    flags: argparse.Namespace, products: dict[str, Action], device: str
) -> dict[str, Any]:
    """Both folders on the sentences of the task folder."""
    models = [open_model(str(folder)) for folder in (flags.teacher, flags.student)]
    examples = choose_examples(flags.data, models)
    teacher, student = (
        Contestant(opened.model, opened.params, cut_sentences(opened, examples))
        for opened in models
    )
    task = models[0].task
    in_torch = {
        name: open_in_torch(flags.teacher, task.kind, name).to(device).eval() for name in ATTENTIONS
    }
    padding_id = teacher.model.config.padding_id
    contests = {}
    for setting, size in SIZES.items():
        contests[f"forward, {setting}"] = {
            "teacher, JAX": run_in_jax(teacher, size),
            STUDENT: run_in_jax(student, size),
        }
        contests[f"with tokenisation, {setting}"] = {
            "teacher, JAX": label_in_jax(flags.teacher, examples, size),
            STUDENT: label_in_jax(flags.student, examples, size),
        }
        for attention, model in in_torch.items():
            name = f"teacher, PyTorch {attention}"
            forward = run_in_torch(model, teacher.pieces, padding_id, size)
            contests[f"forward, {setting}"] |= measure.on_threads(name, forward)
            label = label_in_torch(model, models[0], examples, size)
            contests[f"with tokenisation, {setting}"] |= measure.on_threads(name, label)
    return {
        name: run_contest(contestants, products, flags.seconds)
        for name, contestants in contests.items()
    }


def measure_shapes(
    flags: argparse.Namespace, products: dict[str, Action], device: str
) -> dict[str, Any]:
    """The paper's shapes on random weights."""
    pieces = draw_sentences(BATCHES * max(SIZES.values()))
    mbert = Encoder(EncoderConfig(vocabulary_size=VOCABULARY), "tagging", CLASSES)
    bilstm = BiLSTM(BiLSTMConfig(VOCABULARY, 50, 200, mbert.config.hidden_size), CLASSES)
    teacher, student = (
        Contestant(model, model.init_params(jax.random.key(0)), pieces) for model in (mbert, bilstm)
    )
    in_torch = {name: build_mbert(name).to(device).eval() for name in ATTENTIONS}
    padding_id = mbert.config.padding_id
    contests = {}
    for setting, size in SIZES.items():
        contests[f"forward, {setting}"] = {
            "teacher, JAX": run_in_jax(teacher, size),
            STUDENT: run_in_jax(student, size),
        }
        for attention, model in in_torch.items():
            peer = run_in_torch(model, pieces, padding_id, size)
            contests[f"forward, {setting}"] |= measure.on_threads(
                f"teacher, PyTorch {attention}", peer
            )
    return {
        name: run_contest(contestants, products, flags.seconds)
        for name, contestants in contests.items()
    }


def print_contest(title: str, contest: dict[str, Any]) -> None:
    """A line a contestant."""
    rows = []
    for name, told in contest["contestants"].items():
        milliseconds = measure.show(told["seconds"], 2, 1000)
        if "student_over_it" in told:
            sentences = measure.show(told["sentences_per_second"])
            ratio = measure.show(told["student_over_it"], 2)
            fastest = "fastest teacher" if name == contest["fastest_teacher"] else ""
            rows.append((name, milliseconds, sentences, ratio, fastest))
        else:
            rate = measure.show(told["operations_per_second"], 1, 1e-9)
            rows.append((name, milliseconds, "", "", f"{rate} GFLOP/s"))
    measure.print_table((title, "milliseconds", "sentences/s", "student over it", ""), rows)


def main() -> None:
    """Measures the folders, or the shapes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--teacher", type=Path, help="a model folder with a head")
    parser.add_argument("--student", type=Path, help="a model folder with a head")
    parser.add_argument("--data", type=Path, help="a task folder")
    parser.add_argument("--shapes", action="store_true", help="the paper's shapes instead")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each contest, at least")
    measure.add_output(parser)
    flags = parser.parse_args()
    folders = (flags.teacher, flags.student, flags.data)
    if flags.shapes == any(folders) or not (flags.shapes or all(folders)):
        parser.error("expected --shapes, or --teacher, --student and --data.")
    device = measure.start_torch()
    products = {
        measure.MATRIX_PRODUCT: measure.multiply_in_jax(),
        measure.TORCH_MATRIX_PRODUCT: measure.multiply_in_torch(device=device),
    }
    contests = (measure_shapes if flags.shapes else measure_folders)(flags, products, device)
    result = {"dtype": "float32", "length": LENGTH, "contests": contests}
    measure.write_result(flags.output, flags, result)
    for name, contest in contests.items():
        print_contest(name, contest)


if __name__ == "__main__":
    main()
