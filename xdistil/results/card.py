"""A model folder's README.md: a model card with metadata that hubs read, and how it was made.

Everything in it comes from results.json, config.json and environment.json of its run.
"""

import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from xdistil.config import Experiment, Stage
from xdistil.data.examples import UNKNOWN_LANGUAGE
from xdistil.distill.plan import without_labels
from xdistil.errors import InputError
from xdistil.json_files import read_json
from xdistil.models.bilstm import MODEL_TYPE
from xdistil.results.report import (
    AGREEMENT,
    HELD_OUT,
    LANGUAGE_SCORE,
    describe_outcome,
    find_scores,
    has_gold,
    name_other,
    name_score,
    scored_split,
    tabulate_gaps,
)
from xdistil.results.scores import MAIN_SCORE
from xdistil.results.tables import format_bytes, format_count, format_duration, format_score

_PIPELINES = {"tagging": "token-classification", "classification": "text-classification"}
_METRICS = {"f1": "f1", "accuracy": "accuracy"}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_WORST = 5
_NOTHING: dict[str, dict] = {"per_language": {}}
_CITATIONS = """\
The method is that of Subhabrata Mukherjee and Ahmed Hassan Awadallah, XtremeDistil: Multi-stage
Distillation for Massive Multilingual Models, ACL 2020."""


def write_card(
    folder: Path,
    which: str,
    results: dict[str, Any],
    experiment: Experiment,
    environment: dict[str, Any],
) -> None:
    """Writes README.md into a model folder, whole or not at all.

    Args:
        which: "student" or "teacher".
        results: the content of results.json.
        environment: that of environment.json.
    """
    text = render_card(folder, which, results, experiment, environment)
    place = folder / ".README.md.partial"
    place.write_text(text, encoding="utf-8")
    os.replace(place, folder / "README.md")


def read_card(folder: Path) -> list[tuple[str, str, str, str]]:
    """(language, split, score, percent) of every score in a folder's card; empty without a card.

    Raises:
        InputError: its metadata cannot be read.
    """
    path = folder / "README.md"
    if not path.exists() or not path.read_bytes().startswith(b"---\n"):  # one without metadata
        return []
    try:
        found = ModelCard.load(path).data.eval_results or []
    except Exception as error:  # YAML's own errors, and those of what it holds
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{path}: its metadata cannot be read ({reason}).") from error
    return [
        (
            str(each.dataset_config or "all"),
            str(each.dataset_split or "-"),
            str(each.metric_name or each.metric_type),
            format_score(float(each.metric_value)),
        )
        for each in found
    ]


def render_card(
    folder: Path,
    which: str,
    results: dict[str, Any],
    experiment: Experiment,
    environment: dict[str, Any],
) -> str:
    """The card's text: YAML, then Markdown. Arguments as those of `write_card`."""
    split = scored_split(results)
    metadata = _describe_metadata(which, results, experiment, split)
    model = results[which]
    kind = results["task"]
    size = (
        f"{format_count(model['parameters']['total'])} parameters, "
        f"{format_count(model['parameters']['embeddings'])} of them word embeddings; model file "
        f"{format_bytes(model['bytes']['model'])}, tokenizer "
        f"{format_bytes(model['bytes']['tokenizer'])}."
    )
    scores = find_scores(results, which, split)
    score = "fine-tuned elsewhere"
    if scores is not None:
        score = f"{name_score(results, split)} {format_score(scores[MAIN_SCORE[kind]])}"
    parts = [
        f"---\n{metadata.to_yaml()}\n---",
        f"# {metadata.model_name}",
        f"A {which} for {_name_task(kind)}: {score}. {size}",
        "## Use",
        _describe_use(folder, kind),
        *_render_languages(results, split),
        "## How it was made",
        _describe_making(which, results, experiment, environment),
    ]
    if which == "student":
        beside = "its teacher" if name_other(results) == "teacher" else "what it was tuned from"
        parts += [f"## Beside {beside}", " ".join(describe_outcome(results))]
        parts += [_describe_speed(results, environment), _describe_export(results.get("export"))]
    parts += ["## Limits", _describe_limits(results, which, split), _CITATIONS]
    return "\n\n".join(part for part in parts if part) + "\n"


