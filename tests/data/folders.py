"""Task folders of a few lines: reading them, what is told of them, how they are refused."""

from pathlib import Path

import pytest

from xdistil.config import Data
from xdistil.data.corpus import Corpus, read_corpus
from xdistil.errors import InputError
from xdistil.experiment.corpus_overview import describe_corpus


def read(folder: Path, train: str, extension="tsv", dev="", labels="", **fields) -> Corpus:
    for name, content in (("train", train), ("dev", dev or train)):
        (folder / f"{name}.{extension}").write_text(content)
    if labels:
        (folder / "labels.tsv").write_text(labels.replace(" ", "\n") + "\n")
    return read_corpus(Data(folder=str(folder), **fields), seed=0)


def told(corpus: Corpus) -> str:
    return " ".join("\n".join(describe_corpus(corpus)).split())


def refuses(words: str, *arguments, **fields) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(*arguments, **fields)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
