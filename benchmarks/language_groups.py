"""Which scores do models reach on groups of the languages of a run, and in its worst languages?

    python -m benchmarks.language_groups --run=runs/multilingual --group=WikiANN:af,ar,bg
    python -m benchmarks.language_groups --run=runs/multilingual --manylang --output=FILE.json

results.json of a workdir is read. For teacher, student and baselines: the mean over all languages,
over each group and over the languages in no group, and over the ten languages in which the student
is lowest. `--manylang` names the 41 languages of manylang whose labels are WikiANN's; those of the
other 28 were annotated by people. `--output` writes the scores of every language, once, and the
machine of the run.
"""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import harness
from xdistil.errors import InputError
from xdistil.evaluation.metrics import LANGUAGE_SCORE
from xdistil.evaluation.results import Results, Scores, find_scores, read_results, scored_split
from xdistil.evaluation.worst import compare_worst

WIKIANN = (
    "WikiANN:af,ar,bg,bn,de,el,en,es,et,eu,fa,fi,fr,he,hi,hu,id,it,ja,jv,ka,kk,ko,ml,mr,ms,my,nl,"
    "pl,pt,ru,sw,ta,te,th,tl,tr,ur,vi,yo,zh"
)
OTHERS = "others"


def main() -> None:
    """Reads the command line and the results, prints a table and writes the scores."""
    parser = harness.make_parser(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="workdir of a finished run")
    parser.add_argument("--group", action="append", default=[], help="NAME:LANGUAGE,LANGUAGE")
    parser.add_argument("--manylang", action="store_true", help="the groups of manylang")
    flags = parser.parse_args()
    results = read_results(flags.run)
    if results is None:
        raise InputError(f"{flags.run} has no results.json: name the workdir of a finished run.")
    scores = list_scores(results)
    groups = make_groups([*flags.group, *([WIKIANN] if flags.manylang else [])], scores["student"])
    split, score = scored_split(results), LANGUAGE_SCORE[results["task"]]
    teacher, student = (find_scores(results, name, split) for name in ("teacher", "student"))
    if "teacher" in scores and teacher and student:
        worst = compare_worst(teacher["per_language"], student["per_language"], score)
        if worst:
            groups[f"worst {len(worst['languages'])}"] = worst["languages"]
    means = {model: average(values, groups) for model, values in scores.items()}
    header = ("languages", *scores, "retention")
    rows = []
    for group, languages in groups.items():
        found = [means[model][group] for model in scores]
        kept = "-"
        if "teacher" in means and means["teacher"][group]:
            kept = f"{100 * means['student'][group] / means['teacher'][group]:.1f}%"
        rows.append((f"{group} ({len(languages)})", *(f"{100 * each:.2f}" for each in found), kept))
    harness.print_table(header, rows)
    told = {
        model: {name: round(value, 4) for name, value in values.items()}
        for model, values in scores.items()
    }
    machine = read_machine(flags.run)
    result = {"machine": machine, "split": split, "means": means, "scores": told}
    harness.write_result(flags.output, flags, result)


def read_machine(run: Path) -> dict[str, Any]:
    """Processor, devices and versions of a run, as its environment.json has them."""
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    return {name: environment[name] for name in ("cpu", "cpu_cores", "devices", "packages")}


def list_scores(results: Results) -> dict[str, dict[str, float]]:
    """The score of every language by model: teacher, student and the baselines by name.

    A teacher that nothing can be compared with, such as an encoder without a trained head, is left
    out.
    """
    split, score = scored_split(results), LANGUAGE_SCORE[results["task"]]
    models: dict[str, Scores | None] = {
        "teacher": find_scores(results, "teacher", split),
        "student": find_scores(results, "student", split),
    }
    if results["retention"] is None:
        del models["teacher"]
    for row in results["baselines"]:
        models[row["name"]] = row["test"] if split == "test" else row["dev"]
    return {
        model: {
            name: value
            for name, each in found["per_language"].items()
            if (value := each[score]) is not None
        }
        for model, found in models.items()
        if found is not None
    }


def make_groups(written: list[str], known: Mapping[str, float]) -> dict[str, list[str]]:
    """The languages of each group that have a score; first all, then the groups, then the rest."""
    groups = {"all": [*known]}
    for each in written:
        name, _, languages = each.partition(":")
        groups[name] = [language for language in languages.split(",") if language in known]
        if not groups[name]:
            raise InputError(f"--group={each}: no language of it has a score; write NAME:de,en.")
    named = {language for name in groups if name != "all" for language in groups[name]}
    if named and (rest := [language for language in known if language not in named]):
        groups[OTHERS] = rest
    return groups


def average(values: Mapping[str, float], groups: Mapping[str, list[str]]) -> dict[str, float]:
    """The mean of each group."""
    return {
        group: statistics.fmean(values[language] for language in languages)
        for group, languages in groups.items()
    }


if __name__ == "__main__":
    main()
