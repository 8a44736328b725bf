"""Task folders: labels, prefixes, selection of sentences, and errors."""

import gzip
import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdistil.config import Data
from xdistil.data.corpus import draw_indices, list_files, read_corpus, take_evenly
from xdistil.data.examples import Example, Task
from xdistil.data.streamed import number_languages
from xdistil.errors import InputError

TAGGED = "Ann lebt\tde:B-PER O\nin Rom\tO B-LOC\n"
TAGS = "B-LOC\nB-PER\nI-LOC\nI-PER\nO\n"


@pytest.fixture
def folder(tmp_path):
    """A callable that writes a task folder from file names without dots and returns its path."""

    def write(**files):
        for name, content in files.items():
            path = tmp_path / name.replace("_", ".")
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


def read(folder, seed=0, **fields):
    return read_corpus(Data(folder=str(folder), **fields), seed)


def labels_of(examples):
    return [(example.labels, example.language) for example in examples]


def read_labels(folder, content, names=""):
    """What the labels of classification texts mean, the texts being 1, 2, ..."""
    rows = "".join(f"{i}\t{label}\n" for i, label in enumerate(content.split(), 1))
    files = {"labels_tsv": names.replace(" ", "\n") + "\n"} if names else {}
    corpus = read(folder(train_tsv=rows, dev_tsv=rows, **files))
    return corpus.task.labels, [(e.labels[0], e.language) for e in corpus.train]


def refuses(words, action, *arguments, **fields):
    with pytest.raises(InputError, match=words) as caught:
        action(*arguments, **fields)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_tagging_folder_is_read(folder):
    path = folder(
        train_tsv=TAGGED, dev_tsv=TAGGED, test_tsv=TAGGED, labels_tsv=TAGS, transfer_txt="a b\nc\n"
    )
    corpus = read(path)
    expected = [
        Example(("Ann", "lebt"), ("B-PER", "O"), "de"),
        Example(("in", "Rom"), ("O", "B-LOC"), "und"),
    ]
    assert corpus.task == Task("tagging", ("B-LOC", "B-PER", "I-LOC", "I-PER", "O"))
    assert corpus.train == corpus.dev == corpus.test == expected
    assert corpus.transfer == [Example(("a", "b"), None, "und"), Example(("c",), None, "und")]


def test_without_a_label_file_the_labels_are_the_sorted_union_of_all_splits(folder):
    train, dev = "a b\tO I-PER\n", "a\tB-PER\na\tB-LOC\n"
    path = folder(train_tsv=train, dev_tsv=dev, test_tsv="a\tO\n")
    assert read(path, repair=True).task.labels == ("B-LOC", "B-PER", "I-PER", "O")
    path = folder(train_tsv="a\t2\nb\t0\n", dev_tsv="a\t0\nb\t10\n", test_tsv="a\t1\na\t0\n")
    assert read(path).task == Task("classification", ("0", "1", "2", "10"))


def test_a_prefix_is_split_off_only_before_a_label_and_never_within_one(folder):
    names = "pos en:pos a:b"
    written = "pos en:pos de:pos de:en:pos a:b x:a:b"
    classes = ["pos", "en:pos", "pos", "en:pos", "a:b", "a:b"]
    languages = ["und", "und", "de", "de", "und", "x"]
    expected = list(zip(classes, languages, strict=True))
    assert read_labels(folder, written, names)[1] == expected
    refuses("'en:neg' is not among", read_labels, folder, "pos en:neg", names)
    refuses("':pos' is not among", read_labels, folder, "pos :pos", names)


def test_an_unambiguous_prefix_needs_no_label_file(folder):
    assert read_labels(folder, "en:pos zh-Hans:neg") == (
        ("neg", "pos"),
        [("pos", "en"), ("neg", "zh-Hans")],
    )
    refuses("'topic:pos' may be a label", read_labels, folder, "pos topic:pos neg")
    assert read_labels(folder, "topic:news topic:sports")[0] == ("topic:news", "topic:sports")
    refuses(r"train.tsv:2: 'en:neg' may be a label", read_labels, folder, "pos en:neg")
    refuses(r"train.tsv:1: 'en:neg' may be a label", read_labels, folder, "en:neg topic:sports")


