"""Word vectors: three formats, the subwords that get them, and errors with their line."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.data.test_tokenizer import make_byte_bpe, make_unigram
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.data.word_vectors import read_vectors
from xdistil.errors import InputError

# In the tokenizer of conftest.py "berlin", "new" and "york" are subwords; "newark" is several.
LINES = ["york 1 2", "newark 3 4", "Berlin 5 -6.5e-1", "berlin 7 8", "new 9 1e1", "☃ 1 1"]


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    content = "".join(line + end for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path: Path, tokenizer: Tokenizer) -> dict[str, list[float]]:
    found = read_vectors(path, 2, tokenizer)
    assert found.subwords.dtype == np.int32
    assert found.values.dtype == np.float32
    assert (np.diff(found.subwords) > 0).all()
    names = [tokenizer.backend.id_to_token(int(subword)) for subword in found.subwords]
    return dict(zip(names, found.values.tolist(), strict=True))


EXPECTED = {"york": [1, 2], "berlin": [5, np.float32(-0.65)], "new": [9, 10]}


@pytest.mark.parametrize(
    ("name", "lines", "end"),
    [
        ("glove.txt", LINES, "\n"),
        ("fast.vec", ["6 2", *LINES], " \n"),  # fastText leaves a space behind every line
        ("windows.vec", ["6 2", *LINES], "\r\n"),
        ("marked.txt", ["\ufeff" + LINES[0], *LINES[1:]], "\n"),
        ("muse.vec.gz", ["6 2", *LINES], "\n"),
        ("glove.txt.gz", LINES, "\n"),
    ],
)
def test_a_word_that_is_one_subword_provides_its_vector(
    name: str, lines: list[str], end: str, tmp_path: Path, wordpiece: Tokenizer
) -> None:
    """The first of two spellings wins, as in files sorted by frequency."""
    path = write(tmp_path / name, lines, end)
    assert read(path, wordpiece) == EXPECTED
    assert read_vectors(path, 2, wordpiece).words == 6


def test_words_may_contain_any_spaces_and_bytes_that_are_not_text(
    tmp_path: Path, wordpiece: Tokenizer
) -> None:
    path = tmp_path / "vectors.txt"
    other = "at new york.org 3 3\nnew\u00a0york 4 4\n\u0085 5 5\n 6 6\n".encode()
    path.write_bytes(b"york 1 2\n" + other + b"\xff\xfe 7 7\nnew 8 8\n")
    assert read(path, wordpiece) == {"york": [1, 2], "new": [8, 8]}


def test_more_lines_than_are_read_at_once_are_all_read(
    tmp_path: Path, wordpiece: Tokenizer
) -> None:
    path = write(tmp_path / "v.txt", [*(f"w{i} 0 {i}" for i in range(5000)), *LINES])
    assert read(path, wordpiece) == EXPECTED
    path = write(path, [*(f"w{i} 0 {i}" for i in range(5000)), "york 1"])
    with pytest.raises(InputError, match=r"v\.txt:5001: this line is damaged"):
        read_vectors(path, 2, wordpiece)


def test_subwords_of_a_unigram_get_vectors_at_the_start_of_a_word(tmp_path: Path) -> None:
    make_unigram("xlm-roberta").save_pretrained(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path))
    path = write(tmp_path / "v.vec", ["the 1 2", "he 3 4", "</s> 5 6"])
    assert read(path, tokenizer) == {"▁the": [1, 2], "</s>": [5, 6]}


@pytest.mark.parametrize("words", [True, False])
def test_byte_level_subwords_get_vectors_within_a_text_and_at_its_start(
    words: bool, tmp_path: Path
) -> None:
    make_byte_bpe("roberta").save_pretrained(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path), words=words)
    path = write(tmp_path / "v.vec", ["the 1 2", "a 3 4"])
    inside = {"Ġthe": [1, 2]}
    at_start = {"the": [1, 2], "a": [3, 4]}
    assert read(path, tokenizer) == (inside if words else inside | at_start)


@pytest.mark.parametrize(
    ("lines", "width", "words"),
    [
        (LINES, 3, "v.txt:1: the vectors are 2 wide .* embeddings 3: set .*embedding_size=2"),
        (["6 2", *LINES], 50, "v.txt:1: the vectors are 2 wide .* embeddings 50"),
        (["6 300", *LINES], 2, "v.txt:1: the vectors are 300 wide"),
        (["york 1 2", "new 3", "berlin 1 2"], 2, "v.txt:2: this line is damaged"),
        (["york 1 2", "new 3 4 5"], 2, "v.txt:2: this line is damaged"),
        (["york 1 2", "new 3 x"], 2, "v.txt:2: .* not all of the 2 fields .* finite"),
        (["2 2", "york 1 2", "new 3 4x"], 2, "v.txt:3: .* finite numbers"),
        (["york 1 2", "new nan 4"], 2, "v.txt:2: .* finite numbers"),
        (["york 1 2", "new 1e39 4"], 2, "v.txt:2: .* finite numbers"),
        (["york 1 2", "new 1  4"], 2, "v.txt:2: "),
        (["york 1 2", "", "new 3 4"], 2, "v.txt:2: this line is damaged"),
        (["7 2", *LINES], 2, "v.txt has 6 vectors, but its first line says 7"),
        (["newark 1 2", "☃ 3 4"], 2, "None of the 2 words of .*v.txt is a subword"),
        (["0 2"], 2, "None of the 0 words"),
        (["york"], 2, "v.txt:1: this is not a line of word vectors"),
        ([], 2, "v.txt:1: this is not a line of word vectors"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(
    lines: list[str], width: int, words: str, tmp_path: Path, wordpiece: Tokenizer
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_vectors(write(tmp_path / "v.txt", lines), width, wordpiece)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_missing_and_truncated_files_are_refused(tmp_path: Path, wordpiece: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"student\.vectors=.*none\.vec does not exist"):
        read_vectors(tmp_path / "none.vec", 2, wordpiece)
    with pytest.raises(InputError, match="cannot be read"):
        read_vectors(tmp_path, 2, wordpiece)
    path = write(tmp_path / "v.vec.gz", ["6 2", *LINES])
    whole = path.read_bytes()
    for damaged in (whole[:-9], b"york 1 2\n", whole[:12] + b"\xff" * 9 + whole[21:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="not a whole gzip file"):
            read_vectors(path, 2, wordpiece)
