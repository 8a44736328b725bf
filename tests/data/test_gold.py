"""What is understood of labelled files, and what is refused because it cannot be meant."""

import logging
import re
from collections import Counter

import pytest

from tests.data.folders import read, refuses, told
from xdistil.config import Data
from xdistil.data.corpus import read_corpus
from xdistil.data.examples import Example
from xdistil.experiment.corpus_overview import describe_corpus

WORDS = ("Ina Moss saw Graz today", "today we saw Pia Reed", "Graz sleeps")
IOB2 = ("B-PER I-PER O B-LOC O", "O O O B-PER I-PER", "B-LOC O")
EXPECTED = [
    Example(tuple(words.split()), tuple(tags.split()), "und")
    for words, tags in zip(WORDS, IOB2, strict=True)
]
TEXTS = [
    (f"a {how} day {i}", "pos" if how == "fine" else "neg")
    for i in range(9)
    for how in ("fine", "grey")
]


def join(rows, between="\t") -> str:
    return "".join(between.join(row) + "\n" for row in rows)


def tagged(*tags: str) -> str:
    return join(zip(WORDS, tags, strict=True))


def columns(*cells) -> str:
    """CoNLL columns: each argument gives the cell of a word from its number, word and tag."""
    lines = []
    for words, tags in zip(WORDS, IOB2, strict=True):
        for row in enumerate(zip(words.split(), tags.split(), strict=True), 1):
            lines.append("\t".join(cell(row[0], *row[1]) for cell in cells))
        lines.append("")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        (IOB2, "tags: IOB2,"),
        (("B-PER L-PER O U-LOC O", "O O O B-PER L-PER", "U-LOC O"), "tags: BILOU, recognised"),
        (("B-PER E-PER O S-LOC O", "O O O B-PER E-PER", "S-LOC O"), "tags: BIOES, recognised"),
        (("PER PER O LOC O", "O O O PER PER", "LOC O"), "tags: IO, where neighbours"),
        (("B_PER I_PER O B_LOC O", "O O O B_PER I_PER", "B_LOC O"), "with '_' after the prefix"),
    ],
)
def test_labels_that_are_as_many_as_the_words_are_tags(tmp_path, tags, words):
    corpus = read(tmp_path, tagged(*tags))
    assert corpus.train == EXPECTED
    overview = told(corpus)
    assert (
        "task: tagging (a tag per word), because train.tsv has a tag per word (set data.task"
        in (overview)
    )
    assert words in overview
    assert (
        "entities by type in train, dev: LOC 2, 2; PER 2, 2; sentences without entities 0, 0"
        in (overview)
    )
    assert "read: [Ina Moss PER] saw [Graz LOC] today read: today we saw [Pia Reed PER]" in overview


def test_labels_as_many_as_words_that_are_no_tags_are_refused_or_said_to_be_classes(tmp_path):
    pos = tagged("NOUN NOUN VERB NOUN ADV", "ADV PRON VERB NOUN NOUN", "NOUN VERB")
    refuses("no word is O.*data.scheme=io", tmp_path, pos)
    corpus = read(tmp_path, pos, task="single")
    assert corpus.task.kind == "classification"
    assert "as data.task=single says" in told(corpus)
    assert read(tmp_path, pos, scheme="io").train[2].labels == ("B-NOUN", "B-VERB")


def test_texts_of_two_words_with_labels_of_two_words_are_texts(tmp_path):
    rows = [("play jazz", "play music"), ("wake me", "set alarm"), ("stop it now", "stop music")]
    assert read(tmp_path, join(rows * 4)).task.kind == "classification"


def number(n, word, tag):
    return str(n)


def word(n, word, tag):
    return word


def tag(n, word, tag):
    return tag


def nothing(n, word, tag):
    return "O"


GERMEVAL = "#\thttp://x\t[2011-02-03]\n" + columns(number, word, tag, nothing)


@pytest.mark.parametrize(
    ("content", "fields", "words"),
    [
        (columns(word, tag), {}, "word in 1, tag in 2 of 2"),
        (columns(word, nothing, tag), {}, "word in 1, tag in 3 of 3"),
        (columns(word, tag, lambda *_: "NN"), {}, "word in 1, tag in 2 of 3"),
        (GERMEVAL, {}, "word in 2, tag in 3 of 4 (set data.columns=tags:4 to read column 4)"),
        (columns(number, tag, word), {"columns": "words:3,tags:2"}, "word in 3, tag in 2 of 3"),
        ("word\ttag\n" + columns(word, tag), {}, "the first line is a header and left out"),
        (columns(word, lambda *_: "B-NP", tag), {}, "tag in 3 of 3"),
    ],
)
def test_columns_are_found_by_what_they_hold(tmp_path, content, fields, words):
    corpus = read(tmp_path, content, "conll", **fields)
    assert corpus.train == EXPECTED
    assert words in told(corpus)


