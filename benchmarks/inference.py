"""How fast does a student predict, and how many times as fast as its teacher's fastest runtime?

    python -m benchmarks.inference --student=runs/whole/student --teacher=runs/whole/teacher \\
        --texts=wikiann5/test.tsv --output=inference.json
    python -m benchmarks.inference --shapes --output=shapes.json

The student runs in JAX and, where its folder holds them (see `xdistil export`), in ONNX Runtime
with onnx/model.onnx and onnx/model_quantized.onnx. The teacher (it may be left out) runs in JAX and
in PyTorch: the modules of `transformers` in inference mode, with `sdpa`, its default, and with
eager attention, on all cores of the process and on one (where other work occupies a core, PyTorch's
threads wait for each other, and one alone may be faster). All are timed in the same rounds. The
speed-up of a student's runtime is its rate over that of the teacher's runtime whose median is the
best, round by round.

Measured are, for batches of 32 sentences and for single ones: the forward pass, from padded
subwords in memory to classes or logits; and the whole way from words (or texts) to labels. For ours
the latter is what `xdistil.load` and predict.py call, with sentences packed into rows (one after
another in int8); for PyTorch it is the bare fast tokenizer, the forward pass and a look at the
first subword of every word. A turn is one call, after an untimed one on the same sentences.

Sentences are drawn from a labelled file: those that all tokenizers leave with at most --length
subwords. The default of 32 is the paper's length; 0 takes all that the models read whole. JAX pads
to multiples of 32, since every length is compiled; the others pad to the longest of the batch.

--shapes measures the setting of XtremeDistil's Table 16 on random weights: a BiLSTM of 50/200 over
mBERT's vocabulary of 119,547 against mBERT, 12 layers of 768, forward pass only, all sentences of
32 random subwords, 11 classes.
"""

import argparse
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import harness, step_inputs, timing
from benchmarks.peers import torch_models
from benchmarks.timing import Action, Counts
from xdistil.data.examples import Example, Task, read_file
from xdistil.data.packing import Batch
from xdistil.data.subwords import Cutting, Subwords, tokenize
from xdistil.data.tokenizer import load_tokenizer
from xdistil.deploy.jax_backend import JaxBackend, open_model
from xdistil.deploy.onnx_backend import OnnxBackend
from xdistil.deploy.predictor import load
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bert import Encoder
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.forward import compute_logits
from xdistil.models.types import Model, Params

LENGTH = 32  # subwords of the longest sentence, as in the paper
SIZES = {"batch of 32": 32, "single": 1}
SENTENCES, BATCHES = 256, 64  # of either size: at most so many sentences and batches
ATTENTIONS = ("sdpa", "eager")
STUDENT = "student, JAX"
ONNX_FILES = {"onnx": "onnx/model.onnx", "int8": "onnx/model_quantized.onnx"}  # by backend
VOCABULARY, CLASSES = 119_547, 11  # of mBERT, and of the paper's tagging task


@dataclass(frozen=True)
class Side:
    """The student or the teacher, with the sentences as its tokenizer cuts them."""

    model: Model
    params: Params  # on the device
    subwords: Subwords  # one segment per sentence
    peers: Mapping[str, Any]  # the same model in other runtimes: OnnxModel, or one of transformers


def cut_sentences(opened: JaxBackend, examples: Sequence[Example]) -> Subwords:
    """Segments as long as the model reads them."""
    return tokenize(examples, opened.task, opened.tokenizer, Cutting(opened.max_length))


def find_short(subwords: Subwords, length: int) -> set[int]:
    """Examples in one segment of at most `length` subwords; 0: of any number."""
    lengths = np.diff(subwords.start)
    short = lengths <= (length or lengths.max())
    segments = np.bincount(subwords.example)
    return {example for example in subwords.example[short].tolist() if segments[example] == 1}


def choose_examples(path: Path, models: Sequence[JaxBackend], length: int) -> list[Example]:
    """Sentences of a file, drawn with seed 0, that are short for all tokenizers: full batches."""
    examples = read_file(path, models[0].task, models[0].scheme, models[0].repair)
    # A sample of the file is enough to draw from, and far quicker to tokenise.
    order = np.random.default_rng(0).permutation(len(examples))[: 20 * SENTENCES]
    sample = [examples[index] for index in order]
    short = set.intersection(*(find_short(cut_sentences(each, sample), length) for each in models))
    if len(short) < max(SIZES.values()):
        raise SystemExit(f"{path} has too few sentences of at most {length} subwords.")
    return [sample[index] for index in sorted(short)[:SENTENCES]]


def split_evenly(count: int, size: int) -> list[range]:
    """The full batches of `size` among `count` sentences, at most BATCHES."""
    return [range(first, first + size) for first in range(0, count - size + 1, size)][:BATCHES]


def cycle_through(
    name: str, answer: Callable[[Any], object], batches: Iterable[Any], size: int
) -> dict[str, Action]:
    """An action that answers the next batch; on all cores and on one in PyTorch."""
    # Every batch twice: the first call is not timed.
    turn = itertools.cycle([batch for batch in batches for _ in range(2)])

    def act() -> Counts:
        answer(next(turn))
        return {"sentences": size}

    return torch_models.on_threads(name, act) if "PyTorch" in name else {name: act}


