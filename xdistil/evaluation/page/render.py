"""The whole page, and its file."""

import base64
import hashlib
import string
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from xdistil.evaluation.page.analysis import analyse
from xdistil.evaluation.page.annotators import render_annotators
from xdistil.evaluation.page.files import RunFiles, read_run
from xdistil.evaluation.page.languages import render_languages
from xdistil.evaluation.page.making import (
    render_course,
    render_details,
    render_stages,
    render_times,
)
from xdistil.evaluation.page.markup import Markup, element, escape, join
from xdistil.evaluation.page.mistakes import render_errors, render_examples
from xdistil.evaluation.page.models import render_models
from xdistil.evaluation.page.summary import render_summary
from xdistil.evaluation.results import Results, name_other
from xdistil.runtime.json_io import write_text

FILE = "report.html"


def render_page(run: RunFiles) -> str:
    """HTML that needs no other file and no network."""
    analysis = None
    if run.results is not None and run.predictions is not None:
        analysis = analyse(run.predictions, run.results["task"], name_other(run.results))
    sections = {
        "languages": ("Languages", render_languages(run, analysis)),
        "examples": ("Where they differ", render_examples(run, analysis)),
        "errors": ("Errors", render_errors(run, analysis)),
        "annotators": ("Annotators", render_annotators(run)),
        "models": ("Size and speed", render_models(run)),
        "training": ("Training", join([render_course(run), render_stages(run)])),
        "time": ("Time", render_times(run)),
        "details": ("How it was made", render_details(run)),
    }
    shown = {name: each for name, each in sections.items() if each[1]}
    if run.results is None:  # what changes comes first
        shown = {"training": shown.pop("training"), **shown} if "training" in shown else shown
    return render_document(run.name, "xdistil run", render_summary(run, analysis), shown)


def render_document(
    title: str, brand: str, summary: Markup, sections: Mapping[str, tuple[str, Markup]]
) -> str:
    """A page with its style and script.

    Args:
        sections: by id, each with its title.
    """
    links = [
        element("li", element("a", name, href=f"#{place}")) for place, (name, _) in sections.items()
    ]
    body = [
        element(
            "section",
            element("h2", name, id=f"{place}-title"),
            content,
            id=place,
            aria_labelledby=f"{place}-title",
        )
        for place, (name, content) in sections.items()
    ]
    style, script = _read("page.css"), _read("page.js")
    return string.Template(_read("page.html")).substitute(
        title=escape(title),
        brand=escape(brand),
        policy=escape(
            f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
        ),
        style=style,
        script=script,
        links=join(links),
        summary=summary,
        sections=Markup("\n").join(body),
    )


def write_page(workdir: Path, results: Results | None = None) -> None:
    """Writes report.html of a workdir, whole or not at all.

    Args:
        results: as in `read_run`.
    """
    write_text(workdir / FILE, render_page(read_run(workdir, results)))


def _read(name: str) -> str:
    return resources.files("xdistil.evaluation.page").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Of an inline style or script, as a Content-Security-Policy names it: no other one runs."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
