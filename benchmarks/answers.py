"""How long does an answer take in JAX, in ONNX Runtime, and in int8?

    python benchmarks/answers.py --model=runs/whole/student --texts=wikiann5/test.tsv \\
        --teacher=runs/whole/teacher --output=answers.json

The model's folder holds onnx/model.onnx, and where there is one onnx/model_quantized.onnx (see
`xdistil export`). All take turns on the same sentences, drawn anew for every round: one sentence,
and 32 at once. "Whole" goes from words to labels, tokenisation included; "forward" from padded
pieces, in memory already, to logits. JAX's forward reads rows of a few fixed lengths, for each is
compiled; the others are padded to the longest of the batch. With --teacher an HF folder in PyTorch
transformers takes its turns too, with the fast tokenizer of its own. "Whole" in int8 is one
sentence after another, as `xdistil.load` has it. What is told is the median and the 95th percentile
of a call's milliseconds, and the median of how many times faster than JAX, and than the teacher, it
was in the same round. Every call is made twice, and the second is timed. JAX runs on all cores that
the process sees.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import measure
import numpy as np

from xdistil.data.examples import Example, read_file
from xdistil.deploy.jax_backend import JaxModel, open_model
from xdistil.deploy.onnx_backend import OnnxModel, find_places
from xdistil.deploy.onnx_export import FOLDER, QUANTIZED, WHOLE, cut
from xdistil.deploy.predictor import Labeller, load
from xdistil.models.forward import predict_batch

_WARM_UP = 20  # rounds, in which JAX compiles for most lengths
_LENGTHS = 32  # JAX's rows have multiples of it
_RIVALS = {"JAX": "faster_than_jax", "teacher in PyTorch": "faster_than_teacher"}

Call = Callable[[], object]


def list_calls(
    opened: JaxModel,
    labellers: dict[str, Labeller],
    models: dict[str, OnnxModel],
    chosen: list[Example],
) -> dict[str, Call]:
    """What is timed in one round: every contestant on the same sentences."""
    inputs = [example.inputs for example in chosen]
    pieces = cut(opened, chosen)
    whole = np.unique(pieces.example, return_index=True)[1]
    places, there = find_places(pieces, whole)
    length = -(-there.shape[1] // _LENGTHS) * _LENGTHS
    batch, _ = measure.pad_segments(pieces, whole, length, opened.tokenizer.pad)
    tokens, token_type = pieces.tokens[places], pieces.token_type[places]

    def run_jax() -> object:
        return jax.block_until_ready(predict_batch(opened.params, batch, model=opened.model))

    calls: dict[str, Call] = {
        "tokenisation alone": lambda: cut(opened, chosen),
        "forward, JAX": run_jax,
    }
    for name, labeller in labellers.items():
        calls[f"whole, {name}"] = partial(labeller.answer, inputs)
    for name, model in models.items():
        calls[f"forward, {name}"] = partial(model.run, tokens, there, token_type)
    return calls


def open_torch(folder: Path, threads: int) -> Callable[[list[Example]], dict[str, Call]]:
    """An HF folder for tagging in PyTorch transformers: the calls for some sentences."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    torch.set_num_threads(threads)
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    names = model.config.id2label

    def prepare(chosen: list[Example]) -> dict[str, Call]:
        sentences = [list(example.inputs) for example in chosen]

        def read():
            return tokenizer(
                sentences,
                is_split_into_words=True,
                padding=True,
                truncation=True,
                max_length=model.config.max_position_embeddings,
                return_tensors="pt",
            )

        prepared = read()

        def forward(encoded) -> torch.Tensor:
            with torch.inference_mode():
                return model(**encoded).logits

        def label() -> object:
            encoded = read()
            classes = forward(encoded).argmax(dim=-1).tolist()
            return [
                {word: names[classes[row][at]] for at, word in reversed(list(enumerate(words)))}
                for row, words in enumerate(map(encoded.word_ids, range(len(sentences))))
            ]

        return {
            "whole, teacher in PyTorch": label,
            "forward, teacher in PyTorch": partial(forward, prepared),
        }

    return prepare


def main() -> None:
    """Measures one model."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="a folder with onnx/ in it")
    parser.add_argument("--texts", type=Path, required=True, help="a labelled file")
    parser.add_argument("--teacher", type=Path, help="an HF folder for tagging, run in PyTorch")
    parser.add_argument("--threads", type=int, default=0, help="of ONNX Runtime; 0: as it chooses")
    parser.add_argument("--rounds", type=int, default=100, help="of each of the two sizes")
    measure.add_output(parser)
    flags = parser.parse_args()
    opened = open_model(str(flags.model))
    examples = read_file(flags.texts, opened.task, opened.scheme, opened.repair)
    files = {"ONNX": WHOLE, "ONNX int8": QUANTIZED}
    models = {
        name: OnnxModel(flags.model / FOLDER / file, flags.threads)
        for name, file in files.items()
        if (flags.model / FOLDER / file).exists()
    }
    backends = {"JAX": "jax", "ONNX": "onnx", "ONNX int8": "int8"}
    labellers = {
        name: load(str(flags.model), backend, threads=flags.threads).labeller
        for name, backend in backends.items()
        if name == "JAX" or name in models
    }
    threads = flags.threads or measure.count_cores()
    teacher = open_torch(flags.teacher, threads) if flags.teacher else None
    generator = np.random.default_rng(0)
    result: dict[str, dict] = {}
    for size in (1, 32):
        seconds: dict[str, list[float]] = {}
        for turn in range(-_WARM_UP, flags.rounds):
            chosen = [examples[i] for i in generator.choice(len(examples), size)]
            calls = list_calls(opened, labellers, models, chosen)
            if teacher:
                calls |= teacher(chosen)
            for name, call in calls.items():
                call()  # not timed: threads of the one before may still wait for work, on all cores
                begin = time.perf_counter()
                call()
                if turn >= 0:  # compiled and warm
                    seconds.setdefault(name, []).append(time.perf_counter() - begin)
        result[str(size)] = {name: _describe(name, seconds) for name in seconds}
    rows = [
        (
            f"{size}: {name}",
            *(f"{1000 * told[key]:.2f}" for key in ("p50", "p95")),
            *(f"{told[key]:.2f}" if told[key] else "" for key in _RIVALS.values()),
        )
        for size, contestants in result.items()
        for name, told in contestants.items()
    ]
    told = {"threads": threads, "rounds": flags.rounds, "sentences": result}
    measure.write_result(flags.output, flags, told)
    header = (flags.model.name, "p50 ms", "p95 ms", *(f"times {name}" for name in _RIVALS))
    measure.print_table(header, rows)


def _describe(name: str, seconds: dict[str, list[float]]) -> dict[str, float | None]:
    own, kind = np.array(seconds[name]), name.partition(",")[0]
    told: dict[str, float | None] = {
        "p50": float(np.percentile(own, 50)),
        "p95": float(np.percentile(own, 95)),
    }
    for rival, key in _RIVALS.items():
        its = seconds.get(f"{kind}, {rival}")
        told[key] = float(np.median(np.array(its) / own)) if its else None
    return told


if __name__ == "__main__":
    main()
