"""How do time, disk and memory grow with the transfer set?

    python benchmarks/scaling.py --data=wikiann5 --model=TEACHER --limits=10000,30000,90000 \\
        --output=FILE.json

wikiann5 is the task folder, TEACHER a MiniLM (6 layers of 384) fine-tuned on it, such as the
`teacher/` of a run. Each limit is `train.py` with `plans.py:scaling` in a fresh process with a
fresh workdir: a BiLSTM student learns one hidden layer of the teacher, then its logits with gradual
unfreezing, one epoch a sub-stage. Labelled texts are the English ones, 2,000 of train, dev and test
whole: what they cost is in every run alike (evaluations, their cached outputs, scores).

Counted are, for each limit, wall seconds in all and by phase, bytes in the workdir's cache, peak
RssAnon (memory of its own) and RSS (with the mapped pages of the cache, which the system may take
back); seconds a thousand transfer sentences, and seconds a thousand more sentences from one limit
to the next. The machine's rate, a float32 matrix product in JAX, is read before, between and after
the runs. The folder for all that is written is a temporary one (TMPDIR).
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import add_output, print_table, write_result
from watch import read_phases, run_watched
from whole_plan import read_rate


def run_limit(data: Path, model: Path, limit: int, seed: int) -> dict[str, Any]:
    """One run with that many transfer sentences."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder) / "workdir"
        command = [
            *(sys.executable, "train.py", "--config=benchmarks/plans.py:scaling"),
            *(f"--config.data.folder={data}", f"--config.data.transfer_limit={limit}"),
            *(f"--config.teacher.model={model}", f"--config.seed={seed}", f"--workdir={workdir}"),
        ]
        cost = run_watched(command, Path(folder) / "output.log")
        results = json.loads((workdir / "results.json").read_text("utf-8"))
        cache = workdir / "cache"
        return {
            "transfer_sentences": limit,
            "seconds": cost.seconds,
            "phases": read_phases(workdir, cost),
            "steps": {stage["name"]: stage["steps"] for stage in results["stages"]},
            "cache_bytes": measure_folder(cache),
            "signals_bytes": measure_folder(cache / "signals"),
            "peak_rss_anon_bytes": cost.peak_rss_anon,
            "peak_rss_bytes": cost.peak_rss,
        }


def measure_folder(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def run_limits(data: Path, model: Path, limits: list[int], seed: int) -> list[dict[str, Any]]:
    """The runs in order, with the machine's rate around each."""
    runs: list[dict[str, Any]] = []
    before = read_rate()
    for limit in limits:
        run = run_limit(data, model, limit, seed)
        after = read_rate()
        run["gflops_before"], run["gflops_after"] = before, after
        run["seconds_per_1000"] = 1000 * run["seconds"] / limit
        run["seconds_per_1000_more"] = None
        if runs and limit != runs[-1]["transfer_sentences"]:
            seconds = run["seconds"] - runs[-1]["seconds"]
            sentences = limit - runs[-1]["transfer_sentences"]
            run["seconds_per_1000_more"] = 1000 * seconds / sentences
        runs.append(run)
        print(f"{limit} sentences: {run['seconds']:.0f} s", flush=True)
        before = after
    return runs


def print_runs(runs: list[dict[str, Any]]) -> None:
    """The table, a column a limit."""
    rows = [
        [f"{phase}, s", *(f"{run['phases'][phase]:,.1f}" for run in runs)]
        for phase in runs[0]["phases"]
    ]
    for name, field, digits, divisor in (
        ("in all, s", "seconds", 1, 1),
        ("seconds a 1,000 sentences", "seconds_per_1000", 2, 1),
        ("seconds a 1,000 more", "seconds_per_1000_more", 2, 1),
        ("cache, MB", "cache_bytes", 1, 10**6),
        ("teacher's outputs in it, MB", "signals_bytes", 1, 10**6),
        ("peak RssAnon, MiB", "peak_rss_anon_bytes", 0, 2**20),
        ("peak RSS, MiB", "peak_rss_bytes", 0, 2**20),
        ("rate before, GFLOP/s", "gflops_before", 1, 1),
        ("rate after, GFLOP/s", "gflops_after", 1, 1),
    ):
        values = [run[field] for run in runs]
        rows.append(
            [
                name,
                *("-" if value is None else f"{value / divisor:,.{digits}f}" for value in values),
            ]
        )
    print_table(["transfer sentences", *(f"{run['transfer_sentences']:,}" for run in runs)], rows)


def main() -> None:
    """Reads the flags, runs, prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the task folder wikiann5")
    parser.add_argument("--model", type=Path, required=True, help="the teacher, fine-tuned")
    parser.add_argument("--limits", default="10000,30000,90000", help="transfer sentences")
    parser.add_argument("--seed", type=int, default=0)
    add_output(parser)
    flags = parser.parse_args()
    limits = [int(limit) for limit in flags.limits.split(",")]
    runs = run_limits(flags.data.absolute(), flags.model.absolute(), limits, flags.seed)
    print_runs(runs)
    write_result(flags.output, flags, {"runs": runs})


if __name__ == "__main__":
    main()
