"""How long does a whole run take beside a PyTorch loop, and how does it grow with the transfer set?

    python -m benchmarks.whole_run --data=wikiann5 --model=MINILM --rounds=3 --output=FILE.json
    python -m benchmarks.whole_run --limits=10000,30000,90000 --data=wikiann5 --model=TEACHER \\
        --output=FILE.json

wikiann5 is the task folder. Each run of ours is `train.py` in a fresh process with a fresh workdir
in a temporary folder (TMPDIR); it compiles all of its programs again. Measured are wall seconds by
phase and in all, peak RssAnon (private memory) and RSS (with the mapped pages of the cache, which
the system may take back). The machine's speed, a float32 matrix product in JAX, is measured for two
seconds before and after every run; the seconds times the mean of the two, in TFLOP (10^12
operations), are what the machine could have computed meanwhile: they compare runs on a shared
machine.

The first command runs `plans.py:whole`, the recipe of XtremeDistilTransformers, on MINILM, the
folder of all-MiniLM-L6 (6 layers of 384): the teacher is fine-tuned, and a student of 3 layers of
192 learns its last four hidden states and three attention maps, then its logits, then the labels,
each of the last two first with the head alone. The peer is `peers/torch_plan.py`. The texts are
English: the first 2,000 sentences of train.tsv with their labels, all of dev.tsv and test.tsv. The
transfer texts of wikiann5 have no language, so the 7,986 other English sentences of train.tsv are
the transfer texts, filled up to 9,000 by the last labelled ones without their labels. That is the
part of 10,000 that is trained on where a tenth is held out to watch the loss; here the loss is
watched on dev. What the plan needs is counted as in `steps.py`: three forward passes for a training
pass over texts, one for the teacher's outputs and for a frozen encoder's, one over dev after every
epoch (after the last only for the teacher), and one over dev and test for the predictions of both;
projections between widths are left out.

With --limits each number of transfer sentences is a run of `plans.py:scaling`: a BiLSTM student
learns one hidden layer of TEACHER, a MiniLM fine-tuned on wikiann5, then its logits with gradual
unfreezing, one epoch per sub-stage. The labelled texts (2,000 English ones of train, dev and test
whole) cost the same in every run.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax

from benchmarks import harness, programs, steps, timing
from benchmarks.plans import CHECKPOINTS, REST, START, get_config
from benchmarks.programs import Cost
from benchmarks.timing import MATRIX_PRODUCT
from xdistil.config import Data
from xdistil.data.corpus import read_corpus
from xdistil.data.tokenizer import load_tokenizer
from xdistil.models.hf.folder import load_model
from xdistil.models.types import Model
from xdistil.runtime.process import request_huge_pages
from xdistil.student.design import design_student

LANGUAGE = "en"
LABELLED, TRANSFER = (2000, 100), (9000, 200)  # sentences, in full and shrunk
SPEED_SECONDS = 2.0


def make_folder(source: Path, target: Path, shrink: bool) -> dict[str, int]:
    """Writes the task folder of both sides; the number of sentences of each file.

    Shrunk, dev and test are as long as the transfer texts.
    """
    labelled, wanted = LABELLED[shrink], TRANSFER[shrink]
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


def train(
    folder: Path, variant: str, flags: argparse.Namespace, *overrides: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run of `train.py` took, with its workdir in `folder`, and its results.json."""
    workdir = folder / "workdir"
    command = [
        *(sys.executable, "train.py", f"--config=benchmarks/plans.py:{variant}"),
        *(f"--config.teacher.model={flags.model.absolute()}", f"--config.seed={flags.seed}"),
        *(f"--workdir={workdir}", f"--config.dtype={flags.dtype}", *overrides),
    ]
    cost = programs.run_watched(command, folder / "output.log")
    results = json.loads((workdir / "results.json").read_text("utf-8"))
    return describe_cost(cost, programs.read_phases(workdir, cost)), results


def describe_cost(cost: Cost, phases: dict[str, float]) -> dict[str, Any]:
    """Seconds and memory of a process."""
    return {
        "seconds": cost.seconds,
        "phases": phases,
        "peak_rss_anon_bytes": cost.peak_rss_anon,
        "peak_rss_bytes": cost.peak_rss,
    }


