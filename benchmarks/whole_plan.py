"""How long does the whole v3 plan take, from start to scores, here and in a plain PyTorch loop?

    python benchmarks/whole_plan.py --data=wikiann5 --model=MINILM --rounds=3 --output=FILE.json

wikiann5 is the task folder, MINILM the folder of all-MiniLM-L6 (6 layers of 384). The plan is
`plans.py:whole`, the recipe of XtremeDistilTransformers: the teacher is fine-tuned, and a student
of 3 layers of 192 learns its last four hidden states and three attention maps, then its logits,
then the labels, each of the two first with the head alone. Ours is `train.py` in a fresh process
with a fresh workdir and everything that it writes, and compiles all of its programs anew each time;
the peer is `torch_plan.py` in a fresh process.

The texts are English: the first 2,000 sentences of train.tsv with their labels, all of dev.tsv and
test.tsv. The transfer texts of wikiann5 carry no language, and train.tsv holds 7,986 English
sentences beyond the first 2,000; they serve as transfer texts, and the last labelled ones without
their labels fill them up to 9,000: the part of 10,000 that is trained on where a tenth is held out
to watch the loss. Here the loss is watched on dev.

Counted are, for both sides, wall seconds by phase and in all, peak memory, test macro-F1 of teacher
and student. Before, between and after the runs the machine's rate is read: a float32 matrix product
in JAX, for two seconds. The seconds times the mean of the two rates around a run, in TFLOP (10^12
operations), are what the machine could have computed meanwhile: they compare runs on a machine that
does other work as well. Beside them stands what the plan itself needs, counted as in `steps.py`:
three forward passes for a training pass over texts, one for the teacher's outputs and for a frozen
encoder's, one over dev after every epoch (after the last alone for the teacher), and one over dev
and test for the predictions of both; side projections are left out. The folder for all that is
written is a temporary one (TMPDIR).
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import steps
from measure import (
    MATRIX_PRODUCT,
    add_output,
    multiply_in_jax,
    print_table,
    rates,
    show,
    summarise,
    take_turns,
    write_result,
)
from plans import get_config
from watch import CHECKPOINTS, REST, START, Cost, read_phases, run_watched

from xdistil.config import Data
from xdistil.data.corpus import read_corpus
from xdistil.data.tokenizer import load_tokenizer
from xdistil.models.hf.folder import Model, load_model
from xdistil.runtime.process import ask_for_huge_pages
from xdistil.student.design import design_student

LANGUAGE = "en"
LABELLED, TRANSFER = 2000, 9000  # sentences
SHRUNK_LABELLED, SHRUNK_TRANSFER = 100, 200
RATE_SECONDS = 2.0
SIDES = ("xdistil", "PyTorch")


def make_folder(source: Path, target: Path, shrink: bool) -> dict[str, int]:
    """Writes the task folder of both sides; the number of sentences of each file.

    Shrunk, dev and test are as long as the transfer texts.
    """
    labelled, wanted = (SHRUNK_LABELLED, SHRUNK_TRANSFER) if shrink else (LABELLED, TRANSFER)
    files = {}
    for name in ("train", "dev", "test"):
        lines = (source / f"{name}.tsv").read_text("utf-8").splitlines(keepends=True)
        files[name] = [line for line in lines if line.split("\t")[1].startswith(f"{LANGUAGE}:")]
    texts = [line.split("\t")[0] + "\n" for line in files["train"]]
    unlabelled = texts[labelled : labelled + wanted]
    filled = wanted - len(unlabelled)
    transfer = [*unlabelled, *texts[labelled - filled : labelled]] if filled else unlabelled
    files["train"] = files["train"][:labelled]
    if shrink:
        files["dev"], files["test"] = files["dev"][:wanted], files["test"][:wanted]
    target.mkdir()
    for name, lines in files.items():
        (target / f"{name}.tsv").write_text("".join(lines), "utf-8")
    (target / "transfer.txt").write_text("".join(transfer), "utf-8")
    (target / "labels.tsv").write_bytes((source / "labels.tsv").read_bytes())
    return {name: len(lines) for name, lines in {**files, "transfer": transfer}.items()}


def run_ours(data: Path, model: Path, folder: Path, seed: int) -> dict[str, Any]:
    """One run of `train.py`, which leaves its workdir in `folder`."""
    workdir = folder / "workdir"
    command = [
        *(sys.executable, "train.py", "--config=benchmarks/plans.py:whole"),
        *(f"--config.data.folder={data}", f"--config.teacher.model={model}"),
        *(f"--config.seed={seed}", f"--workdir={workdir}"),
    ]
    cost = run_watched(command, folder / "output.log")
    results = json.loads((workdir / "results.json").read_text("utf-8"))
    scores = {name: results[name]["test"]["macro_f1"] for name in ("teacher", "student")}
    return _describe_run(cost, read_phases(workdir, cost), scores)


def run_peer(data: Path, model: Path, folder: Path, seed: int) -> dict[str, Any]:
    """One run of `torch_plan.py`, which leaves its result in `folder`."""
    output = folder / "result.json"
    command = [
        *(sys.executable, "benchmarks/torch_plan.py", f"--data={data}", f"--model={model}"),
        *(f"--seed={seed}", f"--output={output}"),
    ]
    cost = run_watched(command, folder / "output.log")
    result = json.loads(output.read_text("utf-8"))
    phases = {START: result["began"] - cost.began, **result["phases"], CHECKPOINTS: 0.0}
    phases[REST] = cost.seconds - sum(phases.values())
    return _describe_run(cost, phases, result["test"])


def count_plan(data: Path, model: Path) -> float:
    """Operations that the plan needs on these texts, padding and optimizers aside."""
    plan, tokenizer = get_config(), load_tokenizer(str(model))
    corpus = read_corpus(Data(folder=str(data)), plan.seed)
    of_texts = {}
    for name in ("train", "dev", "test", "transfer"):
        texts = steps.pack_texts(
            getattr(corpus, name), corpus.task, tokenizer, plan.data.row_length
        )
        rows = len(texts.rows.piece)
        [(of_texts[name], _)] = steps.make_feed(texts, rows, {})
    teacher = load_model(str(model), task=corpus.task).model
    student = design_student(plan.student, teacher.config, tokenizer, corpus.task, plan.dtype)

    def count(reader: Model, name: str) -> float:
        params = jax.eval_shape(reader.init_params, jax.random.key(0))
        return steps.count_forward(params, of_texts[name])

    def predict(reader: Model) -> float:
        return count(reader, "dev") + count(reader, "test")

    total = predict(teacher) + predict(student) + count(teacher, "dev")
    total += 3 * plan.teacher.plan[0].epochs * count(teacher, "train")
    total += count(teacher, "transfer") + count(teacher, "dev")
    for stage in plan.plan:
        name, evaluated = stage.data, stage.epochs * count(student, "dev")
        total += 3 * stage.epochs * count(student, name) + evaluated
        if stage.unfreeze == "gradual":  # with the head alone first: a frozen encoder
            total += count(student, name) + count(student, "dev")
    return total


def _describe_run(
    cost: Cost, phases: dict[str, float], scores: dict[str, float | None]
) -> dict[str, Any]:
    return {
        "seconds": cost.seconds,
        "phases": phases,
        "peak_rss_anon_bytes": cost.peak_rss_anon,
        "peak_rss_bytes": cost.peak_rss,
        "test_macro_f1": scores,
    }


def read_rate() -> float:
    """The machine's median rate now, in GFLOP/s."""
    turns = take_turns({MATRIX_PRODUCT: multiply_in_jax()}, RATE_SECONDS)[MATRIX_PRODUCT]
    return statistics.median(rates(turns, "operations")) / 1e9


