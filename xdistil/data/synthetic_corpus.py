"""The task folder of the quickstart: a generated multilingual NER corpus.

The type of a name cannot be told from the name: most names are new in every split, and the same
name may be a person, a place, an organisation or an ordinary noun. The context decides: a verb at
the other end of the clause, a marker, a title. The eight grammars share only their outline.
"""

import logging
import random
from dataclasses import dataclass
from pathlib import Path

from xdistil.data.synthetic_languages import LANGUAGES, Language
from xdistil.errors import InputError
from xdistil.runtime.json_io import write_text

TYPES = ("PER", "LOC", "ORG")
SKEW = 8  # ratio of sentences in the largest language to those in the smallest
LEAST = 60  # smallest number of sentences of a language in dev and in test
SHORTEST, LONGEST = 5, 25  # words of a sentence, punctuation included
FEWEST = 100  # smallest number of labelled sentences

Phrase = list[tuple[str, str]]  # words with their tags

_log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class _Frame:
    """A kind of clause: its verbs and their possible arguments."""

    weight: int
    verbs: str  # name of a list of the language
    subjects: tuple[str, ...]  # a type of name, people or noun
    objects: tuple[str, ...] = ()
    obliques: tuple[tuple[str, str], ...] = ()  # (marker, what it marks)


_FRAMES = (
    _Frame(3, "person_acts", ("PER",), (), (("here", "LOC"), ("company_of", "PER"))),
    _Frame(2, "makes", ("PER", "people"), ("noun",), (("here", "LOC"), ("sake", "ORG"))),
    _Frame(3, "moves", ("PER", "people"), (), (("to", "LOC"), ("source", "LOC"))),
    _Frame(2, "leaves", ("PER", "people"), (), (("source", "ORG"), ("here", "LOC"))),
    _Frame(2, "addresses", ("PER", "people"), (), (("address", "PER"), ("near", "LOC"))),
    _Frame(3, "organisation_acts", ("ORG",), (), (("company_of", "ORG"), ("here", "LOC"))),
    _Frame(3, "buys", ("ORG", "people"), ("ORG",), (("here", "LOC"), ("sake", "ORG"))),
    _Frame(3, "meets", ("PER", "people"), ("PER",), (("near", "LOC"), ("sake", "PER"))),
    _Frame(3, "visits", ("PER", "people"), ("LOC", "noun"), (("company_of", "PER"),)),
    _Frame(2, "place_acts", ("LOC",), (), (("near", "LOC"),)),
)
_DISTRACTOR = _Frame(1, "happens", ("noun", "people"), (), (("here", "noun"), ("near", "noun")))