def test_the_inner_tags_of_germeval_are_read_where_they_are_asked_for(tmp_path):
    refuses("train.conll has no entity", tmp_path, GERMEVAL, "conll", columns="tags:4")
    # Chunks are no outer entities.
    chunks = columns(word, lambda *_: "B-NP", nothing)
    refuses("train.conll has no entity", tmp_path, chunks, "conll")


@pytest.mark.parametrize(
    "content",
    [
        columns(lambda n, word, tag: f"en:{word}", tag),
        columns(lambda n, word, tag: f"{'EN' if n % 2 else 'en'}:{word}", tag),
    ],
)
def test_a_language_before_every_word_is_taken_from_there(tmp_path, content):
    corpus = read(tmp_path, content, "conll")
    assert [each.inputs for each in corpus.train] == [each.inputs for each in EXPECTED]
    assert {each.language.lower() for each in corpus.train} == {"en"}
    assert "the language stands before each word" in told(corpus)


def test_a_language_before_every_text_is_taken_from_there(tmp_path):
    corpus = read(tmp_path, join((f"pt-br:{text}", label) for text, label in TEXTS))
    assert corpus.train[0] == Example(("a fine day 0",), ("pos",), "pt-BR")
    assert "the language stands before the first word" in told(corpus)
    rows = [(f"de:{text}", label) for text, label in TEXTS] * 4
    refuses(
        "train.tsv:73: 'no code' does not begin with a language",
        tmp_path,
        join([*rows, ("no code", "pos")]),
    )


def test_a_language_is_a_known_code_and_has_one_spelling(tmp_path):
    rows = [(text, f"{'EN' if i % 2 else 'en'}:{label}") for i, (text, label) in enumerate(TEXTS)]
    corpus = read(tmp_path, join(rows))
    assert corpus.task.labels == ("neg", "pos")
    assert {each.language for each in corpus.train} == {"en"}
    assert "languages: EN is read as en" in told(corpus)
    assert read(tmp_path, join(rows), languages="En").train == corpus.train
    # neg and pos are languages in ISO 639-3, and no less a part of the class.
    rows = [
        (text, f"{label}:{'food' if i % 3 else 'staff'}") for i, (text, label) in (enumerate(TEXTS))
    ]
    classes = ("neg:food", "neg:staff", "pos:food", "pos:staff")
    corpus = read(tmp_path, join(rows))
    assert corpus.task.labels == classes
    assert {each.language for each in corpus.train} == {"und"}
    said = read(tmp_path, join(rows), languages="neg,pos")
    assert said.task.labels == ("food", "staff")
    assert {each.language for each in said.train} == {"neg", "pos"}


def test_a_language_that_says_the_class_is_warned_of(tmp_path, caplog):
    rows = join((text, {"pos": "is:good", "neg": "no:bad"}[label]) for text, label in TEXTS)
    assert {each.language for each in read(tmp_path, rows).train} == {"is", "no"}
    assert "every class has its own language (is:good, no:bad)" in caplog.text
    corpus = read(tmp_path, rows, labels="no:bad is:good")
    assert {each.language for each in corpus.train} == {"und"}


def test_white_space_around_a_label_is_no_part_of_it(tmp_path):
    corpus = read(
        tmp_path, join((text, label + " \u00a0" * (label == "neg")) for text, label in TEXTS)
    )
    assert corpus.task.labels == ("neg", "pos")
    assert r"labels: without the white space around 'neg \xa0'" in told(corpus)


HEADER = join([("Satz", "Urteil"), *TEXTS])


@pytest.mark.parametrize(
    ("content", "extension", "fields"),
    [
        (join([("Sentence", "label"), *TEXTS]), "tsv", {}),
        (HEADER, "tsv", {"columns": "text:Satz,label:urteil"}),
        (
            join([("id", "label", "text"), *[("7", label, text) for text, label in TEXTS]]),
            "tsv",
            {},
        ),
        (join(((label, text) for text, label in TEXTS)), "tsv", {"columns": "text:2,label:1"}),
        (join([("text", "label"), *TEXTS], ","), "csv", {}),
        (
            join(
                [("no", "review", "sentiment"), *[("1", text, label) for text, label in TEXTS]], ";"
            ),
            "csv",
            {},
        ),
        (join(TEXTS, "|"), "csv", {"columns": "text:1,label:2"}),
    ],
)
def test_a_header_is_left_out_and_names_the_columns(tmp_path, content, extension, fields):
    corpus = read(tmp_path, content, extension, **fields)
    assert corpus.train == [Example((text,), (label,), "und") for text, label in TEXTS]
    assert ("the first line is a header" in told(corpus)) == (
        not content.startswith(("pos", "a fine"))
    )