def pad_batches(side: Side, size: int, multiple: int = 1) -> list[Batch]:
    """Sentences as batches, each as long as its longest or the next multiple."""
    padding = side.model.config.padding_id
    groups = split_evenly(len(side.subwords.start) - 1, size)
    return [
        step_inputs.pad_segments(side.subwords, each, padding, multiple=multiple) for each in groups
    ]


def list_forward(name: str, side: Side, size: int) -> dict[str, Action]:
    """The forward pass of one side in all of its runtimes."""

    def run_in_jax(batch: Batch) -> None:
        np.asarray(compute_logits(side.params, batch, model=side.model))

    def run_in_onnx(model: OnnxBackend, arrays: tuple[np.ndarray, ...]) -> None:
        model.run(*arrays)

    def run_in_torch(model: Any, inputs: dict[str, Any]) -> None:
        import torch

        with torch.inference_mode():
            model(**inputs).logits.argmax(-1).cpu()

    in_jax = map(jax.device_put, pad_batches(side, size, LENGTH))
    actions = cycle_through(f"{name}, JAX", run_in_jax, in_jax, size)
    for runtime, model in side.peers.items():
        batches = pad_batches(side, size)
        inputs: list[Any] = [(batch.tokens, batch.segment, batch.token_type) for batch in batches]
        answer: Callable[[Any], object] = partial(run_in_onnx, model)
        if not isinstance(model, OnnxBackend):
            inputs = [torch_models.to_torch(batch, model.device) for batch in batches]
            answer = partial(run_in_torch, model)
        actions |= cycle_through(f"{name}, {runtime}", answer, inputs, size)
    return actions


def label_in_torch(model: Any, folder: Path, task: Task) -> Callable[[Any], object]:
    """What labels words or texts with the bare tokenizer and PyTorch."""
    import torch

    tagging = task.kind == "tagging"
    tokenizer = load_tokenizer(str(folder), words=tagging)
    tokenizer.backend.enable_padding(pad_id=tokenizer.pad)

    def answer(inputs: list[tuple[str, ...]]) -> object:
        # The tokenizer takes words as a list, a text as a string, a pair of texts as a tuple.
        texts = [list(each) if tagging else each[0] if len(each) == 1 else each for each in inputs]
        encodings = tokenizer.backend.encode_batch(texts, is_pretokenized=tagging)
        fields = {"input_ids": "ids", "attention_mask": "attention_mask"}
        arguments = {
            name: torch.tensor([getattr(each, field) for each in encodings]).to(model.device)
            for name, field in {**fields, "token_type_ids": "type_ids"}.items()
        }
        with torch.inference_mode():
            classes = model(**arguments).logits.argmax(-1).tolist()
        if not tagging:
            return [task.labels[index] for index in classes]
        return [
            {word: task.labels[row[at]] for at, word in reversed(list(enumerate(each.word_ids)))}
            for each, row in zip(encodings, classes, strict=True)
        ]

    return answer


def list_labelling(
    flags: argparse.Namespace, student: JaxBackend, teacher: Side | None
) -> dict[str, Callable[[Any], object]]:
    """What labels a batch of words or texts, by the name of the candidate."""

    def tokenise(inputs: list[tuple[str, ...]]) -> object:
        return cut_sentences(student, [Example(each, None, "und") for each in inputs])

    answers: dict[str, Callable[[Any], object]] = {"student, tokenisation alone": tokenise}
    answers[STUDENT] = load(str(flags.student)).predictor.predict
    for backend in find_onnx(flags.student):
        opened = load(str(flags.student), backend, threads=flags.threads)
        answers[f"student, {backend}"] = opened.predictor.predict
    if teacher:
        answers["teacher, JAX"] = load(str(flags.teacher)).predictor.predict
        for runtime, model in teacher.peers.items():
            answers[f"teacher, {runtime}"] = label_in_torch(model, flags.teacher, student.task)
    return answers


def find_onnx(folder: Path) -> dict[str, Path]:
    """The ONNX files of a model folder, by backend."""
    return {each: folder / name for each, name in ONNX_FILES.items() if (folder / name).exists()}