def generate_corpus(folder: Path, sentences: int, seed: int) -> None:
    """Writes a task folder: train.tsv, dev.tsv, test.tsv, labels.tsv and transfer.txt.

    Train has `sentences` labelled sentences; dev has an eighth as many (at least 400), test a
    quarter (at least 800), and both at least 60 per language; transfer has two and a half times as
    many, unlabelled. No sentence is repeated. The bytes depend only on `sentences` and `seed`.

    Raises:
        InputError: fewer than 100 sentences.
    """
    if sentences < FEWEST:
        raise InputError(
            f"data.generate={sentences} is too few: ask for {FEWEST} sentences or more."
        )
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {
        "test": _share_out(max(800, sentences // 4), LEAST),
        "dev": _share_out(max(400, sentences // 8), LEAST),
        "train": _share_out(sentences, 1),
        "transfer": _share_out(sentences * 5 // 2, 1),
    }
    lines: dict[str, list[str]] = {split: [] for split in sizes}
    for language in LANGUAGES:
        seen: set[str] = set()
        for split, counts in sizes.items():
            writer = _Writer(language, seed, split)
            for sentence in writer.write_new(counts[language.code], seen):
                words = " ".join(word for word, _ in sentence)
                tags = " ".join(tag for _, tag in sentence)
                labelled = f"{words}\t{language.code}:{tags}"
                lines[split].append(words if split == "transfer" else labelled)
    for split, texts in lines.items():
        random.Random(f"{seed} {split} order").shuffle(texts)
        _write_lines(folder / ("transfer.txt" if split == "transfer" else f"{split}.tsv"), texts)
    labels = [f"{prefix}-{kind}" for prefix in "BI" for kind in sorted(TYPES)]
    _write_lines(folder / "labels.tsv", [*labels, "O"])
    _log.info(
        "generated %s in %d languages",
        ", ".join(f"{len(texts)} {split} sentences" for split, texts in lines.items()),
        len(LANGUAGES),
    )


def _share_out(total: int, least: int) -> dict[str, int]:
    """Sentences by language, decreasing geometrically by SKEW in total, at least `least`."""
    last = len(LANGUAGES) - 1
    weights = [SKEW ** (1 - rank / last) for rank in range(last + 1)]
    counts = [max(least, int(total * weight / sum(weights))) for weight in weights]
    counts[0] = max(least, counts[0] + total - sum(counts))
    return {language.code: count for language, count in zip(LANGUAGES, counts, strict=True)}


def _write_lines(path: Path, lines: list[str]) -> None:
    write_text(path, "".join(line + "\n" for line in lines))


class _Writer:
    """Writes sentences of one language; the frequent names are the same in every split."""

    def __init__(self, language: Language, seed: int, split: str):
        self.language = language
        self.random = random.Random(f"{seed} {language.code} names")
        stems = [self._make_stem() for _ in range(24)]
        self.shared = [*language.list("doubles"), *stems]  # of any type
        self.known = {kind: [self._make_core(kind) for _ in range(40)] for kind in TYPES}
        self.given = [self._make_stem() for _ in range(40)]
        self.random = random.Random(f"{seed} {language.code} {split}")

    def write_new(self, count: int, seen: set[str]) -> list[Phrase]:
        """`count` sentences that are not in `seen`, to which they are added."""
        sentences: list[Phrase] = []
        while len(sentences) < count:
            sentence = self._write_sentence()
            words = " ".join(word for word, _ in sentence)
            if SHORTEST <= len(sentence) <= LONGEST and words not in seen:
                seen.add(words)
                sentences.append(sentence)
        return sentences

    def _write_sentence(self) -> Phrase:
        frames = self.random.choices(_FRAMES, [frame.weight for frame in _FRAMES], k=2)
        shape = self.random.random()
        if shape < 0.06:
            clauses = [self._write_clause(_DISTRACTOR)]
        elif shape < 0.25:
            clauses = [self._write_clause(frame) for frame in frames]
        else:
            clauses = [self._write_clause(frames[0])]
        if self._happens(0.2):
            place = self.random.randint(0, len(clauses))
            clauses.insert(place, self._write_clause(_DISTRACTOR))
        sentence = clauses[0]
        for clause in clauses[1:]:
            sentence = sentence + self._link() + clause
        first, tag = sentence[0]
        first = self._capitalise(first)
        return [(first, tag), *sentence[1:], (self.language.stop, "O")]

    def _write_clause(self, frame: _Frame) -> Phrase:
        subject = self._mark("subject", self._write_phrase(self.random.choice(frame.subjects)))
        if frame is not _DISTRACTOR and self._happens(0.1):  # an aside separates the verb from it
            aside = self._link() + self._write_clause(_DISTRACTOR)
            subject += [*aside, (self.language.comma, "O")]
        parts = {"S": subject, "V": _outside(self._choose(frame.verbs)), "O": [], "I": [], "T": []}
        if frame.objects:
            parts["O"] = self._mark("object", self._write_phrase(self.random.choice(frame.objects)))
        for marker, kind in frame.obliques:
            if self._happens(0.45):
                parts["I"] += self._mark(marker, self._write_phrase(kind))
        if self._happens(0.35):
            parts["T"] = self._write_circumstance()
        return [word for letter in self._choose("orders") for word in parts[letter]]

    def _link(self) -> Phrase:
        links = [self.language.comma, *self.language.list("conjunctions")]
        return _outside(self.random.choice(links))

    def _write_circumstance(self) -> Phrase:
        if self._happens(0.5):
            return _outside(self._choose("adverbs"))
        return _outside(self._choose("times").replace("#", str(self.random.randint(1900, 2026))))

    def _write_phrase(self, kind: str) -> Phrase:
        """A name of a type (or, sometimes, common words instead), people or a noun."""
        if kind in TYPES and self._happens(0.85):
            phrase = self._write_name(kind)
            if self._happens(0.08):
                joined = self.language.list("conjunctions")[0]
                phrase = [*phrase, (joined, "O"), *self._write_name(kind)]
            return phrase
        if kind == "people" or kind == "PER":
            noun = self._choose("people")
        else:
            noun = self._choose("doubles" if self._happens(0.25) else "nouns")
        phrase = _outside(noun)
        if self._happens(0.3):
            pattern = self.language.adjective_phrase.replace("A", self._choose("adjectives"))
            phrase = self._fill(pattern, phrase)
        return self._mark("noun_phrase", phrase)

    def _write_name(self, kind: str) -> Phrase:
        """A tagged name, sometimes with a word that says what it is."""
        words = self._make_name(kind).split(" ")
        if self.language.cased:
            words = [self._capitalise(word) for word in words]
        name = [(word, f"{'I' if place else 'B'}-{kind}") for place, word in enumerate(words)]
        if kind == "PER" and self._happens(0.15):
            return self._mark("titles", name)
        if self._happens(0.12):
            return self._mark({"PER": "singer", "LOC": "city", "ORG": "company"}[kind], name)
        return name

    def _make_name(self, kind: str) -> str:
        name = self._pick_core(kind)
        if kind == "PER" and self._happens(0.55):
            given = self.random.choice(self.given) if self._happens(0.6) else self._make_stem()
            words = self._choose("person")
            return words.replace("given", given).replace("family", name)
        if kind == "LOC" and self._happens(0.25):
            return self._choose("place_patterns").replace("_", name)
        if kind == "ORG" and self._happens(0.45):
            inner = self._pick_core(self.random.choice(TYPES))
            return self._choose("organisation_patterns").replace("_", inner)
        return name

    def _pick_core(self, kind: str) -> str:
        """A stem that any type may have, a frequent one, or a new one."""
        source = self.random.random()
        if source < 0.22:
            return self.random.choice(self.shared)
        if source < 0.55:
            rank = int(len(self.known[kind]) * self.random.random() ** 2)
            return self.known[kind][rank]
        return self._make_core(kind)

    def _make_core(self, kind: str) -> str:
        endings = {"PER": "person", "LOC": "place", "ORG": "organisation"}[kind] + "_endings"
        return self._make_stem() + (self._choose(endings) if self._happens(0.55) else "")

    def _make_stem(self) -> str:
        count = 2 if self._happens(0.6) else 3
        return "".join(self._choose("syllables") for _ in range(count))

    def _mark(self, name: str, phrase: Phrase) -> Phrase:
        return self._fill(self._choose(name), phrase)

    def _fill(self, pattern: str, phrase: Phrase) -> Phrase:
        """The pattern's words with the phrase at `_`, affixes joined to its first and last word."""
        filled: Phrase = []
        for token in pattern.split(" "):
            before, gap, after = token.partition("_")
            if not gap:
                filled.append((token, "O"))
                continue
            words, tags = [word for word, _ in phrase], [tag for _, tag in phrase]
            words[0] = before + words[0]
            words[-1] += self._harmonise(after, words[-1])
            filled += zip(words, tags, strict=True)
        return filled

    def _harmonise(self, suffix: str, word: str) -> str:
        if not self.language.harmony:
            return suffix
        back, *choices = self.language.harmony.split(" ")
        vowel = next((letter for letter in reversed(word.lower()) if letter in "aeiouyäöüı"), "e")
        for choice in choices:
            letter, after_back, after_front = tuple(choice)
            suffix = suffix.replace(letter, after_back if vowel in back else after_front)
        return suffix.replace("V", vowel)

    def _capitalise(self, word: str) -> str:
        if not self.language.cased:
            return word
        first = "İ" if self.language.code == "tr" and word[0] == "i" else word[0].upper()
        return first + word[1:]

    def _choose(self, name: str) -> str:
        return self.random.choice(self.language.list(name))

    def _happens(self, probability: float) -> bool:
        return self.random.random() < probability


def _outside(text: str) -> Phrase:
    return [(word, "O") for word in text.split(" ")]
