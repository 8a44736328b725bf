"""The shape of results.json, and how to read it.

Scores are fractions. Whatever is undefined or was not measured is None (null in the file).
"""

from pathlib import Path
from typing import Any, Final, Literal, NotRequired, TypedDict, cast

from xdistil.errors import InputError
from xdistil.runtime.json_io import read_json

ScoreName = Literal["macro_f1", "micro_f1", "accuracy"]
LanguageScoreName = Literal["f1", "precision", "recall", "accuracy", "macro_f1", "micro_f1"]
ModelName = Literal["teacher", "before", "student"]
Split = Literal["dev", "test", "held_out"]

# The transfer texts that are kept out of training. A run without labels compares the predictions of
# student and teacher on them.
HELD_OUT: Final = "held_out"


class LanguageScores(TypedDict):
    """The scores of one language."""

    f1: NotRequired[float | None]  # these four: tagging alone
    precision: NotRequired[float | None]
    recall: NotRequired[float | None]
    entities: NotRequired[int]  # in the gold labels
    accuracy: NotRequired[float | None]  # classification with one label
    micro_f1: NotRequired[float | None]  # classification with several labels
    macro_f1: NotRequired[float | None]  # classification: the mean over classes or labels
    sentences: int


class Scores(TypedDict):
    """The scores of predictions, as `metrics.score` returns them."""

    accuracy: NotRequired[float | None]  # classification with one label
    macro_f1: float | None  # mean over languages (tagging), classes (classification) or labels
    micro_f1: NotRequired[float | None]  # tagging, and classification with several labels
    worst_10: NotRequired[float]  # mean of the ten lowest languages, where there are 20 or more
    per_language: dict[str, LanguageScores]


class WorstLanguages(TypedDict):
    """The ten languages in which the student is lowest, and the mean scores in these."""

    languages: list[str]  # lowest first
    teacher: float
    student: float
    retention: float | None  # the student's mean over the teacher's


class Agreement(TypedDict):
    """Scores of the student's predictions with the teacher's predictions as gold labels."""

    dev: Scores | None
    test: Scores | None
    held_out: Scores | None


class Parameters(TypedDict):
    """Numbers of parameters."""

    total: int
    embeddings: int  # of the word embeddings


class Sizes(TypedDict):
    """Sizes of a model folder in bytes."""

    model: int
    tokenizer: int
    folder: int  # everything but the model card


class ModelResult(TypedDict):
    """A teacher, a student, or the checkpoint that a student without a teacher starts from.

    A teacher known only by a file of signals has scores alone. Scores of a checkpoint are None
    where its head predicts none of the task's labels.
    """

    labels: int | None  # labelled sentences that it is trained on
    parameters: Parameters | None
    bytes: Sizes | None
    dev: Scores | None
    test: Scores | None
    agreement: NotRequired[Agreement]  # of the student in a run without labels


class StageResult(TypedDict):
    """One stage of a plan."""

    name: str
    groups: list[str]  # the parameter groups that are trained
    steps: int  # that were taken
    limit: int  # that it may take at most
    best_step: int
    monitor: str  # the name of what chooses the best step
    best: float | None  # its value at that step
    dev: Scores  # after the stage; without labels the agreement with the teacher


class StageRecord(StageResult):
    """A finished stage as a checkpoint holds it; results.json has the seconds under `timing`."""

    seconds: float


class BaselineResult(TypedDict):
    """The student trained on labels alone, with the learning rate that is best on dev."""

    name: str
    labels: int  # labelled sentences that it is trained on
    lr: float
    steps: int
    limit: int
    dev: Scores
    test: Scores | None


class GazetteerResult(TypedDict):
    """Scores of looking up the names of the training set."""

    dev: Scores | None
    test: Scores | None


class SpanScores(TypedDict):
    """Spans of annotators against gold; in classification a class is a span."""

    f1: float | None
    precision: float | None
    recall: float | None
    found: int
    wanted: int


class AnnotatorScores(TypedDict):
    """The same of an annotator or a combination of votes, as a whole and in parts."""

    f1: float | None
    precision: float | None
    recall: float | None
    found: int
    wanted: int
    texts: int  # with an answer and gold
    types: dict[str, SpanScores]
    languages: dict[str, SpanScores]


class SettledSpans(TypedDict):
    """Spans of an annotator that were moved or rejected."""

    annotator: str
    reason: str
    spans: int


class SettledExample(TypedDict):
    """One of them."""

    reason: str
    annotator: str
    span: str
    text: str  # its beginning


class CalibrationResult(TypedDict):
    """Temperatures of votes by label, fitted to gold labels of dev."""

    units: int  # with votes and gold
    before: float  # mean negative log-likelihood of the gold labels, as the votes were
    after: float  # and calibrated
    temperatures: dict[str, float]


class AnnotatorsResult(TypedDict):
    """The annotators that a student, or its teacher, learns from."""

    names: list[str]
    texts: int  # in their files
    unmarked: int  # in which nobody marked anything
    alpha: float | None  # Krippendorff's, over units
    spans: dict[str, int]  # of each annotator that marks spans
    settled: list[SettledSpans]
    examples: list[SettledExample]
    compared: int  # texts that have gold, in dev
    annotators: dict[str, AnnotatorScores]  # on dev, as far as it is among the texts
    combined: dict[str, AnnotatorScores]  # votes by how they are combined, likewise
    votes: NotRequired[str]  # how they were combined; earlier versions did not say
    left_out: NotRequired[dict[str, int]]  # units, and texts with such units, of little agreement
    calibration: NotRequired[CalibrationResult]  # of these votes, with teacher.calibrate


