"""results.json -> the tables of results.md and of the console. Scores are in percent."""

from typing import Literal

from xdistil.evaluation.annotators_table import tabulate_annotators
from xdistil.evaluation.formatting import (
    UNKNOWN,
    align,
    format_bytes,
    format_count,
    format_duration,
    format_score,
)
from xdistil.evaluation.metrics import LANGUAGE_SCORE, MAIN_SCORE
from xdistil.evaluation.results import (
    HELD_OUT,
    LanguageScoreName,
    LanguageScores,
    ModelName,
    ModelResult,
    Results,
    ScoreName,
    Scores,
    Split,
    WorstLanguages,
    find_scores,
    has_gold,
    name_other,
    scored_split,
)
from xdistil.evaluation.tables import Table, render_table
from xdistil.evaluation.worst import WORST, average_worst, compare_worst

SCORE_NAMES = {"macro_f1": "macro-F1", "micro_f1": "micro-F1", "accuracy": "accuracy"}
_SECOND_SCORE: dict[str, ScoreName] = {
    "tagging": "micro_f1",
    "classification": "macro_f1",
    "multilabel": "macro_f1",
}
_SETTINGS: dict[Literal["batch_32", "single"], str] = {
    "batch_32": "batch of 32",
    "single": "single sentence",
}
AGREEMENT = "agreement with the teacher"  # the name of the score of a run without labels

_SIZES = ("parameters", "embeddings", "model file")


def render_markdown(results: Results) -> str:
    """The whole report in Markdown, with all languages."""
    parts = [f"# {describe_run(results)}", " ".join(describe_outcome(results))]
    for table in _list_tables(results, languages=None):
        parts.append(f"## {table.title}\n\n{render_table(table, 'markdown').rstrip()}")
    return "\n\n".join(part for part in parts if part) + "\n"


def render_console(results: Results) -> str:
    """The report for a terminal: the same tables, with the five worst languages."""
    parts = [describe_run(results)]
    for table in _list_tables(results, languages=5):
        lines = render_table(table).splitlines()
        parts.append("\n".join([table.title, *(f"  {line}" for line in lines)]))
    parts.append("\n".join(describe_outcome(results)))
    return "\n\n".join(part for part in parts if part) + "\n"


def render_scores(kind: str, scores: Scores) -> str:
    """A table of one model's scores by language, and a line with the averages.

    Args:
        kind: "tagging", "classification" or "multilabel".
        scores: as `metrics.score` returns them.
    """
    columns: tuple[LanguageScoreName | Literal["entities", "sentences"], ...]
    columns = ("f1", "precision", "recall", "entities", "sentences")
    if kind != "tagging":
        columns = (LANGUAGE_SCORE[kind], "macro_f1", "sentences")
    rows = [("language", *(SCORE_NAMES.get(column, column) for column in columns))]
    for language, each in scores["per_language"].items():
        rows.append((language, *(format_score(each[column]) for column in columns)))
    names = (MAIN_SCORE[kind], _SECOND_SCORE[kind])
    totals = ", ".join(f"{SCORE_NAMES[name]} {format_score(scores[name])}" for name in names)
    return "\n".join([*align(rows, (0,)), totals]) + "\n"


def _list_tables(results: Results, languages: int | None) -> list[Table]:
    tables = [
        tabulate_models(results),
        tabulate_speed(results),
        _tabulate_languages(results, languages),
        *tabulate_annotators(results),
        tabulate_stages(results),
    ]
    return [table for table in tables if table is not None and table.rows]


def describe_run(results: Results) -> str:
    """The task, the seed, and what the student was selected by."""
    selected = f"selected on {results['selected_on']}"
    if not has_gold(results):
        selected = f"without labels, selected by {AGREEMENT} on held-out transfer texts"
    return f"{results['task'].capitalize()}, seed {results['seed']}, {selected}"


