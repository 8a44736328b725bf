"""A PyTorch reference of teacher fine-tuning: same data, same recipe, none of the library's code.

    python -m benchmarks.peers.torch_finetune --model=FOLDER --data=TASK_FOLDER --limit=10000 \\
        --seed=0 --output=FILE.json

Fine-tunes a Hugging Face encoder for NER on a task folder (`train.tsv`, `dev.tsv`, `test.tsv`:
`words<TAB>tags`, IOB2, the first tag with the prefix of the language; `labels.tsv`: one class per
line) and scores the last epoch on the whole of dev and test. The recipe is fixed: `Recipe` below is
written into the result. Runs on the CPU in float32; needs torch, transformers, tokenizers and
seqeval.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import seqeval.metrics
import torch
import transformers
from seqeval.scheme import IOB2

from benchmarks.peers.torch_recipe import RECIPE
from benchmarks.peers.torch_texts import Sentence, open_tokenizer, read_classes, read_texts
from benchmarks.peers.torch_training import compare_words, fit, predict

MATMUL_SIZE = 1024

log = logging.getLogger("torch_peer")


def entity_f1(sentences: Iterable[Sentence], predicted: list[list[str]]) -> float:
    """Micro-averaged F1 of whole entities, strict IOB2, as a fraction."""
    gold = [sentence.tags for sentence in sentences]
    return float(seqeval.metrics.f1_score(gold, predicted, mode="strict", scheme=IOB2))


def score(sentences: list[Sentence], predicted: list[list[str]]) -> dict:
    """Entity F1 in each language, their unweighted mean (macro) and over all sentences (micro).

    A language without gold entities is null and not part of the macro average.
    """
    per_language: dict[str, float | None] = {}
    for language in sorted({sentence.language for sentence in sentences}):
        mine = [i for i, sentence in enumerate(sentences) if sentence.language == language]
        gold = [sentences[i] for i in mine]
        has_entities = any(set(sentence.tags) - {"O"} for sentence in gold)
        tags = [predicted[i] for i in mine]
        per_language[language] = entity_f1(gold, tags) if has_entities else None
    known = [f1 for f1 in per_language.values() if f1 is not None]
    return {
        "macro_f1": statistics.fmean(known) if known else None,
        "micro_f1": entity_f1(sentences, predicted) if known else None,
        "per_language": per_language,
    }


def measure_speed() -> float:
    """Median rate of a float32 product of two square matrices, in GFLOP/s (10^9 per second)."""
    left, right = torch.randn(2, MATMUL_SIZE, MATMUL_SIZE)
    rates = []
    for _ in range(25):
        started = time.perf_counter()
        left @ right
        rates.append(2 * MATMUL_SIZE**3 / (time.perf_counter() - started) / 1e9)
    return statistics.median(rates)


def run(model_folder: Path, data_folder: Path, limit: int, seed: int) -> dict:
    """Fine-tunes, evaluates and returns the result as JSON-ready data."""
    texts = read_texts(data_folder, open_tokenizer(model_folder), limit)
    counts = {
        name: {
            "sentences": len(part.sentences),
            "windows": sum(map(len, part.windows)),
            "subwords": sum(len(window.tokens) for cut in part.windows for window in cut),
        }
        for name, part in texts.items()
    }
    log.info("texts: %s", counts)
    transformers.logging.set_verbosity_error()
    torch.manual_seed(seed)
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        model_folder, dtype=torch.float32, num_labels=len(texts["train"].labels)
    )
    speed, load = {"before": measure_speed()}, {"before": os.getloadavg()[0]}
    torch.manual_seed(seed)
    started = time.perf_counter()
    loss = compare_words(model, texts["train"], read_classes(texts["train"]))
    losses = fit(RECIPE, model, list(model.parameters()), texts["train"], loss, seed)
    seconds = {"training": time.perf_counter() - started}
    load["after"] = os.getloadavg()[0]

    scores = {}
    for name in ("dev", "test"):
        started = time.perf_counter()
        predicted = predict(model, texts[name])
        seconds[f"evaluation_{name}"] = time.perf_counter() - started
        scores[name] = score(texts[name].sentences, predicted)
        log.info("%s macro-F1 %s", name, scores[name]["macro_f1"])
    speed["after"] = measure_speed()
    subwords = {name: count["subwords"] for name, count in counts.items()}
    evaluated = subwords["dev"] + subwords["test"]
    return {
        "command": "python -m benchmarks.peers.torch_finetune"
        f" --model={model_folder.name} --data={data_folder.name} --limit={limit} --seed={seed}",
        "settings": {
            **asdict(RECIPE),
            "dropout": model.config.hidden_dropout_prob,
            "attention_dropout": model.config.attention_probs_dropout_prob,
        },
        "seed": seed,
        "counts": counts,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_loss": losses,
        **scores,
        "seconds": seconds,
        "real_subwords_per_second": {
            "training": RECIPE.epochs * subwords["train"] / seconds["training"],
            "evaluation": evaluated / (seconds["evaluation_dev"] + seconds["evaluation_test"]),
        },
        "machine": {
            "cpu_count": len(os.sched_getaffinity(0)),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "load_average": load,
            f"matmul_{MATMUL_SIZE}_gflops": speed,
        },
    }


def main() -> None:
    """Reads the flags, runs, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="a Hugging Face folder")
    parser.add_argument("--data", type=Path, required=True, help="an NER task folder")
    parser.add_argument("--limit", type=int, default=0, help="training sentences; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="the JSON to write")
    flags = parser.parse_args()
    if flags.limit < 0:
        parser.error(f"--limit={flags.limit}: expected 0 (everything) or a positive number.")
    if not flags.output.parent.is_dir():
        parser.error(f"--output: the folder {flags.output.parent} does not exist.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        # Absolute, so that a folder given as `.` has a name; a link keeps the name it was given.
        result = run(flags.model.absolute(), flags.data.absolute(), flags.limit, flags.seed)
    except (OSError, ValueError) as error:  # a file that is missing, or a line that is wrong
        parser.error(str(error))
    flags.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    log.info("wrote %s", flags.output)


if __name__ == "__main__":
    main()