class OriginalScores(TypedDict):
    """Scores under the rules of XtremeDistil's own code, as in `evaluation/original.py`."""

    macro_f1: float | None
    micro_f1: float | None


class OriginalResult(TypedDict):
    """Those of the predictions on test, or on dev where there is no test."""

    teacher: NotRequired[OriginalScores]
    student: OriginalScores


class QuantizationResult(TypedDict):
    """The content of quantization.json."""

    format: int  # 1
    float32_bytes: int
    chosen: str | None  # the name of the candidate that was written
    tried: list[dict[str, Any]]  # each a `quantize.Trial`


class ExportResult(TypedDict):
    """The student's ONNX files; the optional keys are those of `QuantizationResult`."""

    bytes: int | None  # of the file in float32
    refused: str | None  # why a file was not written
    format: NotRequired[int]
    float32_bytes: NotRequired[int]
    chosen: NotRequired[str | None]
    tried: NotRequired[list[dict[str, Any]]]


class Spread(TypedDict):
    """What was measured in several rounds."""

    min: float
    median: float
    max: float


class SpeedResult(Spread):
    """How many times faster than the teacher the student is, and the seconds of a forward pass."""

    teacher_seconds: Spread
    student_seconds: Spread
    row_length: int
    rounds: int


class Speedup(TypedDict):
    """The speed of teacher and student, as `speed.measure_speed` returns it."""

    batch_32: SpeedResult
    single: SpeedResult
    dtype: str
    threads: int
    device: str


class Timing(TypedDict):
    """Everything in results.json that differs between two runs of the same experiment."""

    stages: dict[str, float]  # seconds by the name of the student's stage
    speedup: Speedup | None
    phases: NotRequired[dict[str, float]]  # seconds by part of the run, before stops too
    total: NotRequired[float]  # seconds of the run, which adds it at its end


class Results(TypedDict):
    """The content of results.json."""

    format: int  # 1
    task: str  # tagging, classification or multilabel
    seed: int
    gold: NotRequired[bool]  # False: there are no labels to learn from; no key means True
    selected_on: str  # dev; agreement in a run without labels; votes, if they label dev
    teacher: NotRequired[ModelResult]
    before: NotRequired[ModelResult]  # in place of the teacher in a run without one
    student: ModelResult
    retention: float | None  # the student's main score over the teacher's, on test if there is one
    worst_10: NotRequired[WorstLanguages]  # with a teacher, and 20 languages or more
    compression: float | None  # the teacher's parameters over the student's
    stages: list[StageResult]  # of the student's plan, in order
    passes: NotRequired[float]  # of a model as the teacher over the texts of these stages
    baselines: list[BaselineResult]
    gazetteer: GazetteerResult | None
    annotators: NotRequired[AnnotatorsResult]  # where there are some
    original: NotRequired[OriginalResult]  # of tagging with gold labels
    timing: Timing
    export: NotRequired[ExportResult | None]  # where an export is asked for


def read_results(workdir: Path) -> Results | None:
    """results.json of a finished run, None before; InputError where the file is damaged."""
    path = workdir / "results.json"
    if not path.exists():
        return None
    try:
        results = read_json(path)
    except InputError as error:
        raise InputError(
            f"{str(error).removesuffix('.')}: remove it, and the same command writes it again."
        ) from error
    if missing := _find_missing(results):
        raise InputError(
            f"{path} has no {missing} of a run: remove it, and the same command writes it again."
        )
    return cast(Results, results)


def _find_missing(results: dict[str, Any]) -> str | None:
    """The first part of results.json that every run writes and that is not there."""
    if results.get("task") not in ("tagging", "classification", "multilabel"):
        return "task"
    for kind, names in ((dict, ("student", "timing")), (list, ("stages", "baselines"))):
        for name in names:
            if not isinstance(results.get(name), kind):
                return name
    for name in ("retention", "compression"):
        if name not in results:
            return name
    parts = ("parameters", "bytes", "dev", "test")
    return next((f"student.{name}" for name in parts if name not in results["student"]), None)


def name_task(scores: Scores) -> str:
    """The task that scores are of: tagging, classification or multilabel."""
    if "accuracy" in scores:
        return "classification"
    of_languages = next(iter(scores["per_language"].values()), {"f1": None})
    return "tagging" if "f1" in of_languages else "multilabel"


def has_gold(results: Results) -> bool:
    """Whether there are labels to learn from."""
    return results.get("gold", True)


def name_other(results: Results) -> ModelName:
    """The model that the student is compared with: its teacher, or itself before the run."""
    return "before" if "before" in results else "teacher"


def scored_split(results: Results) -> Split:
    """The split that models are compared on: test, else dev, else the held-out transfer texts."""
    if results["student"]["test"] is not None:
        return "test"
    if results["student"]["dev"] is not None or has_gold(results):
        return "dev"
    return HELD_OUT


def find_scores(results: Results, name: ModelName, split: Split) -> Scores | None:
    """A model's scores on a split; on held-out transfer the student's agreement with the teacher.

    None where the model is absent or has no scores there.
    """
    model = results.get(name)
    if model is None:
        return None
    if split == HELD_OUT:
        return model["agreement"][HELD_OUT] if "agreement" in model else None
    return model[split]