def test_a_label_is_a_name_or_the_number_of_its_class(folder):
    assert read_labels(folder, "1 de:0", "neg pos")[1] == [("pos", "und"), ("neg", "de")]
    assert read_labels(folder, "pos neg", "neg pos")[1] == [("pos", "und"), ("neg", "und")]
    assert read_labels(folder, "0 1 other", "0 1 other")[1][2] == ("other", "und")
    refuses("names .line 1. and numbers .line 2.", read_labels, folder, "pos 0", "neg pos")
    refuses("label '1' is ambiguous.*class '0'", read_labels, folder, "1 0", "1 0")
    refuses("train.tsv:2: label '2' is not among .*'neg'", read_labels, folder, "1 2", "neg pos")


def test_numbers_without_names_are_their_own_names_in_numeric_order(folder):
    assert read_labels(folder, "1 0 de:1") == (
        ("0", "1"),
        [("1", "und"), ("0", "und"), ("1", "de")],
    )
    assert read_labels(folder, "5 1 2")[0] == ("1", "2", "5")
    assert read_labels(folder, "1 -1 en:1") == (
        ("-1", "1"),
        [("1", "und"), ("-1", "und"), ("1", "en")],
    )


def test_colons_and_tags_in_the_text_are_words(folder):
    corpus = read(folder(train_tsv="de:O 12:30 O\tfr:O O B-PER\n", dev_tsv=TAGGED, labels_tsv=TAGS))
    assert corpus.train == [Example(("de:O", "12:30", "O"), ("O", "O", "B-PER"), "fr")]


def test_pairs_keep_both_texts_in_order(folder):
    rows = "a b\tc\ten:1\nd\te f\ten:0\n"
    corpus = read(folder(train_tsv=rows, dev_tsv=rows, transfer_txt="x\ty z\n"))
    assert corpus.train[0] == Example(("a b", "c"), ("1",), "en")
    assert corpus.transfer == [Example(("x", "y z"), None, "und")]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train_tsv": "a b\tO\n"}, "train.tsv:1: 2 words but 1 tags"),
        ({"train_tsv": "a\tB-MISC\n"}, "train.tsv:1: tag 'B-MISC' is not among"),
        ({"train_tsv": "a\tfr:PER\n"}, "train.tsv:1: tag 'fr:PER' is not among"),
        ({"dev_tsv": b"a\tO\n\xe9\tO\n"}, "dev.tsv:2: these bytes are not UTF-8"),
        ({"dev_tsv": ""}, "dev.tsv is empty"),
        ({"test_tsv": "a b\n"}, "test.tsv:1: no tab"),
        ({"labels_tsv": TAGS + "O\n"}, "labels.tsv:6: label 'O' is repeated"),
        ({"labels_tsv": "O\n\nB-PER\n"}, "labels.tsv:2: a line must be one label"),
        ({"labels_tsv": "0\tO\n"}, "labels.tsv:1: a line must be one label"),
        ({"labels_tsv": TAGS + "E-PER\n"}, "'E-PER' is not a tag of iob2: set data.scheme=bioes"),
        ({"transfer_txt": "a\tO\n"}, "transfer.txt:1: 2 columns"),
        ({"train_jsonl": "{}"}, "both train.tsv and train.jsonl"),
    ],
)
def test_a_damaged_tagging_folder_is_refused_with_file_and_line(folder, files, words):
    path = folder(**{"train_tsv": TAGGED, "dev_tsv": TAGGED, "labels_tsv": TAGS} | files)
    refuses(words, read, path)


def test_texts_of_unequal_number_are_refused(folder):
    pair = "a\tb\t0\nc\td\t1\n"
    path = folder(train_tsv=pair + "a\t1\n", dev_tsv=pair, labels_tsv="n\np\n")
    refuses("train.tsv:3: 1 texts where 2 were expected", read, path)
    refuses("dev.tsv:1: 1 texts where 2", read, folder(train_tsv=pair, dev_tsv="a\t1\n"))
    refuses("transfer.txt:1: 1 texts", read, folder(dev_tsv=pair, transfer_txt="a\n"))
    refuses("train.tsv:1: 3 texts", read, folder(train_tsv="a\tb\tc\t0\n"))


def test_illegal_tags_are_refused_with_the_first_three_lines_and_their_count(folder):
    rows = "a\tO\n" + "a b\tO I-PER\n" * 2 + "a\tI-LOC\n" * 3
    path = folder(train_tsv=rows, dev_tsv=TAGGED, labels_tsv=TAGS)
    places = [
        rf"\S+train\.tsv:{line} \({fault}\)"
        for line, fault in [
            (2, "I-PER after O"),
            (3, "I-PER after O"),
            (4, "I-LOC after the start"),
        ]
    ]
    refuses(f"^5 sentences have illegal iob2 tags, first {', '.join(places)}: ", read, path)
    assert read(path, repair=True).train[1].labels == ("O", "B-PER")


