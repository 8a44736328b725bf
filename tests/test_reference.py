"""docs/config.md: every field of an experiment, as the dataclasses have it."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def load_generator():
    spec = importlib.util.spec_from_file_location("reference", DOCS / "generate_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_dataclasses_and_explains_every_field():
    page = (DOCS / "config.md").read_text(encoding="utf-8")
    assert page == load_generator().render_reference()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert not [row[0] for row in rows if not row[2].rstrip(" |")]


def test_the_comment_behind_a_field_is_its_meaning():
    source = "class Part:\n    size: int = 3  # subwords\n    plan: int = field(  # steps\n    )\n"
    assert load_generator().read_comments(source) == {
        ("Part", "size"): "subwords",
        ("Part", "plan"): "steps",
    }