def run_ours(folder: Path, data: Path, flags: argparse.Namespace) -> dict[str, Any]:
    """One run of the whole plan here."""
    run, results = train(folder, "whole", flags, f"--config.data.folder={data}")
    scores = {who: results[who]["test"]["macro_f1"] for who in ("teacher", "student")}
    config = json.loads((folder / "workdir" / "config.json").read_text("utf-8"))
    return {**run, **scores, "dtype": config["dtype"]}


def run_peer(folder: Path, data: Path, flags: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """One run of the whole plan in PyTorch, which leaves its result in `folder`."""
    output = folder / "result.json"
    command = [
        *(sys.executable, "-m", "benchmarks.peers.torch_plan", f"--data={data}"),
        *(f"--model={flags.model.absolute()}", f"--seed={flags.seed}", f"--output={output}"),
        f"--dtype={dtype}",
    ]
    cost = programs.run_watched(command, folder / "output.log")
    result = json.loads(output.read_text("utf-8"))
    phases = {START: result["began"] - cost.began, **result["phases"], CHECKPOINTS: 0.0}
    phases[REST] = cost.seconds - sum(phases.values())
    return {**describe_cost(cost, phases), **result["test"]}


def run_limit(folder: Path, limit: int, flags: argparse.Namespace) -> dict[str, Any]:
    """One run with this many transfer sentences."""
    data = f"--config.data.folder={flags.data.absolute()}"
    transfer = f"--config.data.transfer_limit={limit}"
    run, results = train(folder, "scaling", flags, data, transfer)
    cache = folder / "workdir" / "cache"
    return {
        "transfer_sentences": limit,
        **run,
        "steps": {stage["name"]: stage["steps"] for stage in results["stages"]},
        "cache_bytes": programs.measure_folder(cache),
        "signals_bytes": programs.measure_folder(cache / "signals"),
        "seconds_per_1000": 1000 * run["seconds"] / limit,
    }


def count_plan(data: Path, model: Path) -> float:
    """Operations that the plan needs on these texts, without padding and optimizers."""
    plan, tokenizer = get_config(), load_tokenizer(str(model))
    corpus = read_corpus(Data(folder=str(data)), plan.seed)
    of_texts = {}
    for name in ("train", "dev", "test", "transfer"):
        examples = getattr(corpus, name)
        texts = steps.pack_texts(examples, corpus.task, tokenizer, plan.data.row_length)
        [(of_texts[name], _)] = steps.make_feed(texts, len(texts.rows.subword), {})
    teacher: Any = load_model(str(model), task=corpus.task).model
    student = design_student(plan.student, teacher.config, tokenizer, corpus.task, "float32")

    def count(reader: Model, name: str) -> float:
        params = jax.eval_shape(reader.init_params, jax.random.key(0))
        return steps.count_forward(params, of_texts[name])

    def predict(reader: Model) -> float:
        return count(reader, "dev") + count(reader, "test")

    total = predict(teacher) + predict(student) + count(teacher, "dev")
    total += 3 * plan.teacher.plan[0].epochs * count(teacher, "train")
    total += count(teacher, "transfer") + count(teacher, "dev")
    for stage in plan.plan:
        evaluated = stage.epochs * count(student, "dev")
        total += 3 * stage.epochs * count(student, stage.data) + evaluated
        if stage.unfreeze == "gradual":  # with the head alone first: a frozen encoder
            total += count(student, stage.data) + count(student, "dev")
    return total


def measure_speed() -> float:
    """The machine's median speed now, in GFLOP/s."""
    product = timing.multiply_in_jax()
    turns = timing.time_rounds({MATRIX_PRODUCT: product}, SPEED_SECONDS)[MATRIX_PRODUCT]
    return statistics.median(timing.rates(turns, "operations")) / 1e9


def run_measured(name: str, run: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """A run in a temporary folder, with the machine's speed before and after it."""
    before = measure_speed()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder))
    after = measure_speed()
    print(f"{name}: {result['seconds']:.0f} s", flush=True)
    tflop = result["seconds"] * (before + after) / 2 / 1000
    return {**result, "gflops_before": before, "gflops_after": after, "tflop": tflop}


