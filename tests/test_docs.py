"""The documentation: one page of README, links that lead somewhere, a picture of the imports."""

import importlib.util
import re
from pathlib import Path

import pytest

import xdistil

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def drop_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def list_anchors(path: Path) -> set[str]:
    """The anchors that GitHub and the site give to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", drop_code(read(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def load_drawing():
    spec = importlib.util.spec_from_file_location("drawing", ROOT / "docs/draw_architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_package(folder: Path, files: dict[str, str]) -> Path:
    for name, source in files.items():
        path = folder / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return folder / "house"


def test_the_readme_is_one_page():
    assert len(drop_code(read(ROOT / "README.md")).split()) <= 1000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", drop_code(read(page))):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists() or path.name == "architecture.svg", target  # drawn for every build
        assert not anchor or anchor in list_anchors(path), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_module_that_a_page_names_exists(page):
    folders = "xdistil|benchmarks|configs|docs|tests|examples"
    names = re.findall(rf"\b(?:{folders})/[\w/.-]+\.py", read(page))
    modules = re.findall(r"python -m ((?:benchmarks|tests)\.[\w.]+)", read(page))
    for name in names:
        assert (ROOT / name).exists() or (page.parent / name).exists(), name
    for module in modules:
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module


def test_the_page_of_the_api_names_all_that_the_package_offers():
    page = read(ROOT / "docs" / "api.md")
    assert not [name for name in xdistil.__all__ if f":: xdistil.{name}" not in page]


def test_layers_stand_above_what_they_import(tmp_path):
    drawing = load_drawing()
    package = make_package(
        tmp_path,
        {
            "__init__.py": "from house.roof import slate\n",
            "ground.py": "import json\n",
            "walls/brick.py": "def lay():\n    from house import ground\n",
            "walls/deep/mortar.py": "from ... import cellar\nfrom ..brick import lay\n",
            "cellar.py": "",
            "roof/slate.py": "import house.walls.brick\nfrom house.ground import dig\n",
            "garden.py": "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from house.roof import slate\n",
        },
    )
    graph = drawing.read_imports(package)
    assert graph == {
        "ground": set(),
        "cellar": set(),
        "walls": {"ground", "cellar"},
        "roof": {"walls", "ground"},
        "garden": set(),
    }
    layers = {"cellar": 0, "ground": 0, "garden": 0, "walls": 1, "roof": 2}
    assert drawing.place_layers(graph) == layers
    assert drawing.drop_implied(graph) == {**graph, "roof": {"walls"}}


def test_components_of_a_cycle_share_a_layer():
    drawing = load_drawing()
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}
    assert drawing.find_cycles(graph)["b"] == {"b", "c"}
    assert drawing.place_layers(graph) == {"d": 0, "b": 1, "c": 1, "a": 2}
    assert drawing.drop_implied(graph) == {"a": {"b"}, "b": set(), "c": {"d"}, "d": set()}


def test_the_picture_shows_every_component_once_and_an_arrow_for_every_import(tmp_path):
    drawing = load_drawing()
    files = {"ground.py": "", "walls/brick.py": "from house import ground\n", "tree.py": ""}
    picture = drawing.draw(make_package(tmp_path, files))
    assert [picture.count(f">{name}<") for name in ("ground", "walls", "tree", "brick")] == [1] * 4
    assert picture.count('marker-end="url(#head)"') == 1
    boxes = [float(y) for y in re.findall(r'<rect x="[\d.]+" y="([\d.]+)"', picture)]
    assert len(boxes) == 3
    assert sorted(boxes)[0] < sorted(boxes)[1]  # the one that imports is above the others
