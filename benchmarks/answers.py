"""How long does an answer take in JAX, in ONNX Runtime, and in int8?

    python benchmarks/answers.py --model=runs/whole/student --texts=wikiann5/test.tsv \\
        --teacher=runs/whole/teacher --output=answers.json

The model's folder holds onnx/model.onnx, and where there is one onnx/model_quantized.onnx (see
`xdistil export`). All take turns on the same sentences, drawn anew for every round: one sentence,
and 32 at once. "Whole" goes from words to labels, tokenisation included; "forward" from padded
pieces, in memory already, to logits. JAX's forward reads rows of a few fixed lengths, for each is
compiled; the others are padded to the longest of the batch. With --teacher its forward pass in
PyTorch transformers takes its turn too. What is told is the median and the 95th percentile of a
call's milliseconds, and the median of how many times faster than JAX it was in the same round.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import jax
import measure
import numpy as np

from xdistil.data.examples import Example, read_file
from xdistil.data.pieces import Pieces
from xdistil.models.forward import predict_batch
from xdistil.results.export import FOLDER, QUANTIZED, WHOLE, cut
from xdistil.results.jax_model import JaxModel, open_model
from xdistil.results.onnx_model import OnnxModel, find_places
from xdistil.results.serving import Labeller, load

_LENGTHS = 32  # JAX's rows have multiples of it

Call = Callable[[], object]


def list_calls(
    opened: JaxModel, labeller: Labeller, models: dict[str, OnnxModel], chosen: list[Example]
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

    def label(model: OnnxModel) -> object:
        return model.label(cut(opened, chosen), chosen, opened.task)

    calls: dict[str, Call] = {
        "tokenisation alone": lambda: cut(opened, chosen),
        "whole, JAX": lambda: labeller.answer(inputs),
        "forward, JAX": run_jax,
    }
    for name, model in models.items():
        calls[f"whole, {name}"] = lambda model=model: label(model)
        calls[f"forward, {name}"] = lambda model=model: model.run(tokens, there, token_type)
    return calls


def open_torch(folder: Path) -> Callable[[Pieces], Call]:
    """A forward pass of an HF folder for tagging in PyTorch transformers."""
    import torch
    from transformers import AutoModelForTokenClassification

    model = AutoModelForTokenClassification.from_pretrained(folder).eval()

    def prepare(pieces: Pieces) -> Call:
        whole = np.unique(pieces.example, return_index=True)[1]
        places, there = find_places(pieces, whole)
        tokens = torch.tensor(pieces.tokens[places].astype(np.int64))
        mask = torch.tensor(there.astype(np.int64))

        def run() -> object:
            with torch.inference_mode():
                return model(input_ids=tokens, attention_mask=mask).logits

        return run

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
    labeller = load(str(flags.model)).labeller
    examples = read_file(flags.texts, opened.task, opened.scheme, opened.repair)
    files = {"ONNX": WHOLE, "ONNX int8": QUANTIZED}
    models = {
        name: OnnxModel(flags.model / FOLDER / file, flags.threads)
        for name, file in files.items()
        if (flags.model / FOLDER / file).exists()
    }
    teacher = (open_model(str(flags.teacher)), open_torch(flags.teacher)) if flags.teacher else ()
    generator = np.random.default_rng(0)
    result: dict[str, dict] = {}
    for size in (1, 32):
        seconds: dict[str, list[float]] = {}
        for turn in range(-5, flags.rounds):
            chosen = [examples[i] for i in generator.choice(len(examples), size)]
            calls = list_calls(opened, labeller, models, chosen)
            if teacher:
                calls["forward, teacher in PyTorch"] = teacher[1](cut(teacher[0], chosen))
            for name, call in calls.items():
                begin = time.perf_counter()
                call()
                if turn >= 0:  # compiled and warm
                    seconds.setdefault(name, []).append(time.perf_counter() - begin)
        result[str(size)] = {name: _describe(name, seconds) for name in seconds}
    rows = [
        (
            f"{size}: {name}",
            *(f"{1000 * told[key]:.2f}" for key in ("p50", "p95")),
            f"{told['faster_than_jax']:.2f}" if told["faster_than_jax"] else "",
        )
        for size, contestants in result.items()
        for name, told in contestants.items()
    ]
    threads = {"threads": flags.threads or measure.count_cores(), "rounds": flags.rounds}
    measure.write_result(flags.output, flags, {**threads, "sentences": result})
    measure.print_table((flags.model.name, "p50 ms", "p95 ms", "times JAX"), rows)


def _describe(name: str, seconds: dict[str, list[float]]) -> dict[str, float | None]:
    own, kind = np.array(seconds[name]), name.partition(",")[0]
    rival = seconds.get(f"{kind}, JAX")
    return {
        "p50": float(np.percentile(own, 50)),
        "p95": float(np.percentile(own, 95)),
        "faster_than_jax": float(np.median(np.array(rival) / own)) if rival else None,
    }


if __name__ == "__main__":
    main()