@pytest.mark.parametrize(
    ("scheme", "written"),
    [
        ("iob2", "B-PER I-PER B-PER B-LOC O"),
        ("iob1", "I-PER I-PER B-PER I-LOC O"),
        ("bioes", "B-PER E-PER S-PER S-LOC O"),
    ],
)
@pytest.mark.parametrize("names", [None, TAGS])
def test_every_scheme_reads_as_iob2(folder, scheme, written, names):
    files = {"labels_tsv": names} if names else {}
    path = folder(train_tsv=f"a b c d e\tfr:{written}\n", dev_tsv="a\tO\n", **files)
    corpus = read(path, scheme=scheme)
    assert labels_of(corpus.train) == [(("B-PER", "I-PER", "B-PER", "B-LOC", "O"), "fr")]
    assert set(corpus.train[0].labels) <= set(corpus.task.labels)


def test_every_format_gives_the_same_corpus(folder, tmp_path):
    expected = read(folder(train_tsv=TAGGED, dev_tsv=TAGGED)).train
    (tmp_path / "train.tsv").unlink()
    conll = "Ann de:B-PER\nlebt O\n\nin O\nRom B-LOC\n"
    assert read(folder(train_conll=conll)).train == expected
    (tmp_path / "train.conll").unlink()
    assert read(folder(train_txt=conll)).train == expected
    (tmp_path / "train.txt").unlink()
    rows = '{"tokens": ["Ann", "lebt"], "tags": ["B-PER", "O"], "language": "de"}\n'
    rows += '{"tokens": ["in", "Rom"], "tags": ["O", "B-LOC"]}\n'
    assert read(folder(train_jsonl=rows)).train == expected
    (tmp_path / "train.jsonl").unlink()
    (tmp_path / "train.tsv.gz").write_bytes(gzip.compress(TAGGED.encode()))
    assert read(tmp_path).train == expected


def test_no_folder_no_train_and_no_dev_are_refused(folder, tmp_path):
    refuses("data.folder 'nowhere' is not a folder", read, "nowhere")
    refuses("no train file: train.tsv", read, tmp_path)
    refuses("no dev file: add dev.tsv, or set data.dev_fraction", read, folder(train_tsv=TAGGED))


def test_no_test_is_a_warning(folder, caplog):
    assert read(folder(train_tsv=TAGGED, dev_tsv=TAGGED)).test is None
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "no test file" in warning.getMessage()


def test_without_dev_a_share_of_each_language_is_held_out(folder):
    rows = "".join(f"w{i // 2}\t{'de' if i < 40 else 'fr'}:B-X\n" for i in range(60))
    path = folder(train_tsv=rows)
    corpus = read(path, dev_fraction=0.2)
    assert Counter(example.language for example in corpus.dev) == {"de": 8, "fr": 4}
    assert len(corpus.train) + len(corpus.dev) == 60
    assert not {e.inputs for e in corpus.train} & {e.inputs for e in corpus.dev}
    numbers = [int(example.inputs[0][1:]) for example in corpus.dev]
    assert numbers == sorted(numbers)
    assert read(path, dev_fraction=0.2) == corpus
    assert read(path, seed=1, dev_fraction=0.2).dev != corpus.dev
    one = folder(train_tsv="a\tB-X\n")
    refuses("leaves 1 train and 0 dev", read, one, dev_fraction=0.5)


LANGUAGES = "a\tde:B-X\nb\tfr:B-X\nc\tnl:B-X\n"


def test_languages_select_in_all_splits_and_train_languages_in_train_and_dev(folder):
    transfer = "".join(
        f'{{"tokens": ["{word}"], "language": "{language}"}}\n'
        for word, language in [("x", "de"), ("y", "fr"), ("z", "en")]
    )
    path = folder(
        train_tsv=LANGUAGES, dev_tsv=LANGUAGES, test_tsv=LANGUAGES, transfer_jsonl=transfer
    )
    corpus = read(path, languages="de, fr", train_languages="fr")
    assert [e.language for e in corpus.train] == [e.language for e in corpus.dev] == ["fr"]
    assert [e.language for e in corpus.test] == ["de", "fr"]
    # The last one is the German training sentence, without its label.
    assert [e.language for e in corpus.transfer] == ["de", "fr", "de"]
    refuses("data.languages names 'en', which .* it has de, fr, nl", read, path, languages="en")
    refuses("data.train_languages names 'x'", read, path, train_languages="x")
    refuses("No train sentence", read, path, languages="de", train_languages="fr")
    refuses("No transfer text", read, path, languages="nl")