def describe_outcome(results: Results) -> list[str]:
    """Sentences about the student's score, size and speed, compared with its teacher's."""
    kind, split = results["task"], scored_split(results)
    if "before" in results:
        return [_describe_change(results, split), *_describe_split(results, split)]
    lines = []
    if not has_gold(results):
        scores = results["student"]["agreement"][HELD_OUT]
        agreement = format_score(_get_score(scores, MAIN_SCORE[kind]))
        lines.append(
            f"The student's {AGREEMENT} on held-out transfer texts is {agreement} "
            f"({SCORE_NAMES[MAIN_SCORE[kind]]} with the teacher's predictions as gold labels)."
        )
    retention = results["retention"]
    if retention is not None:
        lines.append(
            f"The student retains {100 * retention:.1f}% of the teacher's "
            f"{SCORE_NAMES[MAIN_SCORE[kind]]} on {split}."
        )
    if worst := _find_worst(results, split):
        kept = ""
        if worst["retention"] is not None:
            kept = f", {100 * worst['retention']:.1f}% of the teacher's there"
        lines.append(
            f"The mean of its {WORST} worst languages ({', '.join(worst['languages'])}) is "
            f"{format_score(worst['student'])}{kept}."
        )
    savings = []
    compression = results["compression"]
    if compression is not None:
        savings.append(f"{compression:.1f} times fewer parameters")
    teacher, student = results["teacher"]["bytes"], results["student"]["bytes"]
    if teacher and student:
        savings.append(f"a {teacher['model'] / student['model']:.1f} times smaller model file")
    if savings:
        lines.append(f"It has {' and '.join(savings)}.")
    speedup = results["timing"]["speedup"]
    if speedup is not None:
        lines.append(
            f"It is {speedup['batch_32']['median']:.1f} times faster in a batch of 32 and "
            f"{speedup['single']['median']:.1f} times faster on a single sentence."
        )
    return [*lines, *_describe_split(results, split)]


def _find_worst(results: Results, split: Split) -> WorstLanguages | None:
    """The student's worst languages beside its teacher; None without scores of many languages."""
    teacher = find_scores(results, "teacher", split)
    student = find_scores(results, "student", split)
    if teacher is None or student is None or split == HELD_OUT:
        return None
    score = LANGUAGE_SCORE[results["task"]]
    return compare_worst(teacher["per_language"], student["per_language"], score)


def _describe_change(results: Results, split: Split) -> str:
    """The student's score before and after a run without a teacher."""
    main = MAIN_SCORE[results["task"]]
    before = _get_score(find_scores(results, "before", split), main)
    after = _get_score(find_scores(results, "student", split), main)
    reached = f"The student's {name_score(results, split)} is {format_score(after)}"
    if before is None or after is None:
        return f"{reached}; before the run it had no score."
    return (
        f"{reached}; before the run it was {format_score(before)} ({100 * (after - before):+.2f})."
    )


def _describe_split(results: Results, split: Split) -> list[str]:
    if split == "dev" and has_gold(results):
        return ["There is no test set: all scores are on dev, which also selected the student."]
    return []


def tabulate_models(results: Results) -> Table:
    """Scores in percent and sizes of teacher, student and baselines."""
    kind = results["task"]
    if not has_gold(results):
        return _tabulate_agreement(results)
    main, second = MAIN_SCORE[kind], _SECOND_SCORE[kind]
    split = scored_split(results)
    worst = score_worst(kind, find_scores(results, "student", split)) is not None
    header = (
        "model",
        "labelled sentences",
        f"{SCORE_NAMES[main]} dev",
        f"{SCORE_NAMES[main]} test",
        *([f"worst {WORST} {split}"] if worst else []),
        f"{SCORE_NAMES[second]} test",
        *_SIZES,
    )

    def describe(
        name: str, labels: int | None, dev: Scores | None, test: Scores | None
    ) -> tuple[str, ...]:
        lowest = [score_worst(kind, test if split == "test" else dev)] if worst else []
        scores = (_get_score(dev, main), _get_score(test, main), *lowest, _get_score(test, second))
        return (name, format_score(labels), *map(format_score, scores))

    rows = []
    models: tuple[ModelName, ...] = (name_other(results), "student")
    for name in models:
        model = results[name]
        cells = describe(name, model["labels"], model["dev"], model["test"])
        rows.append((*cells, *_format_sizes(model)))
    for each in results["baselines"]:
        cells = describe(
            f"{each['name']} (lr {each['lr']:g})", each["labels"], each["dev"], each["test"]
        )
        rows.append((*cells, *_format_sizes(results["student"])))
    gazetteer = results["gazetteer"]
    if gazetteer is not None:
        cells = describe("gazetteer", None, gazetteer["dev"], gazetteer["test"])
        rows.append((*cells, UNKNOWN, UNKNOWN, UNKNOWN))
    return Table("Models", header, rows)


