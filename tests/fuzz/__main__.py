"""A coverage-guided search for inputs that break the readers, the model loader or prediction.

    python -m tests.fuzz --minutes=10 --seed=0
    python -m tests.fuzz --replay=fuzz/findings/000-folder

Mutates valid files (bytes, JSON values, headers of tensors), runs one of its targets on them and
keeps each input that takes a path through the reading code that no input took before. `reader`
reads labelled files of every format, `stream` reads them as texts to predict labels for, `answers`
reads what language models answered, `folder` opens a model folder and labels two lines with it,
`predict` labels lines with a valid model. Parquet files are among them where pyarrow is installed.
Anything but an answer of the right shape, or one sentence of an InputError that names its file, is
a finding; so is a run of more than 30 seconds or 16 GiB. A finding is a folder under `--output`
with the input's files and `finding.txt`; the input that ran when the process died is in `current`.
Exits with 1 if there are findings.
"""

import argparse
import resource
import shutil
import sys
import time
import traceback
from pathlib import Path
from random import Random

import xdistil
from tests.fuzz.mutation import mutate
from tests.fuzz.seeds import Case, make_seeds
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import Arc, limits, silence, trace
from xdistil.errors import InputError

MEMORY = 16 * 2**30
OWN = (str(Path(xdistil.__file__).parent), str(Path(__file__).parent))  # folders of our code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=Path, default=Path("fuzz"), help="folder of what it writes"
    )
    parser.add_argument("--replay", type=Path, help="folder of a finding: run it again, alone")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    fuzz = Fuzz(options.output.absolute(), options.seed)
    if options.replay:
        target = options.replay.name.partition("-")[2]
        content = {
            path.name: path.read_bytes()
            for path in options.replay.iterdir()
            if path.name != "finding.txt"
        }
        fault = fuzz.run(target, content)
        print(fault or "This is no longer a finding.")
        return int(bool(fault))
    fuzz.search(60 * options.minutes)
    print(fuzz.summary())
    return int(bool(fuzz.findings))


class Fuzz:
    """The search: the arcs taken so far, the inputs that took them, and the findings."""

    def __init__(self, output: Path, seed: int):
        self.random = Random(seed)
        self.place = output / "current"
        self.output = output / "findings"
        self.arcs: set[Arc] = set()
        self.findings: dict[str, Path] = {}
        self.counts = dict.fromkeys(TARGETS, 0)
        self.seconds = dict.fromkeys(TARGETS, 0.0)
        seeds = make_seeds(output / "valid")
        self.kept, self.models = seeds.cases, seeds.models

    def search(self, seconds: float) -> None:
        """Runs mutated inputs until the time is over, with equal time for every target."""
        end = time.monotonic() + seconds
        told = time.monotonic()
        for target, cases in self.kept.items():
            for case in cases:
                self._try(target, case)
        while time.monotonic() < end:
            target = min(self.seconds, key=self.seconds.__getitem__)
            case = self.random.choice(self.kept[target])
            for _ in range(self.random.choice((1, 1, 2, 4))):
                case = mutate(case, self.random.choice(self.kept["reader"]), self.random)
            if self._try(target, case):
                self.kept[target].append(case)
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(self.summary(), flush=True)

    def summary(self) -> str:
        """Runs, time and findings so far, in one line."""
        parts = [
            f"{name} {self.counts[name]} runs in {self.seconds[name] / 60:.1f} min"
            for name in TARGETS
        ]
        return f"{'; '.join(parts)}; {len(self.arcs)} arcs; {len(self.findings)} findings"

    def _try(self, target: str, case: Case) -> bool:
        # Whether the input took an arc that none took before. Findings are written.
        before = len(self.arcs)
        begin = time.monotonic()
        fault = self.run(target, case)
        self.counts[target] += 1
        self.seconds[target] += time.monotonic() - begin
        key = fault.split("\n", 1)[0][:80]
        if fault and key not in self.findings:
            folder = self.output / f"{len(self.findings):03}-{target}"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.place, folder)
            (folder / "finding.txt").write_text(fault, encoding="utf-8", errors="backslashreplace")
            self.findings[key] = folder
            print(f"{folder}: {key[:300]}", flush=True)
        return len(self.arcs) > before

    def run(self, target: str, case: Case) -> str:
        """Writes the files and runs a target on them; what is wrong with the result, or ""."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        for name, content in case.items():
            (self.place / name).write_bytes(content)
        try:
            with silence(), limits(), trace(self.arcs):
                TARGETS[target](self.place, self.models, self.random)
        except InputError as error:
            sentence = str(error)
            is_one = "\n" not in sentence and sentence.endswith(".") and len(sentence) < 2000
            if is_one and str(self.place) in sentence:
                return ""
            return f"No sentence that names its file: {sentence[:2000]!r}"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a Rust panic is not an Exception
            frames = traceback.extract_tb(error.__traceback__)
            own = [f for f in frames if f.filename.startswith(OWN)]
            where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "nowhere"
            return f"{type(error).__name__} at {where}\n{traceback.format_exc()}"
        return ""


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.exit(main())
