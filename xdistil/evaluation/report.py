"""results.json -> tables for people: results.md, and the console at the end of a run.

The dict that results.json holds (scores are fractions as `scores.score` returns them; anything
undefined or not measured is null):

    format     1
    task       "tagging" or "classification"
    gold       false: there were no labels to learn from (true where the key is missing)
    seed, selected_on   "dev"; "agreement" without labels
    teacher    labels (sentences it learnt from), parameters {total, embeddings}, bytes {model,
               tokenizer, folder}, dev, test: scores; of signals from a file the scores alone
    before     the same, in the teacher's place, of the folder that a student without a teacher
               goes on from; scores are null where its head answers none of the labels
    student    the same; without labels also agreement: held_out, dev, test: scores of its answers
               with the teacher's as gold (dev and test of every model are of gold files, if any)
    retention  the student's main score on test (on dev without a test) over the teacher's
    compression   the teacher's parameters over the student's
    stages     of the student's plan, in order: name, groups (those that train), steps, best (of
               what is monitored), monitor (its name), dev: scores after the stage (without labels
               agreement with the teacher on the held-out texts)
    baselines  the student without a teacher: name, labels (sentences), lr, steps, dev, test: scores
    gazetteer  dev, test: scores of looking the training names up
    export     where it was asked for: as `phases.export_student` returns it
    timing     total and stages {name: seconds}, speedup: as `speed.measure_speed` returns it

Tables show percent, as papers do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from xdistil.evaluation.formatting import (
    UNKNOWN,
    align,
    format_bytes,
    format_count,
    format_duration,
    format_score,
)
from xdistil.evaluation.metrics import MAIN_SCORE

SCORE_NAMES = {"macro_f1": "macro-F1", "micro_f1": "micro-F1", "accuracy": "accuracy"}
_SECOND_SCORE = {"tagging": "micro_f1", "classification": "macro_f1"}
LANGUAGE_SCORE = {"tagging": "f1", "classification": "accuracy"}
_SETTINGS = {"batch_32": "32 sentences at once", "single": "one sentence"}
AGREEMENT = "agreement with the teacher"  # stands for a score where there are no labels
HELD_OUT = "held_out"  # the transfer texts on which answers are compared in a run without labels


@dataclass(frozen=True)
class _Table:
    """Cells as text; the first column is words, the others are numbers unless named in `texts`."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    texts: tuple[int, ...] = (0,)  # columns aligned to the left


def render_markdown(results: dict) -> str:
    """The whole report: every language and every stage."""
    parts = [f"# {_describe_run(results)}", " ".join(describe_outcome(results))]
    for table in _list_tables(results, languages=None):
        align = ["---" if i in table.texts else "---:" for i in range(len(table.header))]
        lines = [table.header, align, *table.rows]
        rendered = "\n".join("| " + " | ".join(map(_escape, line)) + " |" for line in lines)
        parts.append(f"## {table.title}\n\n{rendered}")
    return "\n\n".join(part for part in parts if part) + "\n"


def render_console(results: dict) -> str:
    """The report for a terminal: the same tables, of the languages only the five worst."""
    parts = [_describe_run(results)]
    for table in _list_tables(results, languages=5):
        lines = align([table.header, *table.rows], table.texts)
        parts.append("\n".join([table.title, *(f"  {line}" for line in lines)]))
    parts.append("\n".join(describe_outcome(results)))
    return "\n\n".join(part for part in parts if part) + "\n"


def render_scores(kind: str, scores: dict) -> str:
    """One table of one model's scores, by language where there are several.

    Args:
        kind: "tagging" or "classification".
        scores: as `scores.score` returns them.
    """
    columns: tuple[str, ...] = ("f1", "precision", "recall", "entities", "sentences")
    if kind == "classification":
        columns = ("accuracy", "macro_f1", "sentences")
    rows = [("language", *(SCORE_NAMES.get(column, column) for column in columns))]
    for language, each in scores["per_language"].items():
        rows.append((language, *(format_score(each[column]) for column in columns)))
    names = (MAIN_SCORE[kind], _SECOND_SCORE[kind])
    totals = ", ".join(f"{SCORE_NAMES[name]} {format_score(scores[name])}" for name in names)
    return "\n".join([*align(rows, (0,)), totals]) + "\n"


def _list_tables(results: dict, languages: int | None) -> list[_Table]:
    tables = [
        _tabulate_models(results),
        _tabulate_speed(results),
        _tabulate_languages(results, languages),
        _tabulate_stages(results),
    ]
    return [table for table in tables if table is not None and table.rows]


def _describe_run(results: dict) -> str:
    chosen = f"chosen on {results['selected_on']}"
    if not has_gold(results):
        chosen = "without labels, chosen by agreement with the teacher on held-out texts"
    return f"{results['task'].capitalize()}, seed {results['seed']}, {chosen}"