def run_rounds(data: Path, model: Path, rounds: int, seed: int) -> list[dict[str, Any]]:
    """All runs in order, the two sides in turn, each with the rates around it."""
    runs: list[dict[str, Any]] = []
    before = read_rate()
    for number in range(1, rounds + 1):
        for side, run in zip(SIDES, (run_ours, run_peer), strict=True):
            with tempfile.TemporaryDirectory() as folder:
                result = run(data, model, Path(folder), seed)
            after = read_rate()
            result["gflops_before"], result["gflops_after"] = before, after
            result["tflop"] = result["seconds"] * (before + after) / 2 / 1000
            runs.append({"side": side, "round": number, **result})
            print(
                f"round {number}, {side}: {result['seconds']:.0f} s, machine at {before:.0f} and "
                f"{after:.0f} GFLOP/s",
                flush=True,
            )
            before = after
    return runs


def print_runs(runs: list[dict[str, Any]], needed: float) -> None:
    """The table: medians over the rounds, with minimum and maximum."""
    by_side = {side: [run for run in runs if run["side"] == side] for side in SIDES}

    def row(name: str, read: Any, digits: int, factor: float = 1.0) -> list[str]:
        cells = []
        for mine in by_side.values():
            values = [read(run) for run in mine]
            known = None not in values
            cells.append(show(summarise(values), digits, factor) if known else "-")
        return [name, *cells]

    mebi = 1 / 2**20
    rows = [
        row(f"{phase}, s", lambda run, phase=phase: run["phases"][phase], 1)
        for phase in runs[0]["phases"]
    ]
    rows += [
        row("in all, s", lambda run: run["seconds"], 1),
        row("in all, TFLOP", lambda run: run["tflop"], 1),
        ["needed, TFLOP", *(f"{needed:.1f}" for _ in SIDES)],
        row("peak RssAnon, MiB", lambda run: run["peak_rss_anon_bytes"], 0, mebi),
        row("peak RSS, MiB", lambda run: run["peak_rss_bytes"], 0, mebi),
        row("teacher, test macro-F1", lambda run: run["test_macro_f1"]["teacher"], 2, 100),
        row("student, test macro-F1", lambda run: run["test_macro_f1"]["student"], 2, 100),
    ]
    print_table(["", *SIDES], rows)


def main() -> None:
    """Reads the flags, runs, prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the task folder wikiann5")
    parser.add_argument("--model", type=Path, required=True, help="the teacher, a folder")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--shrink", action="store_true", help="a few sentences, to see that it runs"
    )
    add_output(parser)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        sentences = make_folder(flags.data, data, flags.shrink)
        needed = count_plan(data, flags.model) / 1e12
        runs = run_rounds(data, flags.model.absolute(), flags.rounds, flags.seed)
    print_runs(runs, needed)
    result = {"sentences": sentences, "needed_tflop": needed, "runs": runs}
    write_result(flags.output, flags, result)


if __name__ == "__main__":
    ask_for_huge_pages()
    main()
