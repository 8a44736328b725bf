"""The layout of the package: imports point downwards only, without circles.

    python -m tests.test_layers

prints the measures. A room is a package or a loose module in xdistil/. Floors are the rooms of the
longest chain of imports. Imports inside functions and under TYPE_CHECKING count too, except those
of xdistil/__init__.py, which are lazy on purpose.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A room may import the rooms of all lines above it, but not those of its own line.
ROOMS = (
    ("errors",),
    ("config",),
    ("validation",),
    ("xdistil",),  # its __init__
    ("plans", "runtime"),
    ("data",),
    ("models", "annotators"),
    ("teacher", "student", "evaluation"),
    ("distill", "deploy"),
    ("experiment",),
    ("cli",),
    ("__main__", "train", "predict"),
)
MOST_LOOSE, MOST_FLOORS = 6, 10

Graph = dict[str, set[str]]


def read_imports(root: Path) -> Graph:
    """The modules of the package, train.py and predict.py, and what of each other they import."""
    files = {}
    programs = (*root.glob("train.py"), *root.glob("predict.py"))
    for path in (*programs, *(root / "xdistil").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: Graph = {}
    for module, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        nodes = tree.body if module == "xdistil" else ast.walk(tree)
        names = [name for node in nodes for name in list_names(node)]
        graph[module] = {each if each in files else each.rpartition(".")[0] for each in names}
        graph[module] &= files.keys() - {module}
    return graph


def list_names(node: ast.AST) -> Iterator[str]:
    """The full names in an import statement: of modules, or of objects in modules."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"line {node.lineno}: a relative import"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def find_room(module: str) -> str:
    return module.removeprefix("xdistil.").partition(".")[0]


def join_rooms(graph: Graph) -> Graph:
    rooms: Graph = {find_room(module): set() for module in graph}
    for module, imported in graph.items():
        rooms[find_room(module)] |= {find_room(each) for each in imported} - {find_room(module)}
    return rooms


def follow(graph: Graph) -> Graph:
    """All nodes that each node leads to; itself only if it is in a circle."""
    found: Graph = {}
    for node in graph:
        found[node], left = set(), list(graph[node])
        while left:
            each = left.pop()
            if each not in found[node]:
                found[node].add(each)
                left += graph[each]
    return found


def find_circles(graph: Graph) -> list[tuple[str, ...]]:
    """Groups of nodes that all lead to each other."""
    leads = follow(graph)
    circles = (sorted(each for each in leads[node] if node in leads[each]) for node in graph)
    return sorted({tuple(circle) for circle in circles if circle})


def count_floors(graph: Graph) -> int:
    """Length of the longest chain of imports; each node of a circle counts as one floor."""
    leads = follow(graph)
    heights: dict[str, int] = {}
    for node in sorted(graph, key=lambda node: len(leads[node] | {node})):
        circle = {node} | {each for each in leads[node] if node in leads[each]}
        below = [heights[each] for each in leads[node] - circle]
        heights[node] = len(circle) + max(below, default=0)
    return max(heights.values())


def count_loose(root: Path) -> int:
    return len(list((root / "xdistil").glob("*.py")))


def find_faults(root: Path) -> list[str]:
    """One line per mistake in the layout of a checkout."""
    graph = read_imports(root)
    heights = {room: height for height, rooms in enumerate(ROOMS) for room in rooms}
    faults = [f"{room} is no room" for room in sorted(join_rooms(graph).keys() - heights.keys())]
    for module in sorted(graph):
        for each in sorted(graph[module]):
            here, there = find_room(module), find_room(each)
            if here != there and heights.get(here, -1) <= heights.get(there, -1):
                faults.append(f"{module} imports {each}, which is not below it")
    faults += [f"circle: {', '.join(circle)}" for circle in find_circles(graph)]
    if (floors := count_floors(join_rooms(graph))) > MOST_FLOORS:
        faults.append(f"{floors} floors")
    if (loose := count_loose(root)) > MOST_LOOSE:
        faults.append(f"{loose} loose files")
    return faults


def test_imports_point_downwards():
    assert find_faults(ROOT) == []


def test_figures_are_imported_when_they_are_drawn():
    """Matplotlib would take a quarter of the imports of every run, however short."""
    drawing = ("xdistil.evaluation.figures", "xdistil.evaluation.frontier_figure")
    files = {ROOT / f"{name.replace('.', '/')}.py" for name in drawing}
    for path in (ROOT / "xdistil").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [name for name in list_names(node) if name.startswith(("matplotlib", *drawing))]
            assert not names or path in files, path


GOOD = {
    "train.py": "from xdistil.cli.main import main",
    "xdistil/__init__.py": "from xdistil.config import A\ndef f():\n    import xdistil.cli.main",
    "xdistil/__main__.py": "from xdistil.cli import main",
    "xdistil/errors.py": "import json",
    "xdistil/config.py": "from xdistil.errors import InputError",
    "xdistil/data/__init__.py": "",
    "xdistil/data/examples.py": "import xdistil.config\nimport os.path",
    "xdistil/data/packing.py": "from xdistil.data import examples",
    "xdistil/cli/__init__.py": "",
    "xdistil/cli/main.py": "def f():\n    from xdistil.data.packing import Rows",
}


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_a_good_tree_is_measured(tmp_path):
    root = write_tree(tmp_path, GOOD)
    assert find_faults(root) == []
    graph = read_imports(root)
    assert graph["xdistil"] == graph["xdistil.data.examples"] == {"xdistil.config"}
    assert graph["xdistil.data.packing"] == {"xdistil.data.examples"}
    # train, cli, data, config, errors
    assert (count_floors(join_rooms(graph)), count_loose(root)) == (5, 4)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (
            {"xdistil/errors.py": "def f():\n    from xdistil.config import A"},
            "xdistil.errors imports xdistil.config, which is not below it",
        ),
        (
            {"xdistil/teacher/a.py": "import xdistil.student.b", "xdistil/student/b.py": ""},
            "xdistil.teacher.a imports xdistil.student.b, which is not below it",
        ),
        (
            {"xdistil/data/examples.py": "if TYPE_CHECKING:\n    import xdistil.data.packing"},
            "circle: xdistil.data.examples, xdistil.data.packing",
        ),
        ({"xdistil/attic/box.py": ""}, "attic is no room"),
        ({f"xdistil/{room}.py": "" for room in ("plans", "models", "student")}, "7 loose files"),
    ],
)
def test_mistakes_are_found(tmp_path, changed, fault):
    assert fault in find_faults(write_tree(tmp_path, GOOD | changed))


def test_too_many_floors_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_layers.MOST_FLOORS", 4)
    assert find_faults(write_tree(tmp_path, GOOD)) == ["5 floors"]


def main() -> None:
    """Prints the measures of the checkout and its mistakes."""
    graph = read_imports(ROOT)
    rooms = join_rooms(graph)
    print(f"rooms    {len(rooms)}")
    print(f"floors   {count_floors(rooms)} (at most {MOST_FLOORS})")
    print(f"circles  {len(find_circles(graph))} of modules, {len(find_circles(rooms))} of rooms")
    print(f"loose    {count_loose(ROOT)} files in xdistil/ (at most {MOST_LOOSE})")
    print(*find_faults(ROOT), sep="\n")


if __name__ == "__main__":
    main()