def score_worst(kind: str, scores: Scores | None) -> float | None:
    """The mean of the worst languages of a model; None where there are few."""
    return None if scores is None else average_worst(scores["per_language"], LANGUAGE_SCORE[kind])


def _format_sizes(model: ModelResult) -> tuple[str, str, str]:
    """The cells of the columns _SIZES."""
    parameters, sizes = model["parameters"], model["bytes"]
    return (
        format_count(parameters and parameters["total"]),
        format_count(parameters and parameters["embeddings"]),
        format_bytes(sizes and sizes["model"]),
    )


def _tabulate_agreement(results: Results) -> Table:
    """The models of a run without labels: agreement, and scores on gold files if there are any."""
    main = MAIN_SCORE[results["task"]]
    teacher, student = results["teacher"], results["student"]
    agreement = student["agreement"]
    header = ["model", f"{AGREEMENT}, held-out transfer"]
    rows = [["teacher", UNKNOWN], ["student", format_score(_get_score(agreement[HELD_OUT], main))]]
    splits: tuple[Literal["dev", "test"], ...] = ("dev", "test")
    for split in splits:
        if student[split] is not None:
            header += [f"{AGREEMENT}, {split}", f"{SCORE_NAMES[main]} gold {split}"]
            rows[0] += [UNKNOWN, format_score(_get_score(teacher[split], main))]
            rows[1] += [
                format_score(_get_score(scores, main))
                for scores in (agreement[split], student[split])
            ]
    return Table(
        "Models",
        (*header, *_SIZES),
        [(*rows[0], *_format_sizes(teacher)), (*rows[1], *_format_sizes(student))],
    )


def tabulate_speed(results: Results) -> Table | None:
    """Milliseconds of teacher and student, and the speedup; None if it was not measured."""
    speedup = results["timing"]["speedup"]
    if speedup is None:
        return None
    title = (
        f"Speed ({speedup['dtype']}, {speedup['threads']} threads, {speedup['device']}; "
        "median times, and the speedup as lowest / median / highest)"
    )
    header = ("batch", "row length", "teacher", "student", "speedup")
    rows = []
    for setting, words in _SETTINGS.items():
        each = speedup[setting]
        faster = f"{each['min']:.1f} / {each['median']:.1f} / {each['max']:.1f}"
        seconds = (each["teacher_seconds"]["median"], each["student_seconds"]["median"])
        rows.append((words, str(each["row_length"]), *map(format_duration, seconds), faster))
    return Table(title, header, rows)


def list_gaps(
    teacher: dict[str, LanguageScores], student: dict[str, LanguageScores], score: LanguageScoreName
) -> list[tuple[str, float, float]]:
    """(language, teacher's score, student's score), the largest loss first.

    Args:
        teacher, student: `per_language` of their scores.
        score: the one to compare; languages where it is undefined are left out.
    """
    pairs = []
    for language in teacher.keys() & student.keys():
        before, after = teacher[language][score], student[language][score]
        if before is not None and after is not None:
            pairs.append((language, before, after))
    return sorted(pairs, key=lambda pair: (pair[2] - pair[1], pair[0]))


