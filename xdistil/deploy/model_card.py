"""The model card: a model folder's README.md, with metadata for the hub.

Its content comes from results.json, config.json and environment.json of the run, and from the ONNX
files in the folder.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from xdistil.config import Experiment, Stage, Student, find_stored
from xdistil.data.decoding import VITERBI
from xdistil.data.examples import UNKNOWN_LANGUAGE
from xdistil.deploy.onnx_card import render_files
from xdistil.errors import InputError
from xdistil.evaluation.formatting import format_bytes, format_count, format_duration, format_score
from xdistil.evaluation.metrics import LANGUAGE_SCORE, MAIN_SCORE
from xdistil.evaluation.report import (
    AGREEMENT,
    describe_outcome,
    name_score,
    tabulate_gaps,
)
from xdistil.evaluation.results import (
    HELD_OUT,
    LanguageScores,
    ModelName,
    ModelResult,
    Results,
    Split,
    find_scores,
    has_gold,
    name_other,
    scored_split,
)
from xdistil.models.families.bilstm import MODEL_TYPE
from xdistil.models.hf.record import read_decoding
from xdistil.plans import without_labels
from xdistil.runtime.json_io import read_json, write_text

_PIPELINES = {
    "tagging": "token-classification",
    "classification": "text-classification",
    "multilabel": "text-classification",
}
_TASKS = {
    "tagging": "named-entity recognition",
    "classification": "text classification",
    "multilabel": "text classification with any number of labels",
}
_METRICS = {"f1": "f1", "accuracy": "accuracy", "micro_f1": "f1"}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_WORST = 5
_CITATION = """\
The method is that of XtremeDistil ([arXiv:2004.05686](https://arxiv.org/abs/2004.05686)):

```bibtex
@inproceedings{mukherjee2020xtremedistil,
  title = {{XtremeDistil}: Multi-stage Distillation for Massive Multilingual Models},
  author = {Mukherjee, Subhabrata and Hassan Awadallah, Ahmed},
  booktitle = {Proceedings of ACL},
  year = {2020}
}
```"""


def write_card(
    folder: Path,
    which: ModelName,
    results: Results,
    experiment: Experiment,
    environment: dict[str, Any],
) -> None:
    """Writes README.md into a model folder, atomically.

    Args:
        which: "student" or "teacher".
        environment: the content of environment.json.
    """
    text = render_card(folder, which, results, experiment, environment)
    write_text(folder / "README.md", text)


def read_card(folder: Path) -> list[tuple[str, str, str, str]]:
    """(language, split, score, percent) of every score in a folder's card; empty without a card.

    Raises:
        InputError: the card's metadata cannot be read.
    """
    path = folder / "README.md"
    if not path.exists() or not path.read_bytes().startswith(b"---\n"):  # no metadata
        return []
    try:
        found = ModelCard.load(path).data.eval_results or []
    except Exception as error:  # of YAML, or of its content
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
    which: ModelName,
    results: Results,
    experiment: Experiment,
    environment: dict[str, Any],
) -> str:
    """The card's text: YAML, then Markdown. The arguments are those of `write_card`."""
    split = scored_split(results)
    license = environment["licenses"][which]
    metadata = _describe_metadata(which, results, experiment, split, license)
    kind = results["task"]
    scores = find_scores(results, which, split)
    reached = "It was fine-tuned before this run, which does not score it."
    if scores is not None:
        reached = f"{name_score(results, split)}: {format_score(scores[MAIN_SCORE[kind]])}."
        reached = reached[0].upper() + reached[1:]
    plan = experiment.plan if which == "student" else experiment.teacher.plan
    parts = [
        f"---\n{metadata.to_yaml()}\n---",
        f"# {metadata.model_name}",
        f"A {which} model for {_TASKS[kind]}. {reached} {_describe_size(results[which])}",
        "## Use",
        _describe_use(folder, kind, plan),
        render_files(folder),
        *_render_languages(results, split),
    ]
    if which == "student":
        other = "its teacher" if name_other(results) == "teacher" else "its checkpoint"
        parts += [f"## Compared with {other}", " ".join(describe_outcome(results))]
        parts += [_describe_speed(results, environment)]
    parts += [
        "## Training",
        _describe_training(which, results, experiment, environment),
        "## Limits",
        _describe_limits(results, which, split),
        "## License",
        _describe_license(license),
        "## Citation",
        _CITATION,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _describe_size(model: ModelResult) -> str:
    parameters, sizes = model["parameters"], model["bytes"]
    if parameters is None or sizes is None:  # a teacher known by its signals alone
        return ""
    return (
        f"It has {format_count(parameters['total'])} parameters "
        f"({format_count(parameters['embeddings'])} in the word embeddings). The model file takes "
        f"{format_bytes(sizes['model'])}, the tokenizer {format_bytes(sizes['tokenizer'])}."
    )


def _describe_metadata(
    which: ModelName,
    results: Results,
    experiment: Experiment,
    split: Split,
    license: dict[str, str],
) -> ModelCardData:
    kind = results["task"]
    data = experiment.data
    name = Path(data.folder).name if data.folder else "generated" if data.generate else "texts"
    scores = find_scores(results, which, split)
    languages: dict[str, LanguageScores] = scores["per_language"] if scores else {}
    score = LANGUAGE_SCORE[kind]
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
            ("all", scores[MAIN_SCORE[kind]] if scores else None),
            *((language, each[score]) for language, each in sorted(languages.items())),
        )
        if value is not None
    ]
    return ModelCardData(
        language=sorted(languages.keys() - {UNKNOWN_LANGUAGE}) or None,
        license=license.get("license"),
        license_name=license.get("license_name"),
        license_link=license.get("license_link"),
        base_model=base if _HUB_ID.fullmatch(base) and not Path(base).exists() else None,
        pipeline_tag=_PIPELINES[kind],
        library_name="xdistil",
        tags=["distillation"] if which == "student" else [],
        datasets=[name] if data.folder else None,
        metrics=[_METRICS[score]],
        model_name=f"{name}-{which}",
        eval_results=evaluated,
    )


def _name_base(results: Results, experiment: Experiment) -> str:
    """The name of the pretrained model that the run starts from; empty without one."""
    if name_other(results) == "before":
        return experiment.student.checkpoint
    return experiment.teacher.model


def _describe_use(folder: Path, kind: str, plan: Sequence[Stage]) -> str:
    texts = "FILE" if kind == "tagging" else "FILE  # one text per line, or two separated by a tab"
    answer = 'tag(["Some text"])[0].entities' if kind == "tagging" else 'classify(["Some text"])[0]'
    blocks = [
        "FOLDER is the path of this folder, or the model's id on the Hugging Face hub:",
        f"```bash\nxdistil predict --model=FOLDER --input={texts}\n```",
        f'```python\nimport xdistil\n\nprint(xdistil.load("FOLDER").{answer})\n```',
    ]
    config = read_json(folder / "config.json")
    if config.get("model_type") == MODEL_TYPE:
        blocks.append(
            "`transformers.AutoTokenizer` opens the tokenizer. `transformers.AutoModel` does not "
            "open the model: the library has no model type `xdistil_bilstm`."
        )
    elif any("crf" in (stage.labels_loss, stage.logits_loss) for stage in plan):
        blocks.append(
            "`transformers` opens the model, but most tags of its pipeline would be wrong: it "
            "takes the most probable tag of each word, and this model learned tags of sentences."
        )
    else:
        pipeline = _PIPELINES[kind]
        more = {"tagging": ', aggregation_strategy="first"', "multilabel": ", top_k=None"}.get(
            kind, ""
        )
        blocks.append(
            "```python\nfrom transformers import pipeline\n\n"
            f'print(pipeline("{pipeline}", "FOLDER"{more})("Some text"))\n```'
        )
        if read_decoding(config, "config.json") == VITERBI:
            blocks.append(
                "The pipeline takes the most probable tag of each word. The scores of this card "
                "are of the most probable legal tags of a sentence, which `xdistil` predicts."
            )
    return "\n\n".join(blocks)


def _render_languages(results: Results, split: Split) -> list[str]:
    kind = results["task"]
    if split == HELD_OUT:
        return []  # the teacher has no score there
    other = name_other(results)
    teacher, student = results[other][split], results["student"][split]
    if teacher is None or student is None:  # signals of other texts, or a head of other labels
        return []
    rows = tabulate_gaps(teacher["per_language"], student["per_language"], LANGUAGE_SCORE[kind])
    before, after = teacher[MAIN_SCORE[kind]], student[MAIN_SCORE[kind]]
    gap = "-" if before is None or after is None else f"{100 * (after - before):+.2f}"
    sentences = sum(each["sentences"] for each in student["per_language"].values())
    rows.append(("all", format_score(before), format_score(after), gap, f"{sentences:,}"))
    lines = [f"| language | {other} | student | gap | sentences |", "|---|---:|---:|---:|---:|"]
    table = "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
    score = {"tagging": "F1", "classification": "Accuracy", "multilabel": "Micro-F1"}[kind]
    return [f"## Scores on {split}", f"{score} in percent, largest loss first.", table]


def _describe_training(
    which: ModelName, results: Results, experiment: Experiment, environment: dict[str, Any]
) -> str:
    plan = experiment.teacher.plan if which == "teacher" else experiment.plan
    if not has_gold(results):
        plan = without_labels(experiment.plan)
    stages: list[str] = []
    if which == "student" or experiment.teacher.finetune:
        stages = [f"- {_describe_stage(stage)}" for stage in plan]
    versions = ", ".join(
        f"{name} {environment['packages'][name]}" for name in ("jax", "flax", "optax")
    )
    data = [f"- {name}: `{digest[:16]}`" for name, digest in environment["data"].items()]
    return "\n\n".join(
        [
            _describe_origin(which, results, experiment),
            *(["\n".join(["Stages:\n", *stages])] if stages else []),
            f"Seed {results['seed']}, selected on {results['selected_on']}. {versions} on "
            f"{', '.join(environment['devices'])}, {_name_machine(environment)}. Command:",
            f"```bash\n{environment['command']}\n```",
            "First digits of the SHA-256 of the inputs:\n\n" + "\n".join(data),
        ]
    )


def _describe_origin(which: ModelName, results: Results, experiment: Experiment) -> str:
    teacher = experiment.teacher
    if name_other(results) == "before":
        return f"It is {_name_student(experiment.student)}, trained without a teacher."
    if stored := find_stored(teacher):
        origin = f"known by its {stored} in `{getattr(teacher, stored)}`"
    elif teacher.model:
        how = "fine-tuned on the labels" if teacher.finetune else "used as it is"
        origin = f"`{teacher.model}`, {how}"
    else:
        origin = (
            f"a transformer with {teacher.layers} layers of width {teacher.hidden_size}, trained "
            "from scratch on the labels"
        )
    if which == "teacher":
        return f"It is {origin}."
    return f"It is {_name_student(experiment.student)}. Its teacher is {origin}."


def _name_student(student: Student) -> str:
    if student.keep_layers:
        return f"a transformer made of layers of its teacher ({student.keep_layers})"
    if student.checkpoint:
        return f"a model initialized from `{student.checkpoint}`"
    if student.kind == "bilstm":
        layers = f"{student.layers} layers of " if student.layers > 1 else ""
        return (
            f"a BiLSTM with {layers}{student.hidden_size} units per direction and word embeddings "
            f"of size {student.embedding_size}"
        )
    return f"a transformer with {student.layers} layers of width {student.hidden_size}"


def _name_machine(environment: dict[str, Any]) -> str:
    return f"{environment['cpu_cores']} cores of {environment['cpu']}"


def _describe_stage(stage: Stage) -> str:
    unfreezing = ", gradual unfreezing from the head down" if stage.unfreeze == "gradual" else ""
    epochs = "1 epoch" if stage.epochs == 1 else f"{stage.epochs:g} epochs"
    share = f"{100 * stage.label_fraction:g}% of " if stage.label_fraction < 1 else ""
    return (
        f"{stage.name}: {stage.loss} loss on {share}the {stage.data} texts, at most {epochs}, "
        f"learning rate {stage.lr:g}{unfreezing}"
    )


def _describe_speed(results: Results, environment: dict[str, Any]) -> str:
    speedup = results["timing"]["speedup"]
    if speedup is None:
        return ""
    single, many = (
        each["student_seconds"]["median"] for each in (speedup["single"], speedup["batch_32"])
    )
    return (
        f"It takes {format_duration(single)} for a single sentence and {format_duration(many)} for "
        f"a batch of 32, without tokenization (JAX in {speedup['dtype']} on {speedup['device']}, "
        f"{_name_machine(environment)})."
    )


def _describe_limits(results: Results, which: ModelName, split: Split) -> str:
    score = LANGUAGE_SCORE[results["task"]]
    scores = find_scores(results, which, split)
    languages = {
        language: value
        for language, each in (scores["per_language"] if scores else {}).items()
        if (value := each[score]) is not None
    }
    worst = sorted(languages, key=lambda language: (languages[language], language))[:_WORST]
    source = "of its training data"
    if which == "student":
        source += " and of its " + ("teacher" if name_other(results) == "teacher" else "checkpoint")
    lines = []
    if len(languages) > 1:
        scored = ", ".join(f"{language} {format_score(languages[language])}" for language in worst)
        where = "held-out transfer texts" if split == HELD_OUT else split
        lines.append(f"Its worst languages on {where}: {scored}.")
    lines.append(
        "Scores may be far lower on other domains and languages than on the data it was tested on. "
        f"It inherits the biases {source}."
    )
    return " ".join(lines)


def _describe_license(license: dict[str, str]) -> str:
    stated = f"No license is stated: {license.get('unknown')}."
    if "license" in license:
        name = " ".join(license[key] for key in ("license", "license_name") if key in license)
        stated = f"`{name}`, as stated by {license['said_by']}."
    return f"{stated} The training texts and labels may have their own terms."
