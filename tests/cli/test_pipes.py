"""Lines of a pipe: each is answered when it is there."""

import os
from collections.abc import Iterator

import pytest

from xdistil.cli.answers import BlankLines, take_ready
from xdistil.cli.pipes import PipeLines
from xdistil.data.text_stream import read_stream


@pytest.fixture
def pipe() -> Iterator[tuple[PipeLines, int]]:
    """The lines of a pipe, and the descriptor to write to."""
    reader, writer = os.pipe()
    yield PipeLines(reader), writer
    os.close(reader)


def test_a_line_is_ready_with_its_end(pipe):
    lines, writer = pipe
    assert not lines.is_ready()
    os.write(writer, b"Anna\r\n\nBo")
    assert [next(lines), next(lines)] == [b"Anna\r\n", b"\n"]
    assert not lines.is_ready()
    os.write(writer, b"b")
    assert not lines.is_ready()
    os.close(writer)
    assert lines.is_ready()
    assert list(lines) == [b"Bob"]
    assert lines.is_ready()


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_lines_do_not_depend_on_the_blocks_in_which_they_are_read(pipe, block, monkeypatch):
    monkeypatch.setattr("xdistil.cli.pipes._BLOCK", block)
    lines, writer = pipe
    content = "Anna\n\nπ\nBob\n\n".encode()
    os.write(writer, content)
    os.close(writer)
    assert list(lines) == content.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("form", "first", "second"),
    [
        ("text", b"Anna went\n", b"\nBob\n"),
        ("tsv", b"Anna went\tO O\n", b"Bob\tO\nAnna\tO\n"),
        ("csv", b"id,text\n1,Anna went\n", b'2,"Bob\nLee"\n'),
        ("jsonl", b'{"text": "Anna went"}\n\n', b'{"text": "Bob"}\n'),
        ("conll", b"Anna\tO\nwent\tO\n\n", b"Bob\tO\n\n"),
    ],
)
def test_a_text_is_handed_on_before_the_next_one_comes(pipe, form, first, second):
    lines, writer = pipe
    texts = read_stream(lines, "pipe", form, "tagging", ready=lines.is_ready)
    chunks = take_ready(BlankLines("pipe").leave_out(texts), lines.is_ready)
    os.write(writer, first)
    assert [text.inputs for text in next(chunks)] == [("Anna", "went")]
    os.write(writer, second)
    assert next(chunks)[-1].inputs[-1] in ("Bob", "Lee", "Anna")
    os.close(writer)
    assert list(chunks) == []