def test_csv_has_quotes_pairs_languages_and_tags(tmp_path):
    rows = 'premise,hypothesis,label,lang\n"a, ""b""",c,yes,DE\n"d\ne",f,no,en\n'
    assert read(tmp_path, rows, "csv").train == [
        Example(('a, "b"', "c"), ("yes",), "de"),
        Example(("d e", "f"), ("no",), "en"),
    ]
    rows = join([("tokens", "ner_tags"), *zip(WORDS, IOB2, strict=True)], ",")
    assert read(tmp_path, rows, "csv").train == EXPECTED


@pytest.mark.parametrize(
    ("content", "extension", "words"),
    [
        ("a,b\n1,2\n", "csv", "train.csv:1: the first line names no columns of texts and labels"),
        ("a\nb\n", "csv", "train.csv is no table"),
        ('text,label\n"a"b,c\n', "csv", "train.csv:2: this row is not valid CSV"),
        (
            "text,label\na,b\nc\n",
            "csv",
            "train.csv:3: 1 columns where 2 are needed for text, label",
        ),
        (HEADER, "tsv", "train.tsv:1: 'Satz' with the label 'Urteil' looks like a header"),
        (join((t, f"{i / 4}") for i, (t, _) in enumerate(TEXTS)), "tsv", "numbers with fractions"),
        (
            join((label, text) for text, label in TEXTS),
            "tsv",
            "the labels are texts, such as 'a fine day 0', .* set data.columns=text:2,label:1",
        ),
        (join((text, f"c{i}") for i, (text, _) in enumerate(TEXTS)), "tsv", "18 different labels"),
        (join([*TEXTS, ("x", "neg\u200b")]), "tsv", r"train.tsv:19: .* invisible characters alone"),
        ("Word,Tag\n" + "a,O\nb,B-X\n" * 5, "csv", "every row has one word: write .* columns in a"),
        ("a\tO\nb\tB-X\n" * 150, "conll", "no empty line, so its 300 words are one sentence: add"),
        (
            join(("a", "b", "c", label) for _, label in TEXTS),
            "tsv",
            "train.tsv:1: 3 texts where 2 were expected: data.columns=text:1,label:2 says",
        ),
        (join((text, "pos") for text, _ in TEXTS), "tsv", "all 18 texts are of one class, 'pos'"),
        (join([*TEXTS, ("x", "Pos")]), "tsv", "train.tsv:19: 'Pos' and 'pos' differ in case"),
        (tagged("O O O O O", "O O O O O", "O O"), "tsv", "train.tsv has no entity: every tag is O"),
        (tagged(IOB2[0], IOB2[1], "B-loc O"), "tsv", "train.tsv:3: 'loc' and 'LOC' differ in case"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, content, extension, words):
    refuses(words, tmp_path, content, extension)


def test_one_sentence_of_many_words_ends_with_an_empty_line(tmp_path):
    corpus = read(tmp_path, "a\tO\nb\tB-X\n" * 150 + "\n", "conll")
    assert [len(example.inputs) for example in corpus.train] == [300]


def test_columns_in_a_tsv_file_are_recognised_by_its_empty_lines(tmp_path):
    word, tag = (lambda number, word, tag: word), (lambda number, word, tag: tag)
    assert read(tmp_path, columns(word, tag), "tsv").train == EXPECTED
    german = "#\thttp://x\n" + columns(lambda number, *_: str(number), word, tag, lambda *_: "O")
    corpus = read(tmp_path, german, "tsv")
    assert corpus.train == EXPECTED
    assert "columns, one word per line: word in 2, tag in 3 of 4" in told(corpus)
    refuses(
        "train.tsv:2: an empty line: .*; columns with a word per", tmp_path, "a b\tO O\n\nc\tO\n"
    )


def test_a_tsv_file_may_have_all_cells_in_quotes(tmp_path):
    quoted = join((f'"{text} ""so"""', f'"{label}"') for text, label in TEXTS)
    corpus = read(tmp_path, quoted)
    expected = [Example((f'{text} "so"',), (label,), "und") for text, label in TEXTS]
    assert corpus.train == expected
    assert "tab-separated columns in quotes: text in 1, label in 2" in told(corpus)
    assert read(tmp_path, '"Text"\t"label"\n' + quoted).train == expected
    some = read(tmp_path, quoted + "x\tneg\n").train
    assert some[0].labels == ('"pos"',)


def test_a_class_that_may_be_a_missing_value_is_told(tmp_path, caplog):
    read(tmp_path, join([*TEXTS, ("x", "NaN")]))
    assert "train.tsv: the class 'NaN' may stand for a missing label" in caplog.text


def test_a_header_of_dev_alone_is_refused(tmp_path):
    refuses("dev.tsv:1: 'Satz' with the label 'Urteil' looks", tmp_path, join(TEXTS), dev=HEADER)


def test_numbers_of_texts_are_not_read_as_texts(tmp_path):
    rows = join((str(i), *row) for i, row in enumerate(TEXTS))
    refuses("first text of every pair is a number: set data.columns=text:2", tmp_path, rows)
    assert read(tmp_path, rows, task="pair").train[3].inputs == ("3", "a grey day 1")
    assert read(tmp_path, rows, columns="text:2,label:3").train[3].inputs == ("a grey day 1",)


def test_labels_tsv_and_data_task_say_what_is_meant(tmp_path):
    fractions = join((text, f"{i % 3 / 4}") for i, (text, _) in enumerate(TEXTS))
    assert read(tmp_path, fractions, task="single").task.labels == ("0.0", "0.25", "0.5")
    many = join((text, f"c{i}") for i, (text, _) in enumerate(TEXTS))
    assert len(read(tmp_path, many, task="single").task.labels) == 18
    cases = join([*TEXTS, ("x", "Pos")])
    assert read(tmp_path, cases, labels="neg pos Pos").task.labels == ("neg", "pos", "Pos")


def test_labels_that_train_lacks_are_warned_of_or_refused_where_they_are_most(tmp_path, caplog):
    read(tmp_path, join(TEXTS), dev=join([*TEXTS, ("x", "odd")]))
    assert "dev.tsv has classes that train lacks, and counts them: 'odd' (1)" in caplog.text
    others = join((text, label.upper() + "!") for text, label in TEXTS)
    refuses("have different labels: 'POS!' .9., 'NEG!' .9.", tmp_path, join(TEXTS), dev=others)
    caplog.clear()
    read(tmp_path, tagged(*IOB2), dev=tagged(*IOB2[:2], "B-ORG O"))
    assert "dev.tsv has types of entities that train lacks, and counts them: 'ORG' (1)" in (
        caplog.text
    )
    read(tmp_path, tagged(*IOB2), dev=join([("a b", "O O")]))
    assert "dev.tsv has no entity" in caplog.text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"task": "pair"}, "1 texts where 2 were expected"),
        ({"columns": "text:3,label:2"}, "train.tsv:1: data.columns=text:3, but there is no such"),
        ({"columns": "text:title,label:2"}, "data.columns=text:title, but there is no such"),
        ({"task": "tagging"}, "no word is O"),
    ],
)
def test_what_the_fields_say_and_the_file_does_not_have_is_refused(tmp_path, fields, words):
    refuses(words, tmp_path, join(TEXTS), **fields)


