"""The generated corpus: reproducible, legal, in many scripts, not solved by a gazetteer."""

import os
import subprocess
import sys
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from xdistil.config import Data
from xdistil.data.corpus import read_corpus
from xdistil.data.examples import Example
from xdistil.data.synthetic_corpus import generate_corpus
from xdistil.data.synthetic_languages import LANGUAGES
from xdistil.errors import InputError
from xdistil.evaluation.gazetteer import tag_with_names
from xdistil.evaluation.metrics import score

FILES = ("train.tsv", "dev.tsv", "test.tsv", "labels.tsv", "transfer.txt")
SENTENCES = 2000
Lines = dict[str, list[tuple[str, list[str], list[str]]]]  # (language, words, tags) by split


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("corpus")
    generate_corpus(path, SENTENCES, seed=0)
    return path


@pytest.fixture(scope="module")
def lines(folder) -> Lines:
    """Read without the library, so that faults of reader and writer cannot cancel out."""
    found: Lines = {}
    for split in ("train", "dev", "test"):
        found[split] = []
        for line in (
            (folder / f"{split}.tsv").read_text(encoding="utf-8").removesuffix("\n").split("\n")
        ):
            words, tags = line.split("\t")
            language, tags = tags.split(":", 1)
            found[split].append((language, words.split(" "), tags.split(" ")))
    return found


def entities(words: list[str], tags: list[str]) -> list[tuple[str, str]]:
    """(surface, type) of the entities."""
    found: list[tuple[str, str]] = []
    for word, tag in zip(words, tags, strict=True):
        if tag.startswith("B-"):
            found.append((word, tag[2:]))
        elif tag.startswith("I-"):
            found[-1] = (f"{found[-1][0]} {word}", tag[2:])
    return found


def test_same_seed_gives_the_same_bytes_with_any_hash_seed_and_folder(tmp_path):
    program = (
        "import sys; from pathlib import Path; "
        "from xdistil.data.synthetic_corpus import generate_corpus; "
        "generate_corpus(Path('corpus'), 120, int(sys.argv[1]))"
    )
    root = str(Path(__file__).parents[2])
    contents = []
    for hash_seed, seed in (("1", "7"), ("2", "7"), ("1", "8")):
        place = tmp_path / f"{hash_seed}-{seed}"
        place.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": root}
        command = [sys.executable, "-c", program, seed]
        subprocess.run(command, cwd=place, env=environment, check=True)
        contents.append([(place / "corpus" / name).read_bytes() for name in FILES])
        assert sorted(path.name for path in (place / "corpus").iterdir()) == sorted(FILES)
    assert contents[0] == contents[1]
    for name, one, other in zip(FILES, contents[0], contents[2], strict=True):
        assert (one == other) == (name == "labels.tsv"), name


def test_sizes_are_as_requested_and_skewed_eight_to_one(folder, lines):
    assert len(lines["train"]) == SENTENCES
    assert len(lines["dev"]) >= 400
    assert len(lines["test"]) >= 800
    transfer = (folder / "transfer.txt").read_text(encoding="utf-8").splitlines()
    assert len(transfer) == SENTENCES * 5 // 2
    assert all("\t" not in line for line in transfer)
    counts = {split: Counter(language for language, _, _ in lines[split]) for split in lines}
    sizes = counts["train"].values()
    assert len(sizes) >= 8
    assert max(sizes) / min(sizes) == pytest.approx(8, rel=0.1)
    for split in ("dev", "test"):
        assert counts[split].keys() == counts["train"].keys()
        assert min(counts[split].values()) >= 60


def test_tags_are_legal_iob2_one_per_word(folder, lines):
    known = set((folder / "labels.tsv").read_text(encoding="utf-8").split())
    assert known == {"O"} | {
        f"{prefix}-{kind}" for prefix in "BI" for kind in ("PER", "LOC", "ORG")
    }
    for split in lines.values():
        for _, words, tags in split:
            assert len(words) == len(tags)
            assert 5 <= len(words) <= 25
            assert all(words)
            assert set(tags) <= known
            for before, tag in pairwise(["O", *tags]):
                assert not tag.startswith("I-") or before[2:] == tag[2:]


