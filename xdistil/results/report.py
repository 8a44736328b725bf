"""results.json -> tables for people: results.md, and the console at the end of a run.

The dict that results.json holds (scores are fractions as `scores.score` returns them; anything
undefined or not measured is null):

    format     1
    task       "tagging" or "classification"
    seed, selected_on
    teacher    labels (sentences it learnt from), parameters {total, embeddings}, bytes {model,
               tokenizer, folder}, dev, test: scores; of signals from a file the scores alone
    student    the same
    retention  the student's main score on test (on dev without a test) over the teacher's
    compression   the teacher's parameters over the student's
    stages     of the student's plan, in order: name, groups (those that train), steps, best (of
               what is monitored), monitor (its name), dev: scores after the stage
    baselines  the student without a teacher: name, labels (sentences), lr, steps, dev, test: scores
    gazetteer  dev, test: scores of looking the training names up
    timing     total and stages {name: seconds}, speedup: as `speed.measure_speed` returns it

Tables show percent, as papers do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xdistil.results.scores import MAIN_SCORE

_NAMES = {"macro_f1": "macro-F1", "micro_f1": "micro-F1", "accuracy": "accuracy"}
_SECOND_SCORE = {"tagging": "micro_f1", "classification": "macro_f1"}
_LANGUAGE_SCORE = {"tagging": "f1", "classification": "accuracy"}
_SETTINGS = {"batch_32": "32 sentences at once", "single": "one sentence"}
_UNKNOWN = "-"


@dataclass(frozen=True)
class _Table:
    """Cells as text; the first column is words, the others are numbers unless named in `texts`."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    texts: tuple[int, ...] = (0,)  # columns aligned to the left


def render_markdown(results: dict) -> str:
    """The whole report: every language and every stage."""
    parts = [f"# {_describe_run(results)}", " ".join(_describe_outcome(results))]
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
        lines = _align([table.header, *table.rows], table.texts)
        parts.append("\n".join([table.title, *(f"  {line}" for line in lines)]))
    parts.append("\n".join(_describe_outcome(results)))
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
    rows = [("language", *(_NAMES.get(column, column) for column in columns))]
    for language, each in scores["per_language"].items():
        rows.append((language, *(_format_score(each[column]) for column in columns)))
    names = (MAIN_SCORE[kind], _SECOND_SCORE[kind])
    totals = ", ".join(f"{_NAMES[name]} {_format_score(scores[name])}" for name in names)
    return "\n".join([*_align(rows, (0,)), totals]) + "\n"


def _list_tables(results: dict, languages: int | None) -> list[_Table]:
    tables = [
        _tabulate_models(results),
        _tabulate_speed(results),
        _tabulate_languages(results, languages),
        _tabulate_stages(results),
    ]
    return [table for table in tables if table is not None and table.rows]


def _describe_run(results: dict) -> str:
    kind = results["task"]
    return f"{kind.capitalize()}, seed {results['seed']}, chosen on {results['selected_on']}"