def describe_outcome(results: dict) -> list[str]:
    """What the student keeps and what it saves, in sentences."""
    kind, split = results["task"], scored_split(results)
    if "before" in results:
        return [_describe_change(results, split), *_describe_split(results, split)]
    lines = []
    if not has_gold(results):
        agreement = format_score(
            _get(results, "student", "agreement", "held_out", MAIN_SCORE[kind])
        )
        lines.append(
            f"The student's agreement with the teacher on held-out texts is {agreement} "
            f"({SCORE_NAMES[MAIN_SCORE[kind]]} with the teacher's answers as gold)."
        )
    retention = results.get("retention")
    if retention is not None:
        lines.append(
            f"The student keeps {100 * retention:.1f}% of the teacher's "
            f"{SCORE_NAMES[MAIN_SCORE[kind]]} on {split}."
        )
    savings = []
    compression = results.get("compression")
    if compression is not None:
        savings.append(f"{compression:.1f} times fewer parameters")
    sizes = [_get(results, model, "bytes", "model") for model in ("teacher", "student")]
    if all(sizes):
        savings.append(f"a model file {sizes[0] / sizes[1]:.1f} times smaller")
    for setting, words in _SETTINGS.items():
        faster = _get(results, "timing", "speedup", setting, "median")
        if faster is not None:
            savings.append(f"{faster:.1f} times the speed ({words})")
    if savings:
        lines.append(f"It has {_join(savings)}.")
    return [*lines, *_describe_split(results, split)]


def _describe_change(results: dict, split: str) -> str:
    """What became of the student in a run without a teacher."""
    before, after = (
        _get(results, name, split, MAIN_SCORE[results["task"]]) for name in ("before", "student")
    )
    told = f"{name_score(results, split)} is {format_score(after)}"
    if before is None or after is None:
        return f"The student's {told}; before, it had no score."
    return (
        f"The student's {told}; before, it was {format_score(before)} "
        f"({100 * (after - before):+.2f})."
    )


def _describe_split(results: dict, split: str) -> list[str]:
    if split == "dev" and has_gold(results):
        return ["There is no test set: every score is of dev, which also chose."]
    return []


def _tabulate_models(results: dict) -> _Table:
    kind = results["task"]
    if not has_gold(results):
        return _tabulate_agreement(results)
    main, second = MAIN_SCORE[kind], _SECOND_SCORE[kind]
    header = (
        "model",
        "labels",
        f"{SCORE_NAMES[main]} dev",
        f"{SCORE_NAMES[main]} test",
        f"{SCORE_NAMES[second]} test",
        "parameters",
        "of them embeddings",
        "model file",
    )

    def describe(name: str, scored: dict, sized: dict) -> tuple[str, ...]:
        return (
            name,
            format_score(scored.get("labels")),
            format_score(_get(scored, "dev", main)),
            format_score(_get(scored, "test", main)),
            format_score(_get(scored, "test", second)),
            format_count(_get(sized, "parameters", "total")),
            format_count(_get(sized, "parameters", "embeddings")),
            format_bytes(_get(sized, "bytes", "model")),
        )

    student = results.get("student") or {}
    rows = [
        describe(name, results[name], results[name])
        for name in (name_other(results), "student")
        if results.get(name)
    ]
    for baseline in results.get("baselines") or ():
        rows.append(describe(f"{baseline['name']} (lr {baseline['lr']:g})", baseline, student))
    if results.get("gazetteer"):
        rows.append(describe("training names looked up", results["gazetteer"], {}))
    return _Table("Models", header, rows)


def _tabulate_agreement(results: dict) -> _Table:
    """Of a run without labels: agreement with the teacher, and scores of the gold files there."""
    main = MAIN_SCORE[results["task"]]
    columns: list[tuple[str, tuple[str, ...]]] = [
        (f"{AGREEMENT}, held out", ("agreement", "held_out", main))
    ]
    for split in ("dev", "test"):
        if _get(results, "student", split) is not None:
            columns.append((f"{AGREEMENT}, {split}", ("agreement", split, main)))
            columns.append((f"{SCORE_NAMES[main]} gold {split}", (split, main)))
    header = ("model", *(name for name, _ in columns), "parameters", "of them embeddings")
    rows = [
        (
            name,
            *(format_score(_get(results[name], *path)) for _, path in columns),
            format_count(_get(results[name], "parameters", "total")),
            format_count(_get(results[name], "parameters", "embeddings")),
            format_bytes(_get(results[name], "bytes", "model")),
        )
        for name in ("teacher", "student")
    ]
    return _Table("Models", (*header, "model file"), rows)


def _tabulate_speed(results: dict) -> _Table | None:
    speedup = _get(results, "timing", "speedup")
    if speedup is None:
        return None
    title = (
        f"Speed ({speedup['dtype']}, {speedup['threads']} threads, {speedup['device']};"
        " medians, and times faster as lowest / median / highest)"
    )
    header = ("at a time", "row length", "teacher", "student", "times faster")
    rows = []
    for setting, words in _SETTINGS.items():
        each = speedup[setting]
        faster = " / ".join(f"{each[name]:.1f}" for name in ("min", "median", "max"))
        seconds = [each[f"{model}_seconds"]["median"] for model in ("teacher", "student")]
        rows.append((words, str(each["row_length"]), *map(format_duration, seconds), faster))
    return _Table(title, header, rows)