def test_a_limit_draws_evenly_over_languages_and_classes(tmp_path):
    rows = [
        (f"text {i}", f"{'de' if i % 4 else 'fr'}:{'neg' if i < 90 else 'pos'}") for i in range(120)
    ]
    corpus = read(tmp_path, join(rows), limit=40)
    counts = Counter((each.language, each.labels[0]) for each in corpus.train)
    # French has 7 texts of pos: its other class gives the rest.
    assert counts == {("de", "neg"): 10, ("de", "pos"): 10, ("fr", "neg"): 13, ("fr", "pos"): 7}
    numbers = [int(each.inputs[0].split()[1]) for each in corpus.train]
    assert numbers == sorted(numbers)
    assert numbers[:10] != list(range(10))
    assert read(tmp_path, join(rows), limit=40).train == corpus.train
    first = read(tmp_path, join(rows), limit=4, draw="first").train
    assert [each.inputs[0] for each in first] == ["text 0", "text 1", "text 2", "text 4"]


def test_a_limit_keeps_a_sentence_of_every_type(tmp_path):
    rare = [*[("we saw Graz", "O O B-LOC")] * 200, ("Ina slept", "B-PER O")]
    for seed in range(3):
        (tmp_path / "train.tsv").write_text(join(rare))
        (tmp_path / "dev.tsv").write_text(join(rare))
        corpus = read_corpus(Data(folder=str(tmp_path), limit=5), seed=seed)
        assert len(corpus.train) == 5
        assert corpus.train[-1].labels == ("B-PER", "O")


def test_many_classes_and_long_texts_fit_into_few_lines(tmp_path):
    rows = [(f"\u2028{'long ' * 60}{i}", f"class {i % 40}") for i in range(200)]
    lines = describe_corpus(read(tmp_path, join(rows)))
    assert len(lines) <= 8
    assert max(map(len, lines)) <= 110
    assert "(40 in all)" in " ".join(lines)
    assert all(line.isprintable() for line in lines)


def test_nothing_is_logged_of_an_ordinary_folder(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "xdistil")
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.tsv").write_text(join(TEXTS))
    read_corpus(Data(folder=str(tmp_path)), seed=0)
    assert not re.sub(r".*no transfer.*", "", caplog.text)