def test_texts_of_other_languages_are_used_without_their_labels(folder):
    path = folder(train_tsv=LANGUAGES, dev_tsv=LANGUAGES, test_tsv=LANGUAGES)
    corpus = read(path, languages="de,fr", train_languages="fr")
    assert [e.language for e in corpus.train] == [e.language for e in corpus.dev] == ["fr"]
    assert corpus.transfer == [Example(("b",), None, "fr"), Example(("a",), None, "de")]
    assert [e.language for e in corpus.test] == ["de", "fr"]


def test_texts_of_other_languages_follow_those_of_a_transfer_file(folder, caplog):
    caplog.set_level(logging.INFO, "xdistil")
    path = folder(train_tsv=LANGUAGES, dev_tsv=LANGUAGES, transfer_txt="x\ny\n")
    without_language = [Example((word,), None, "und") for word in "xy"]
    everywhere = read(path)
    assert list(everywhere.transfer) == without_language
    assert "outside data.train_languages" not in caplog.text
    corpus = read(path, train_languages="fr")
    others = [Example(("a",), None, "de"), Example(("c",), None, "nl")]
    assert list(corpus.transfer) == without_language + others
    assert "with 2 training texts outside data.train_languages" in caplog.text
    # The limit is that of all transfer texts, drawn evenly over their languages.
    limited = read(path, train_languages="fr", transfer_limit=2).transfer
    assert list(limited) == [without_language[0], others[0]]
    assert list(read(path, train_languages="fr", languages="fr,nl").transfer) == [
        *without_language,
        others[1],
    ]


def test_a_transfer_file_may_be_given_a_language(folder, tmp_path):
    path = folder(train_tsv=LANGUAGES, dev_tsv=LANGUAGES)
    for name in ("x1.txt", "x2.txt", "de:y.txt", "z.txt"):
        (tmp_path / name).write_text(f"{name[0]}\n")
    (tmp_path / "u.jsonl").write_text('{"tokens": ["u"], "language": "nl"}\n')
    given_files = (
        f"pt-BR:{tmp_path}/x*.txt,{tmp_path}/de:y.txt,{tmp_path}/z.txt,fr:{tmp_path}/u.jsonl"
    )
    transfer = read(path, transfer=given_files).transfer
    assert [(e.inputs[0], e.language) for e in transfer] == [
        ("x", "pt-BR"),
        ("x", "pt-BR"),
        ("d", "und"),
        ("z", "und"),
        ("u", "nl"),
    ]
    listed = list_files(Data(folder=str(path), transfer=given_files))
    assert {name for name in listed if name.startswith("transfer")} == {
        "transfer[0] in pt-BR",
        "transfer[1] in pt-BR",
        "transfer[2]",
        "transfer[3]",
        "transfer[4] in fr",
    }
    twice = f"de:{tmp_path}/z.txt,fr:{tmp_path}/z.txt"
    refuses("names .*z.txt twice, as 'de' and as 'fr'", read, path, transfer=twice)
    refuses("no file matches 'de:none'", read, path, transfer="de:none")


def test_transfer_texts_without_a_language_beside_others_are_left_out_and_counted(
    folder, tmp_path, caplog
):
    (tmp_path / "z.txt").write_text("z\n" * 3)
    (tmp_path / "u.txt").write_text("u\n" * 2)
    path = folder(train_tsv=LANGUAGES, dev_tsv=LANGUAGES)
    files = f"de:{tmp_path}/z.txt,{tmp_path}/u.txt"
    with caplog.at_level("WARNING"):
        corpus = read(path, transfer=files, languages="de")
    assert [example.language for example in corpus.transfer] == ["de"] * 3
    assert "2 transfer texts have no language: data.languages leaves them out" in caplog.text


def test_transfer_texts_without_a_language_are_all_kept(folder):
    path = folder(train_tsv=LANGUAGES, dev_tsv=LANGUAGES, transfer_txt="x\ny\n")
    assert len(read(path, languages="de").transfer) == 2


def test_without_transfer_texts_the_training_texts_are_used_and_this_is_logged(folder, caplog):
    caplog.set_level(logging.INFO, "xdistil")
    corpus = read(folder(train_tsv=LANGUAGES, dev_tsv=LANGUAGES), limit=2)
    assert corpus.transfer == [Example(("a",), None, "de"), Example(("b",), None, "fr")]
    assert "no transfer texts: using 2 training texts" in caplog.text


