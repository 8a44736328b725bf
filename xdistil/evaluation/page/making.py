"""How a run was made: its stages, where the time went, device and config."""

import json

from xdistil.evaluation.formatting import (
    UNKNOWN,
    format_duration,
    format_score,
)
from xdistil.evaluation.page.charts import (
    draw_bar,
)
from xdistil.evaluation.page.course import find_metric, list_plans, render_plan
from xdistil.evaluation.page.files import RunFiles
from xdistil.evaluation.page.markup import Markup, element, join, table
from xdistil.evaluation.report import (
    SCORE_NAMES,
    tabulate_stages,
)

_PHASES = {
    "preparation": "data and models",
    "teacher": "teacher",
    "signals": "the teacher's signals",
    "student": "student",
    "baselines": "label-only baselines",
    "evaluation": "scores and speed",
}


def render_course(run: RunFiles) -> Markup:
    """Losses and dev scores of the student, of the teacher, and of the baselines."""
    plans = list_plans(run)
    if run.results is not None:  # the teacher may have been trained by another run
        plans = {plan: stages for plan, stages in plans.items() if any(s.lines for s in stages)}
    parts = []
    for plan in sorted(plans, key=lambda plan: (plan != "student", plan != "teacher")):
        content = render_plan(run, plan, plans[plan])
        title = _name_plan(run, plan)
        if plan in ("student", "teacher"):
            parts += [element("h3", title), content]
        else:
            parts.append(element("details", element("summary", title), content))
    note = "Grey lines are the borders of stages, which are numbered as in the table of stages."
    return join([element("p", note, class_="note"), *parts]) if parts else Markup("")


def render_stages(run: RunFiles) -> Markup:
    """The stages of the student, or while a run is in progress those of all plans."""
    if run.results is not None:
        found = tabulate_stages(run.results)
        if not found.rows:
            return Markup("")
        numbered = [(f"{number}", *row) for number, row in enumerate(found.rows, 1)]
        texts = tuple(column + 1 for column in found.texts)
        return table(found.title, ("", *found.header), numbered, texts)
    main = find_metric(run)
    rows: list[tuple[str, ...]] = []
    for plan, stages in list_plans(run).items():
        for number, stage in enumerate(stages, 1):
            scores = [line[f"dev_{main}"] for line in stage.lines if f"dev_{main}" in line]
            planned = f"{stage.planned:,}" if stage.planned else UNKNOWN
            rows.append(
                (
                    f"{plan} {number}",
                    stage.name,
                    f"{stage.steps:,}",
                    planned,
                    format_score(scores[-1]) if scores else UNKNOWN,
                )
            )
    header = ("plan", "stage", "steps", "at most", f"{SCORE_NAMES[main]} dev")
    return table("Stages so far", header, rows, (0, 1)) if rows else Markup("")


def render_times(run: RunFiles) -> Markup:
    """Where the time went."""
    phases: dict[str, float] = dict(run.times)
    stages: dict[str, float] = {}
    total = None
    if run.results is not None:
        timing = run.results["timing"]
        phases = dict(timing.get("phases", {}))
        stages, total = timing["stages"], timing.get("total")
    if not phases:
        phases = {"student": sum(stages.values())} if stages else {}
        if total and stages and total > phases["student"]:
            phases["the rest"] = total - phases["student"]
    whole = sum(phases.values())
    if not whole:
        return Markup("")
    rows = []
    for phase, seconds in phases.items():
        rows.append(_time_row(_PHASES.get(phase, phase), seconds, whole, "student"))
        if phase == "student":
            rows += [
                _time_row(element("span", name, class_="inner"), each, whole, "inner")
                for name, each in stages.items()
            ]
    caption = "Time by part of the run, and of the student by stage"
    note = (
        "The parts of a run that was stopped and resumed are added up; what a killed process did "
        "since its last finished part is not counted."
    )
    return join(
        [
            table(caption, ("part", "share of the whole", "%", "time"), rows, (0, 1)),
            element("p", f"In all: {format_duration(whole)}. {note}", class_="note"),
        ]
    )


def render_details(run: RunFiles) -> Markup:
    """How the run was made: device, versions, command, config."""
    environment = run.environment
    packages = environment.get("packages") or {}
    facts = {
        "device": ", ".join(environment.get("devices") or ()),
        "processor": environment.get("cpu") or "",
        "cores": str(environment.get("cpu_cores") or ""),
        "Python": environment.get("python") or "",
        **{str(name): str(version) for name, version in packages.items()},
    }
    items = [
        element("div", element("dt", name), element("dd", value))
        for name, value in facts.items()
        if value
    ]
    parts = [element("dl", *items, class_="facts")] if items else []
    if command := environment.get("command"):
        parts += [element("h3", "Command"), element("pre", str(command), tabindex=0)]
    if run.config:
        config = json.dumps(run.config, indent=2, ensure_ascii=False)
        parts.append(
            element(
                "details", element("summary", "config.json"), element("pre", config, tabindex=0)
            )
        )
    return join(parts)


def _time_row(name: str, seconds: float, whole: float, style: str) -> tuple[str, ...]:
    share = seconds / whole
    return (name, draw_bar(share, style), f"{100 * share:.1f}", format_duration(seconds))


def _name_plan(run: RunFiles, plan: str) -> str:
    """A plan in words; that of a baseline is named by its learning rate."""
    if not plan.startswith("baseline-"):
        return plan.capitalize()
    _, index, number = plan.split("-")
    try:
        baseline = run.config["baselines"][int(index)]
        rate = float(baseline["lrs"].split(",")[int(number)])
        return f"{str(baseline['name']).capitalize()}, learning rate {rate:g}"
    except (LookupError, ValueError, TypeError, AttributeError):
        return plan.capitalize()
