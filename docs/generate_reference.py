"""Writes docs/config.md: every field of an experiment, from the dataclasses and their comments.

python docs/generate_reference.py
"""

import ast
import dataclasses
import inspect
import io
import sys
import tokenize
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # a checkout need not be installed

from xdistil import config  # noqa: E402
from xdistil.config import Experiment  # noqa: E402

HEADER = """# Configuration reference

This page lists every field of an experiment. It is generated from xdistil/config.py by
`python docs/generate_reference.py`.

Each field is a flag: `--config.FIELD=VALUE`. A field of a stage is written
`--config.plan[0].lr=1e-3`, a field of a baseline `--config.baselines[0].epochs=3`;
`--config.baselines=` trains no baselines. Fields that take several values separate them by
commas. An empty text or a zero means "not set". `plan` and `baselines` are empty by default: the
config file fills them.
"""


def read_comments(source: str) -> dict[tuple[str, str], str]:
    """(class, field) -> the comment behind it."""
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    return {
        (part.name, statement.target.id): comments.get(statement.end_lineno or 0)
        or comments.get(statement.lineno, "")
        for part in ast.parse(source).body
        if isinstance(part, ast.ClassDef)
        for statement in part.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }


def render_reference() -> str:
    """The page."""
    comments = read_comments(inspect.getsource(config))
    experiment = Experiment()
    parts = [("", experiment), ("plan[i].", config.Stage()), ("baselines[i].", config.Baseline())]
    parts += [
        (f"{item.name}.", getattr(experiment, item.name))
        for item in dataclasses.fields(experiment)
        if dataclasses.is_dataclass(getattr(experiment, item.name))
    ]
    text = [HEADER]
    for prefix, part in parts:
        kind = type(part)
        text.append(f"## {prefix.rstrip('.') or 'The experiment'}\n\n{inspect.getdoc(kind)}\n")
        text.append("| field | default | meaning |\n|---|---|---|")
        for item in dataclasses.fields(part):
            value = getattr(part, item.name)
            if dataclasses.is_dataclass(value):
                continue
            shown = "empty" if value in ("", ()) else f"`{value}`"
            if isinstance(value, tuple) and value:
                shown = ", ".join(f"a stage `{stage.name}`" for stage in value)
            meaning = comments[kind.__name__, item.name].replace("|", "\\|")
            text.append(f"| `{prefix}{item.name}` | {shown} | {meaning} |")
        text.append("")
    return "\n".join(text)


if __name__ == "__main__":
    (HERE / "config.md").write_text(render_reference(), encoding="utf-8")