def _describe_metadata(
    which: str, results: dict[str, Any], experiment: Experiment, split: str
) -> ModelCardData:
    kind = results["task"]
    data = experiment.data
    name = Path(data.folder).name if data.folder else "generated" if data.generate else "texts"
    scores = find_scores(results, which, split) or {MAIN_SCORE[kind]: None, **_NOTHING}
    score, languages = LANGUAGE_SCORE[kind], scores["per_language"]
    shown = AGREEMENT if split == HELD_OUT else score
    base = _name_base(results, experiment)
    evaluated = [
        EvalResult(
            task_type=_PIPELINES[kind],
            dataset_type=name,
            dataset_name=name,
            dataset_config=language,
            dataset_split=split,
            metric_type=_METRICS[score],
            metric_name=shown,
            metric_value=value,
        )
        for language, value in (
            ("all", scores[MAIN_SCORE[kind]]),
            *((language, each[score]) for language, each in sorted(languages.items())),
        )
        if value is not None
    ]
    return ModelCardData(
        language=sorted(languages.keys() - {UNKNOWN_LANGUAGE}) or None,
        base_model=base if _HUB_ID.fullmatch(base) and not Path(base).exists() else None,
        pipeline_tag=_PIPELINES[kind],
        library_name="xdistil",
        tags=["distillation"] if which == "student" else [],
        datasets=[name] if data.folder else None,
        metrics=[_METRICS[score]],
        model_name=f"{name}-{which}",
        eval_results=evaluated,
    )


def _name_base(results: dict[str, Any], experiment: Experiment) -> str:
    """The model that the run began with, where it has a name."""
    if name_other(results) == "before":
        return experiment.student.checkpoint
    return experiment.teacher.model


def _name_task(kind: str) -> str:
    return "named-entity tagging" if kind == "tagging" else "text classification"


def _describe_use(folder: Path, kind: str) -> str:
    texts = "FILE" if kind == "tagging" else "FILE  # one text a line, or two with a tab between"
    answer = 'tag(["Some text"])[0].entities' if kind == "tagging" else 'classify(["Some text"])[0]'
    blocks = [
        f"```bash\nxdistil predict --model=FOLDER --input={texts}\n```",
        f'```python\nimport xdistil\n\nprint(xdistil.load("FOLDER").{answer})\n```',
    ]
    if (folder / "onnx" / "model.onnx").exists():
        blocks.append(
            "```python\nimport onnxruntime, tokenizers\n\n"
            'tokenizer = tokenizers.Tokenizer.from_file("FOLDER/tokenizer.json")\n'
            'session = onnxruntime.InferenceSession("FOLDER/onnx/model.onnx")\n```'
        )
    if read_json(folder / "config.json").get("model_type") == MODEL_TYPE:
        blocks.append(
            "`transformers.AutoTokenizer` opens the tokenizer; `AutoModel` refuses the folder, for "
            "the model type `xdistil_bilstm` is not one of that library's."
        )
    else:
        pipeline = _PIPELINES[kind]
        more = ', aggregation_strategy="first"' if kind == "tagging" else ""
        blocks.append(
            "```python\nfrom transformers import pipeline\n\n"
            f'print(pipeline("{pipeline}", "FOLDER"{more})("Some text"))\n```'
        )
    return "\n\n".join(blocks)


def _render_languages(results: dict[str, Any], split: str) -> list[str]:
    kind = results["task"]
    if split == HELD_OUT:
        return []  # the teacher has no score there, and the student's stands above
    other = name_other(results)
    student, teacher = results["student"][split]["per_language"], results[other][split]
    if teacher is None:  # signals from a file that does not have these texts, or other labels
        return []
    rows = tabulate_gaps(teacher["per_language"], student, LANGUAGE_SCORE[kind])
    totals = [results[name][split][MAIN_SCORE[kind]] for name in (other, "student")]
    sentences = sum(each["sentences"] for each in student.values())
    gap = "-" if None in totals else f"{100 * (totals[1] - totals[0]):+.2f}"
    rows.append(("all", *map(format_score, totals), gap, f"{sentences:,}"))
    lines = [f"| language | {other} | student | gap | sentences |", "|---|---:|---:|---:|---:|"]
    table = "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
    return [f"## Scores on {split}", table]