def test_transfer_texts_of_csv_json_lines_and_wikiann_are_read(folder, tmp_path):
    path = folder(train_tsv=TAGGED, dev_tsv=TAGGED)
    (tmp_path / "a.csv").write_text('id,text,lang\n1,"Ann, went",DE\n')
    (tmp_path / "b.jsonl").write_text('\n{"text": "Ann (slept)."}\n{"tokenized_text": ["Bo"]}\n')
    (tmp_path / "c.conll").write_text("pt:Ann\tO\npt:went\tO\n\npt:Bo\tO\n")
    given_files = f"{tmp_path}/*.csv,{tmp_path}/b.jsonl,{tmp_path}/c.conll"
    transfer = read(path, transfer=given_files).transfer
    assert number_languages(transfer)[0] == ["de", "und", "pt"]
    assert transfer == [
        Example(("Ann,", "went"), None, "de"),
        Example(("Ann", "(", "slept", ")", "."), None, "und"),
        Example(("Bo",), None, "und"),
        Example(("Ann", "went"), None, "pt"),
        Example(("Bo",), None, "pt"),
    ]
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    refuses(
        "a.csv:1: the first line names no column of texts", read, path, transfer=f"{tmp_path}/a.csv"
    )


def test_transfer_takes_files_and_globs_plain_and_compressed(folder, tmp_path):
    path = folder(train_tsv=TAGGED, dev_tsv=TAGGED, transfer_txt="unused\n")
    (tmp_path / "t2.txt").write_text("c d\n\ne\n")
    (tmp_path / "t1.txt.gz").write_bytes(gzip.compress(b"a b\n"))
    (tmp_path / "u.conll").write_text("f O\ng O\n")
    given_files = f"{tmp_path}/u.conll, {tmp_path}/t*.txt*, {tmp_path}/t2.txt"
    inputs = [example.inputs for example in read(path, transfer=given_files).transfer]
    assert inputs == [("f", "g"), ("a", "b"), ("c", "d"), ("e",), ("unused",)]
    limited = read(path, transfer=given_files, transfer_limit=2).transfer
    assert [example.inputs for example in limited] == inputs[:2]
    refuses("data.transfer: no file matches 'none[*]'", read, path, transfer="none*")


@given(st.lists(st.sampled_from("aabbbbc"), min_size=1, max_size=30), st.integers(1, 30))
def test_the_first_sentences_of_each_language_are_taken_evenly(languages, limit):
    examples = [Example((str(i),), None, language) for i, language in enumerate(languages)]
    taken = take_evenly(examples, limit)
    counts, available = Counter(e.language for e in taken), Counter(languages)
    assert len(taken) == min(limit, len(examples))
    for language, count in counts.items():
        of_it = [e for e in examples if e.language == language]
        assert [e for e in taken if e.language == language] == of_it[:count]
    # No language could give one more without another, which gave more, giving one less.
    short = [counts[k] for k in available if counts[k] < available[k]]
    assert max(counts.values()) - min(short, default=max(counts.values())) <= 1
    assert [int(e.inputs[0]) for e in taken] == sorted(int(e.inputs[0]) for e in taken)


@given(st.lists(st.sampled_from("aabbbbc"), min_size=1, max_size=30), st.integers(1, 30))
def test_indices_are_drawn_evenly_over_languages_and_by_the_seed(languages, limit):
    examples = [Example((str(i),), None, language) for i, language in enumerate(languages)]
    drawn = draw_indices(examples, limit, 3)
    assert (
        drawn.tolist() == sorted(set(drawn.tolist())) == draw_indices(examples, limit, 3).tolist()
    )
    counts = Counter(languages[i] for i in drawn)
    assert counts == Counter(each.language for each in take_evenly(examples, limit))


def test_another_seed_draws_other_texts():
    examples = [Example((str(i),), None, "de") for i in range(100)]
    one, other = (draw_indices(examples, 10, seed).tolist() for seed in (0, 1))
    assert one != other
    assert one != list(range(10))


def test_no_limit_takes_all():
    examples = [Example(("a",), None, "de")] * 3
    assert take_evenly(examples, 0) == examples


def test_equal_words_and_tag_columns_share_their_memory(folder):
    corpus = read(folder(train_tsv="abc def\tB-LOC B-PER\n" * 2, dev_tsv=TAGGED))
    first, second = corpus.train
    assert first.labels is second.labels
    assert first.inputs[1] is second.inputs[1]