def _describe_outcome(results: dict) -> list[str]:
    """What the student keeps and what it saves, in sentences."""
    kind = results["task"]
    split = _scored_split(results)
    lines = []
    retention = results.get("retention")
    if retention is not None:
        lines.append(
            f"The student keeps {100 * retention:.1f}% of the teacher's {_NAMES[MAIN_SCORE[kind]]}"
            f" on {split}."
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
    if split == "dev":
        lines.append("There is no test set: every score is of dev, which also chose.")
    return lines


def _tabulate_models(results: dict) -> _Table:
    kind = results["task"]
    main, second = MAIN_SCORE[kind], _SECOND_SCORE[kind]
    header = (
        "model",
        "labels",
        f"{_NAMES[main]} dev",
        f"{_NAMES[main]} test",
        f"{_NAMES[second]} test",
        "parameters",
        "of them embeddings",
        "model file",
    )

    def describe(name: str, scored: dict, sized: dict) -> tuple[str, ...]:
        return (
            name,
            _format_score(scored.get("labels")),
            _format_score(_get(scored, "dev", main)),
            _format_score(_get(scored, "test", main)),
            _format_score(_get(scored, "test", second)),
            _format_count(_get(sized, "parameters", "total")),
            _format_count(_get(sized, "parameters", "embeddings")),
            _format_bytes(_get(sized, "bytes", "model")),
        )

    student = results.get("student") or {}
    rows = [
        describe(name, results[name], results[name])
        for name in ("teacher", "student")
        if results.get(name)
    ]
    for baseline in results.get("baselines") or ():
        rows.append(describe(f"{baseline['name']} (lr {baseline['lr']:g})", baseline, student))
    if results.get("gazetteer"):
        rows.append(describe("training names looked up", results["gazetteer"], {}))
    return _Table("Models", header, rows)


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
        rows.append((words, str(each["row_length"]), *map(_format_duration, seconds), faster))
    return _Table(title, header, rows)


def _tabulate_languages(results: dict, limit: int | None) -> _Table | None:
    """Languages by how much the student loses on them, the most first."""
    split, score = _scored_split(results), _LANGUAGE_SCORE[results["task"]]
    teacher = _get(results, "teacher", split, "per_language") or {}
    student = _get(results, "student", split, "per_language") or {}
    losses = {}
    for language in teacher.keys() & student.keys():
        pair = teacher[language][score], student[language][score]
        if None not in pair:
            losses[language] = pair[0] - pair[1]
    if len(losses) < 2:
        return None
    rows = [
        (
            language,
            _format_score(teacher[language][score]),
            _format_score(student[language][score]),
            f"{100 * -losses[language]:+.2f}",
            f"{student[language]['sentences']:,}",
        )
        for language in sorted(losses, key=lambda language: (-losses[language], language))[:limit]
    ]
    title = "Languages, the largest loss first"
    if limit is not None and len(losses) > limit:
        title = f"The {limit} languages of {len(losses)} that lose most"
    return _Table(
        f"{title} ({split})", ("language", "teacher", "student", "gap", "sentences"), rows
    )


def _tabulate_stages(results: dict) -> _Table:
    """The dev score after every sub-stage, as XtremeDistil's Table 4 has it."""
    main = MAIN_SCORE[results["task"]]
    header = ("stage", "trains", "steps", "monitor", "its best", f"{_NAMES[main]} dev", "time")
    seconds = _get(results, "timing", "stages") or {}
    rows = [
        (
            stage["name"],
            ", ".join(stage["groups"]),
            f"{stage['steps']:,}",
            stage["monitor"],
            _UNKNOWN if stage["best"] is None else f"{stage['best']:.4g}",
            _format_score(_get(stage, "dev", main)),
            _format_duration(seconds.get(stage["name"])),
        )
        for stage in results.get("stages") or ()
    ]
    return _Table("The student after every stage", header, rows, texts=(0, 1, 3))


def _scored_split(results: dict) -> str:
    return "test" if _get(results, "student", "test") is not None else "dev"


def _get(tree: dict | None, *path: str):
    """The value at a path, None where the path ends early."""
    value = tree
    for name in path:
        if value is None:
            return None
        value = value.get(name)
    return value


def _align(rows: Sequence[Sequence[str]], texts: Iterable[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = set(texts)
    return [
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _format_score(value: float | int | None) -> str:
    """Fractions as percent, counts as they are."""
    if value is None:
        return _UNKNOWN
    return f"{value:,}" if isinstance(value, int) else f"{100 * value:.2f}"


def _format_count(value: int | None) -> str:
    if value is None:
        return _UNKNOWN
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return str(value)


def _format_bytes(value: int | None) -> str:
    if value is None:
        return _UNKNOWN
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            return f"{value / unit:.1f} {name}"
    return f"{value} B"


def _format_duration(seconds: float | None) -> str:
    if seconds is None:
        return _UNKNOWN
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min"