def _describe_making(
    which: str, results: dict[str, Any], experiment: Experiment, environment: dict[str, Any]
) -> str:
    plan = experiment.teacher.plan if which == "teacher" else experiment.plan
    if not has_gold(results):
        plan = without_labels(experiment.plan)
    stages: list[str] = []
    if which == "student" or experiment.teacher.finetune:
        stages = [f"- {_describe_stage(stage)}" for stage in plan]
    if name_other(results) == "before":
        stages = [f"Tuned from `{experiment.student.checkpoint}`, without a teacher:\n", *stages]
    versions = ", ".join(
        f"{name} {environment['packages'][name]}" for name in ("jax", "flax", "optax")
    )
    data = [f"- {name}: `{digest[:16]}`" for name, digest in environment["data"].items()]
    return "\n\n".join(
        [
            "\n".join(stages),
            f"Seed {results['seed']}; chosen on {results['selected_on']}; {versions}, "
            f"{environment['cpu_cores']} CPU cores, {', '.join(environment['devices'])}.",
            f"```bash\n{environment['command']}\n```",
            "SHA-256 of what it was made from (first digits):\n\n" + "\n".join(data),
        ]
    )


def _describe_stage(stage: Stage) -> str:
    thaw = ", thawing from the head downwards" if stage.unfreeze == "gradual" else ""
    return (
        f"{stage.name}: {stage.loss} on {stage.data} texts, at most {stage.epochs:g} epochs, "
        f"learning rate {stage.lr:g}{thaw}"
    )


def _describe_speed(results: dict[str, Any], environment: dict[str, Any]) -> str:
    speedup = results["timing"]["speedup"]
    if speedup is None:
        return ""
    single, many = (speedup[name]["student_seconds"]["median"] for name in ("single", "batch_32"))
    return (
        f"Measured on {environment['cpu_cores']} CPU cores ({speedup['device']}, "
        f"{speedup['dtype']}): {format_duration(single)} for one sentence and "
        f"{format_duration(many)} for 32 at once, tokenisation apart."
    )


def _describe_export(export: dict[str, Any] | None) -> str:
    """The ONNX files, and how the one in int8 did at the gate; `export` as results.json has it."""
    if export is None or export["bytes"] is None:
        return ""
    told = f"`onnx/model.onnx` has {format_bytes(export['bytes'])}."
    if export.get("chosen") is None:
        return told
    trial = export["tried"][-1]
    changes = " and ".join(
        f"{100 * (verdict['small'] - verdict['whole']):+.2f} points on {split}"
        for split in ("dev", "test")
        if (verdict := trial[split])
    )
    return (
        f"{told} `onnx/model_quantized.onnx` ({trial['name']}) has {format_bytes(trial['bytes'])}, "
        f"with tokenizer and config {format_bytes(trial['loaded'])}; against float32 it scores "
        f"{changes}, and no language is significantly worse."
    )


def _describe_limits(results: dict[str, Any], which: str, split: str) -> str:
    score = LANGUAGE_SCORE[results["task"]]
    languages = {
        language: each[score]
        for language, each in (find_scores(results, which, split) or _NOTHING)[
            "per_language"
        ].items()
        if each[score] is not None
    }
    worst = sorted(languages, key=lambda language: (languages[language], language))[:_WORST]
    other = name_other(results)
    source = "the teacher" if other == "teacher" else "the model that it was tuned from"
    lines = []
    if len(languages) > 1:
        told = ", ".join(f"{language} {format_score(languages[language])}" for language in worst)
        where = "held-out texts" if split == HELD_OUT else split
        lines.append(f"Its worst languages on {where}: {told}.")
    lines.append(
        "Scores are those of the data it was tested on; on other domains and languages they may be "
        f"far lower, and biases of the labels and of {source} are passed on."
    )
    return " ".join(lines)