def tabulate_gaps(
    teacher: dict[str, LanguageScores], student: dict[str, LanguageScores], score: LanguageScoreName
) -> list[tuple[str, ...]]:
    """The cells language, teacher, student, gap and sentences, in the order of `list_gaps`."""
    return [
        (
            language,
            format_score(before),
            format_score(after),
            f"{100 * (after - before):+.2f}",
            f"{student[language]['sentences']:,}",
        )
        for language, before, after in list_gaps(teacher, student, score)
    ]


def _tabulate_languages(results: Results, limit: int | None) -> Table | None:
    """The languages, largest loss of the student first."""
    split, score = scored_split(results), LANGUAGE_SCORE[results["task"]]
    if split == HELD_OUT:
        return _tabulate_agreement_languages(results, limit)
    other = name_other(results)
    teacher, student = results[other][split], results["student"][split]
    if teacher is None or student is None:
        return None
    rows = tabulate_gaps(teacher["per_language"], student["per_language"], score)
    if len(rows) < 2:
        return None
    title = "Languages, largest loss first"
    if limit is not None and len(rows) > limit:
        title = f"The {limit} of {len(rows)} languages with the largest loss"
    header = ("language", other, "student", "gap", "sentences")
    return Table(f"{title} ({split})", header, rows[:limit])


def _tabulate_agreement_languages(results: Results, limit: int | None) -> Table | None:
    """The languages of the held-out transfer texts, lowest agreement first."""
    score = LANGUAGE_SCORE[results["task"]]
    scores = results["student"]["agreement"][HELD_OUT]
    per_language = scores["per_language"] if scores is not None else {}
    known = {
        name: value for name, each in per_language.items() if (value := each[score]) is not None
    }
    if len(known) < 2:
        return None
    rows = [
        (name, format_score(known[name]), f"{per_language[name]['sentences']:,}")
        for name in sorted(known, key=lambda name: (known[name], name))[:limit]
    ]
    title = "Languages, lowest agreement first"
    if limit is not None and len(known) > limit:
        title = f"The {limit} of {len(known)} languages with the lowest agreement"
    return Table(f"{title} (held-out transfer)", ("language", AGREEMENT, "sentences"), rows)


def tabulate_stages(results: Results) -> Table:
    """The score on dev after each stage, as in Table 4 of XtremeDistil."""
    main = MAIN_SCORE[results["task"]]
    score = f"{SCORE_NAMES[main]} dev" if has_gold(results) else AGREEMENT
    header = ("stage", "trained groups", "steps", "monitor", "best", score, "time")
    seconds = results["timing"]["stages"]
    rows = [
        (
            stage["name"],
            ", ".join(stage["groups"]),
            f"{stage['steps']:,}",
            stage["monitor"],
            UNKNOWN if stage["best"] is None else f"{stage['best']:.4g}",
            format_score(_get_score(stage["dev"], main)),
            format_duration(seconds.get(stage["name"])),
        )
        for stage in results["stages"]
    ]
    return Table("The student after each stage", header, rows, texts=(0, 1, 3))


def summarise(results: Results) -> dict[str, float | None]:
    """The numbers that tell runs apart: main scores, retention, compression and seconds."""
    main = MAIN_SCORE[results["task"]]
    numbers: dict[str, float | None] = {
        "retention": results["retention"],
        "compression": results["compression"],
        "seconds": results["timing"].get("total"),
    }
    models: tuple[ModelName, ...] = (name_other(results), "student")
    for model in models:
        row = results[model]
        for split, scores in (("dev", row["dev"]), ("test", row["test"])):
            numbers[f"{model}/{split}_{main}"] = _get_score(scores, main)
    return numbers


def name_score(results: Results, split: Split) -> str:
    """The score that models are compared by, such as "macro-F1 on test"."""
    if split == HELD_OUT:
        return f"{AGREEMENT} on held-out transfer texts"
    return f"{SCORE_NAMES[MAIN_SCORE[results['task']]]} on {split}"


def _get_score(scores: Scores | None, name: ScoreName) -> float | None:
    return None if scores is None else scores[name]