def list_gaps(teacher: dict, student: dict, score: str) -> list[tuple[str, float]]:
    """(language, student's score minus teacher's), the largest loss first.

    Args:
        teacher, student: `per_language` of their scores.
        score: the one to compare; languages where it is undefined are left out.
    """
    gaps = []
    for language in teacher.keys() & student.keys():
        before, after = teacher[language][score], student[language][score]
        if before is not None and after is not None:
            gaps.append((language, after - before))
    return sorted(gaps, key=lambda gap: (gap[1], gap[0]))


def tabulate_gaps(teacher: dict, student: dict, score: str) -> list[tuple[str, ...]]:
    """Rows of language, teacher, student, gap, sentences: as `list_gaps`, written out."""
    return [
        (
            language,
            format_score(teacher[language][score]),
            format_score(student[language][score]),
            f"{100 * gap:+.2f}",
            f"{student[language]['sentences']:,}",
        )
        for language, gap in list_gaps(teacher, student, score)
    ]


def _tabulate_languages(results: dict, limit: int | None) -> _Table | None:
    """Languages by how much the student loses on them, the most first."""
    split, score = scored_split(results), LANGUAGE_SCORE[results["task"]]
    if split == HELD_OUT:
        return _tabulate_agreement_languages(results, limit)
    other = name_other(results)
    teacher = _get(results, other, split, "per_language") or {}
    student = _get(results, "student", split, "per_language") or {}
    rows = tabulate_gaps(teacher, student, score)
    if len(rows) < 2:
        return None
    title = "Languages, the largest loss first"
    if limit is not None and len(rows) > limit:
        title = f"The {limit} languages of {len(rows)} that lose most"
    header = ("language", other, "student", "gap", "sentences")
    return _Table(f"{title} ({split})", header, rows[:limit])


def _tabulate_agreement_languages(results: dict, limit: int | None) -> _Table | None:
    """Languages of the held-out texts by how little the student agrees with the teacher."""
    score = LANGUAGE_SCORE[results["task"]]
    per_language = _get(results, "student", "agreement", "held_out", "per_language") or {}
    known = {name: each for name, each in per_language.items() if each[score] is not None}
    if len(known) < 2:
        return None
    rows = [
        (name, format_score(known[name][score]), f"{known[name]['sentences']:,}")
        for name in sorted(known, key=lambda name: (known[name][score], name))[:limit]
    ]
    title = "Languages, the least agreement first"
    if limit is not None and len(known) > limit:
        title = f"The {limit} languages of {len(known)} that agree least"
    return _Table(f"{title} (held out)", ("language", AGREEMENT, "sentences"), rows)


def _tabulate_stages(results: dict) -> _Table:
    """The dev score after every sub-stage, as XtremeDistil's Table 4 has it."""
    main = MAIN_SCORE[results["task"]]
    score = f"{SCORE_NAMES[main]} dev" if has_gold(results) else AGREEMENT
    header = ("stage", "trains", "steps", "monitor", "its best", score, "time")
    seconds = _get(results, "timing", "stages") or {}
    rows = [
        (
            stage["name"],
            ", ".join(stage["groups"]),
            f"{stage['steps']:,}",
            stage["monitor"],
            UNKNOWN if stage["best"] is None else f"{stage['best']:.4g}",
            format_score(_get(stage, "dev", main)),
            format_duration(seconds.get(stage["name"])),
        )
        for stage in results.get("stages") or ()
    ]
    return _Table("The student after every stage", header, rows, texts=(0, 1, 3))


def has_gold(results: dict) -> bool:
    """Whether there were labels to learn from."""
    return results.get("gold", True)


def name_other(results: dict) -> str:
    """What the student stands beside: its teacher, or itself before a run without one."""
    return "before" if "before" in results else "teacher"


def scored_split(results: dict) -> str:
    """Where models are compared: test, else dev; held_out without labels and gold files."""
    for split in ("test", "dev"):
        if _get(results, "student", split) is not None:
            return split
    return "dev" if has_gold(results) else HELD_OUT


def find_scores(results: dict, which: str, split: str) -> dict | None:
    """A model's scores on a split; on the held-out texts the student's agreement with its teacher,
    None for the teacher."""
    path = (which, "agreement", split) if split == HELD_OUT else (which, split)
    return _get(results, *path)


def name_score(results: dict, split: str) -> str:
    """What models are compared by, in words: macro-F1 on test, agreement ... on held-out texts."""
    if split == HELD_OUT:
        return f"{AGREEMENT} on held-out texts"
    return f"{SCORE_NAMES[MAIN_SCORE[results['task']]]} on {split}"


def _get(tree: dict | None, *path: str):
    """The value at a path, None where the path ends early."""
    value = tree
    for name in path:
        if value is None:
            return None
        value = value.get(name)
    return value


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
