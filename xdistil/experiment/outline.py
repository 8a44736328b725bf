"""What a run is going to do, for whoever watches it: outline.json."""

from collections import Counter

from xdistil.distill.stages import StageRun
from xdistil.evaluation.page.files import Outline, PlannedStage
from xdistil.experiment.build import Run
from xdistil.teacher.model_teacher import ModelTeacher


def outline_run(run: Run) -> Outline:
    """The stages of all plans, with the names that metrics.jsonl has, and the texts."""
    size = run.experiment.batch_size

    def plan(name: str, stages: tuple[StageRun, ...]) -> list[PlannedStage]:
        return [
            {"plan": name, "name": stage.name, "steps": stage.count_steps(size).total}
            for stage in stages
        ]

    stages = plan("teacher", run.finetuning) if isinstance(run.teacher, ModelTeacher) else []
    stages += plan("student", run.stages)
    for index, baseline in enumerate(run.baselines):
        for number, stage in enumerate(baseline.stages):
            stages += plan(f"baseline-{index}-{number}", (stage,))
    corpus = run.corpus
    splits = {"train": corpus.train, "dev": corpus.dev, "test": corpus.test}
    if not corpus.gold:
        splits = {"dev": corpus.gold_dev, "test": corpus.test}
    counts = {
        name: Counter(example.language for example in examples)
        for name, examples in splits.items()
        if examples
    }
    return {
        "format": 1,
        "task": corpus.task.name,
        "stages": stages,
        "sentences": {name: dict(sorted(each.items())) for name, each in counts.items()},
        "transfer": len(corpus.all_transfer),
    }