def test_no_sentence_occurs_twice(folder, lines):
    texts = Counter(" ".join(words) for split in lines.values() for _, words, _ in split)
    texts.update((folder / "transfer.txt").read_text(encoding="utf-8").splitlines())
    assert texts.most_common(1)[0][1] == 1


def test_every_language_is_written_in_its_script_and_there_are_five(lines):
    scripts = {language.code: language.script for language in LANGUAGES}
    assert len(set(scripts.values())) >= 5
    for language, words, _ in lines["test"]:
        letters = [letter for word in words for letter in word if letter.isalpha()]
        assert letters
        for letter in letters:
            assert unicodedata.name(letter).startswith(scripts[language]), (letter, words)


def test_most_names_of_test_are_new_in_every_language(lines):
    known = {surface for _, words, tags in lines["train"] for surface, _ in entities(words, tags)}
    new: dict[str, list[bool]] = {}
    for language, words, tags in lines["test"]:
        for surface, _ in entities(words, tags):
            new.setdefault(language, []).append(surface not in known)
    for language, values in new.items():
        assert 0.5 < sum(values) / len(values) < 0.95, language


def test_the_same_words_are_person_place_organisation_or_nothing(lines):
    sentences = [sentence for split in lines.values() for sentence in split]
    roles: dict[tuple[str, str], Counter[str]] = {}
    for language, words, tags in sentences:
        for surface, kind in entities(words, tags):
            roles.setdefault((language, surface.casefold()), Counter())[kind] += 1
    ordinary = {
        (language, word.casefold())
        for language, words, tags in sentences
        for word, tag in zip(words, tags, strict=True)
        if tag == "O" and (language, word.casefold()) in roles
    }
    # Case suffixes tear a name's mentions apart, so these count fewer than there are.
    assert sum(len(found) == 3 for found in roles.values()) >= 40
    several = [found.total() for found in roles.values() if len(found) > 1]
    assert sum(several) / sum(found.total() for found in roles.values()) > 0.08
    for code, count in Counter(language for language, _ in ordinary).items():
        assert count >= 3, code
    assert {language for language, _ in ordinary} == {one.code for one in LANGUAGES}


def test_a_gazetteer_of_the_training_names_fails_in_every_language(folder):
    corpus = read_corpus(Data(folder=str(folder)), seed=0)
    assert corpus.test is not None
    found = score(corpus.task, corpus.test, tag_with_names(corpus.train, corpus.test))
    assert 0.05 < found["macro_f1"] < 0.5
    for language, values in found["per_language"].items():
        assert values["f1"] < 0.6, language


def test_a_name_alone_does_not_tell_its_type(lines):
    """The best guess from a name's last two letters is wrong for one in five, or more."""
    votes: dict[tuple[str, str], Counter[str]] = {}
    mentions = []
    for split in ("train", "test"):
        for language, words, tags in lines[split]:
            for surface, kind in entities(words, tags):
                key = (language, surface[-2:])
                if split == "train":
                    votes.setdefault(key, Counter())[kind] += 1
                else:
                    mentions.append(kind == votes.get(key, Counter(["?"])).most_common(1)[0][0])
    assert sum(mentions) / len(mentions) < 0.8


def test_too_small_a_corpus_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"data\.generate=99 .* 100 sentences or more"):
        generate_corpus(tmp_path / "corpus", 99, seed=0)
    assert not (tmp_path / "corpus").exists()


def test_examples_carry_their_language(folder):
    corpus = read_corpus(Data(folder=str(folder)), seed=0)
    assert {example.language for example in corpus.train} == {one.code for one in LANGUAGES}
    assert all(isinstance(example, Example) and example.labels for example in corpus.train)
