"""A page as a browser reads it: elements, their texts, tables by caption."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "input", "br", "hr"}


@dataclass
class Node:
    """An element."""

    name: str
    attributes: dict[str, str]
    children: list["Node | str"] = field(default_factory=list)

    def find(self, name: str, /, **attributes: str) -> list["Node"]:
        """The elements below of a name that have these attributes, in order."""
        found = []
        for child in self.children:
            if isinstance(child, Node):
                wanted = {key.rstrip("_").replace("_", "-"): v for key, v in attributes.items()}
                if child.name == name and wanted.items() <= child.attributes.items():
                    found.append(child)
                found += child.find(name, **attributes)
        return found

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Node("", {})]

    def handle_starttag(self, tag, attrs):
        node = Node(tag, {key: value or "" for key, value in attrs})
        assert len(attrs) == len(node.attributes), f"an attribute twice: {attrs}"
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag):
        assert self.open.pop().name == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parse(text: str) -> Node:
    """The tree of a page whose elements are all closed, in the right order."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.open) == 1, f"not closed: {[node.name for node in reader.open]}"
    return reader.open[0]


def read_tables(page: Node) -> dict[str, list[list[str]]]:
    """The cells of all tables by caption, the header first; cells with pictures have no text."""
    tables = {}
    for table in page.find("table"):
        (caption,) = table.find("caption")
        rows = [
            [cell.text for cell in row.children if isinstance(cell, Node)]
            for row in table.find("tr")
        ]
        assert len({len(row) for row in rows}) == 1, caption.text
        assert caption.text not in tables, caption.text
        tables[caption.text] = rows
    return tables


def read_data(page: Node) -> dict:
    """What the script of a page reads: the examples and the names of the models."""
    (block,) = page.find("script", id="data")
    return json.loads(block.text)