def compare(start: Callable[[], dict[str, Action]], size: int, seconds: float) -> dict[str, Any]:
    """All candidates in rounds, and the speed-up of the student over the fastest teacher."""
    actions = {**start(), timing.MATRIX_PRODUCT: timing.multiply_in_jax()}
    if any("PyTorch" in name for name in actions):
        product = torch_models.multiply_in_torch(device=torch_models.start_torch())
        actions[timing.TORCH_MATRIX_PRODUCT] = product
    # So many calls go through all batches: every length is compiled.
    warm_up = 2 * min(BATCHES, SENTENCES // size)
    turns = timing.time_rounds(actions, seconds, warm_up, turn_seconds=0, untimed=1)
    described = timing.describe_comparison(turns, STUDENT, "sentences")
    result: dict[str, Any] = {"candidates": described}
    teachers = [name for name in turns if name.startswith("teacher")]
    if teachers:
        fastest = max(teachers, key=lambda n: described[n]["sentences_per_second"]["median"])
        result["fastest_teacher"] = fastest
        result["speed_up"] = {
            name: timing.compare(turns[name], turns[fastest], "sentences")
            for name in turns
            if name.startswith("student") and "alone" not in name
        }
    return result


def list_shapes(device: str) -> dict[str, Side]:
    """The paper's shapes on random weights."""
    import transformers

    lengths = np.full(SENTENCES, LENGTH)
    subwords = step_inputs.draw_sentences(np.random.default_rng(0), lengths, VOCABULARY, CLASSES)
    mbert = Encoder(EncoderConfig(vocabulary_size=VOCABULARY), "tagging", CLASSES)
    bilstm = BiLSTM(BiLSTMConfig(VOCABULARY, 50, 200, mbert.config.hidden_size), CLASSES)
    peers = {}
    for attention in ATTENTIONS:
        config = transformers.BertConfig(vocab_size=VOCABULARY)  # BERT-base otherwise
        config.num_labels = CLASSES
        model: Any = transformers.BertForTokenClassification(config).eval()
        model.set_attn_implementation(attention)
        peers[f"PyTorch {attention}"] = model.to(device)
    return {
        "student": Side(bilstm, bilstm.init_params(jax.random.key(0)), subwords, {}),
        "teacher": Side(mbert, mbert.init_params(jax.random.key(0)), subwords, peers),
    }


def open_sides(
    flags: argparse.Namespace, models: Sequence[JaxBackend], examples: Sequence[Example]
) -> dict[str, Side]:
    """Student and, where there is one, teacher."""
    files = find_onnx(flags.student)
    peers: list[dict[str, Any]] = [
        {backend: OnnxBackend(path, flags.threads) for backend, path in files.items()}
    ]
    if flags.teacher:
        device, kind = torch_models.start_torch(), models[0].task.kind
        opened = {
            name: torch_models.open_in_torch(flags.teacher, kind, name) for name in ATTENTIONS
        }
        peers.append({f"PyTorch {name}": x.to(device).eval() for name, x in opened.items()})
    return {
        name: Side(model.model, model.params, cut_sentences(model, examples), others)
        for name, model, others in zip(("student", "teacher"), models, peers, strict=False)
    }


def list_cases(flags: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """The comparisons of the flags, by their names."""
    answers: dict[str, Callable[[Any], object]] = {}
    inputs: list[tuple[str, ...]] = []
    if flags.shapes:
        sides = list_shapes(torch_models.start_torch())
    else:
        models = [open_model(str(each)) for each in (flags.student, flags.teacher) if each]
        examples = choose_examples(flags.texts, models, flags.length)
        inputs = [example.inputs for example in examples]
        sides = open_sides(flags, models, examples)
        answers = list_labelling(flags, models[0], sides.get("teacher"))

    def start_forward(size: int) -> dict[str, Action]:
        found = [list_forward(name, side, size) for name, side in sides.items()]
        return {name: action for actions in found for name, action in actions.items()}

    def start_labelling(size: int) -> dict[str, Action]:
        batches = [[inputs[i] for i in part] for part in split_evenly(len(inputs), size)]
        found = [cycle_through(*each, batches, size) for each in answers.items()]
        return {name: action for actions in found for name, action in actions.items()}

    starts = {"forward": start_forward, **({"words to labels": start_labelling} if answers else {})}
    return {
        f"{name}, {setting}": partial(compare, partial(start, size), size, flags.seconds)
        for setting, size in SIZES.items()
        for name, start in starts.items()
    }


def main() -> None:
    """Measures the folders, or the shapes."""
    parser = harness.make_parser(__doc__)
    parser.add_argument("--student", type=Path, help="a model folder with a head")
    parser.add_argument("--teacher", type=Path, help="a model folder with a head; needs PyTorch")
    parser.add_argument("--texts", type=Path, help="a labelled file")
    parser.add_argument("--length", type=int, default=LENGTH, help="subwords at most; 0: any")
    parser.add_argument("--threads", type=int, default=0, help="of ONNX Runtime; 0: as it chooses")
    parser.add_argument("--shapes", action="store_true", help="the paper's shapes instead")
    harness.add_case_flags(parser, seconds=20.0)
    flags = parser.parse_args()
    if flags.shapes == bool(flags.student) or flags.shapes == bool(flags.texts):
        parser.error("expected --shapes, or --student and --texts.")
    settings = {"dtype": "float32", "length": flags.length}
    for name, case in harness.run_cases(list_cases(flags), flags, settings).items():
        timing.print_comparison(name, case["candidates"], STUDENT, "sentences")
        for runtime, ratio in case.get("speed_up", {}).items():
            print(f"{runtime}: {harness.show(ratio, 2)} x {case['fastest_teacher']}")


if __name__ == "__main__":
    main()