def print_runs(title: str, columns: dict[str, list[dict[str, Any]]], *fields: Any) -> None:
    """A column per list of runs: medians, and minimum and maximum where there are several. `fields`
    are further lines: title, field, digits and divisor."""
    (first, *_), *_ = columns.values()
    rows = []
    for name, field, digits, divisor in (
        *((f"{phase}, s", phase, 1, 1) for phase in first["phases"]),
        ("in all, s", "seconds", 1, 1),
        ("in all, TFLOP", "tflop", 1, 1),
        ("peak RssAnon, MiB", "peak_rss_anon_bytes", 0, 2**20),
        ("peak RSS, MiB", "peak_rss_bytes", 0, 2**20),
        ("speed before, GFLOP/s", "gflops_before", 1, 1),
        ("speed after, GFLOP/s", "gflops_after", 1, 1),
        *fields,
    ):
        cells = [name]
        for runs in columns.values():
            values = [{**run["phases"], **run}[field] for run in runs]
            if None in values:
                cells.append("-")
            elif len(values) == 1:
                cells.append(f"{values[0] / divisor:,.{digits}f}")
            else:
                cells.append(harness.show(timing.summarise(values), digits, 1 / divisor))
        rows.append(cells)
    harness.print_table([title, *columns], rows)


def compare_with_peer(flags: argparse.Namespace) -> dict[str, Any]:
    """The whole plan here and in PyTorch, in either type of arithmetic, in alternation."""
    sides: dict[str, Callable[..., dict[str, Any]]] = {
        "xdistil": run_ours,
        "PyTorch, float32": partial(run_peer, dtype="float32"),
        "PyTorch, bfloat16": partial(run_peer, dtype="bfloat16"),
    }
    sides = {name: run for name, run in sides.items() if flags.only in name}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        sentences = make_folder(flags.data, data, flags.shrink)
        needed = count_plan(data, flags.model) / 1e12
        for number in range(1, flags.rounds + 1):
            for side, run in sides.items():
                start = partial(run, data=data, flags=flags)
                runs[side].append(run_measured(f"round {number}, {side}", start))
    scores = [(f"{who}, test macro-F1", who, 2, 0.01) for who in ("teacher", "student")]
    print_runs("", runs, *scores)
    print(f"needed, TFLOP: {needed:.1f}")
    return {"sentences": sentences, "needed_tflop": needed, "runs": runs}


def grow_transfer(flags: argparse.Namespace) -> dict[str, Any]:
    """The scaling plan with more and more transfer sentences."""
    runs: dict[str, list[dict[str, Any]]] = {}
    before: dict[str, float] = {}
    for limit in map(int, flags.limits.split(",")):
        name = f"{limit:,} sentences"
        run = run_measured(name, partial(run_limit, limit=limit, flags=flags))
        now = {"sentences": limit, "seconds": run["seconds"]}
        more = {key: now[key] - before[key] for key in before}
        run["seconds_per_1000_more"] = 1000 * more["seconds"] / more["sentences"] if more else None
        before, runs[name] = now, [run]
    print_runs(
        "transfer",
        runs,
        ("seconds per 1,000 sentences", "seconds_per_1000", 2, 1),
        ("seconds per 1,000 more", "seconds_per_1000_more", 2, 1),
        ("cache, MB", "cache_bytes", 1, 10**6),
        ("teacher outputs in it, MB", "signals_bytes", 1, 10**6),
    )
    return {"runs": [run for (run,) in runs.values()]}


def main() -> None:
    """Reads the flags, runs, prints the table and writes the JSON."""
    parser = harness.make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the task folder wikiann5")
    parser.add_argument("--model", type=Path, required=True, help="the teacher, a folder")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", default="auto", help="of our arithmetic")
    parser.add_argument("--only", default="", help="sides whose names contain this")
    parser.add_argument("--shrink", action="store_true", help="a few sentences, to try it")
    parser.add_argument("--limits", default="", help="numbers of transfer sentences, with commas")
    flags = parser.parse_args()
    result = (grow_transfer if flags.limits else compare_with_peer)(flags)
    harness.write_result(flags.output, flags, result)


if __name__ == "__main__":
    request_huge_pages()
    main()
