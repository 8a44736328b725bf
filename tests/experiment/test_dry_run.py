"""The overview of a run fits a screen: 48 lines of 110 columns; the details have the rest."""

import re
import string

import pytest

from xdistil.config import Baseline, Experiment, Student, Teacher
from xdistil.experiment.dry_run import describe, describe_signals
from xdistil.plans import d42, labels_only, ner, pkd, quickstart
from xdistil.teacher.cache_policy import CacheChoice
from xdistil.teacher.signals import SignalSpec

LANGUAGES = [f"{a}{b}" for a in "abc" for b in string.ascii_lowercase][:69]
RATES = [f"0.{i}" for i in range(11, 59, 2)]


def sentences(index: int) -> int:
    """How many sentences of train are of a language."""
    return 3 + (68 - index) // 4


def check_fits(overview: str) -> None:
    lines = overview.splitlines()
    assert len(lines) <= 48
    assert max(map(len, lines)) <= 110


def list_stages(overview: str) -> list[list[str]]:
    """Name and columns of every stage of the student."""
    rows = [line.split() for line in overview.splitlines() if re.match(r"student \d", line)]
    return [row[2:] for row in rows]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The overview of 69 languages and the plan D4.2, and the same with its details."""
    folder = tmp_path_factory.mktemp("languages")
    for name in ("train", "dev", "test"):
        # Train has most sentences of the first language; the last word of dev is unknown.
        words, tags = ("Anna went ☂", "B-PER O O") if name == "dev" else ("Anna went", "B-PER O")
        lines = [
            f"{words}\t{language}:{tags}\n"
            for i, language in enumerate(LANGUAGES)
            for _ in range(sentences(i) if name == "train" else 1)
        ]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    (folder / "transfer.txt").write_text("".join(f"Bob saw {i}\n" for i in range(100)))
    experiment = Experiment(
        dtype="float32",
        teacher=Teacher(hidden_size=8, layers=2, heads=2, vocabulary_size=200),
        student=Student(embedding_size=8, hidden_size=6, vocabulary="seen"),
        plan=d42(),
        baselines=(Baseline(lrs=",".join(RATES)),),
    )
    experiment.data.folder, experiment.data.row_length = str(folder), 32
    experiment.data.temperature = 2.0
    experiment.data.spliced = 30
    experiment.plan[1].mask = 0.2
    experiment.plan[2].class_weights = "O=0.5"  # of words of which every second is O
    return describe(experiment), describe(experiment, verbose=True)


def test_the_overview_of_many_languages_and_stages_fits(told):
    overview, _ = told
    check_fits(overview)
    device, empty, *lines = overview.splitlines()
    assert "made texts, among the transfer texts: 30 spliced" in lines
    assert re.match(r"JAX \S+ on \d+ x ", device)
    assert not empty
    assert lines[0].startswith("task: tagging")
    table = next(i for i, line in enumerate(lines) if line.startswith("language "))
    rows = [line.split() for line in lines[table:]]
    # 100 texts are of no language, and 30 are spliced; the other languages are shown from the
    # largest to the smallest.
    shown = ["und", *LANGUAGES[:3], "...", *LANGUAGES[-4:], "all"]
    assert [row[0] for row in rows[1:11]] == shown
    train = sum(map(sentences, range(69)))
    assert rows[10][:6] == ["all", "70", f"{train}", "69", "69", "130"]
    # One word in 5 + 2 * sentences is unknown.
    unknown = [name for i, name in enumerate(LANGUAGES) if 1 / (5 + 2 * sentences(i)) > 0.05]
    listed = ", ".join([*unknown[:4], "...", *unknown[-4:]])
    words = " ".join(overview.split())
    assert f"Warning: more than 5% of the words hold an unknown subword in {listed};" in words
    stages = list_stages(overview)
    groups = ("head", "projection", "bilstm", "embeddings")
    names = [f"{name}/{group}" for name in ("logits", "labels") for group in groups]
    assert [row[0] for row in stages] == ["representation", *names]
    trained = [" ".join(row[3:-3]) for row in stages]
    gradual = ["head", "head to projection", "head to bilstm", "all groups"]
    assert trained == ["all but head", *gradual, *gradual]
    assert f"learning rate the best on dev of {', '.join(RATES)}" in words


def test_a_stage_with_projections_of_its_own_trains_the_head_too(tmp_path):
    """A transformer's projections stand before the head in the list of its groups."""
    (tmp_path / "train.tsv").write_text("Anna went\tB-PER O\n" * 3)
    (tmp_path / "dev.tsv").write_text("Anna went\tB-PER O\n")
    experiment = Experiment(
        dtype="float32",
        teacher=Teacher(hidden_size=8, layers=2, heads=2, vocabulary_size=200),
        student=Student(kind="transformer", embedding_size=8, hidden_size=4, layers=2, heads=2),
        plan=pkd(),
    )
    experiment.data.folder, experiment.data.row_length = str(tmp_path), 32
    (stage,) = list_stages(describe(experiment))
    assert stage[:5] == ["together", "representation+logits+labels", "train", "all", "groups"]


@pytest.mark.parametrize("loss", ["ce", "crf"])
def test_a_verbose_overview_says_that_tags_of_sentences_are_learned(tmp_path, loss):
    (tmp_path / "train.tsv").write_text("Anna went\tB-PER O\n" * 3)
    (tmp_path / "dev.tsv").write_text("Anna went\tB-PER O\n")
    experiment = Experiment(
        dtype="float32",
        teacher=Teacher(hidden_size=8, layers=2, heads=2, vocabulary_size=200),
        student=Student(embedding_size=8, hidden_size=6),
        plan=labels_only(),
    )
    experiment.plan[0].labels_loss = loss
    experiment.data.folder, experiment.data.row_length = str(tmp_path), 32
    assert ("labels (crf) on train" in describe(experiment, verbose=True)) == (loss == "crf")


def test_the_overview_has_the_weights_of_classes(told):
    overview, _ = told
    assert "class weights of plan[2]: B-PER 1.33, O 0.667" in overview.splitlines()


def test_the_overview_says_once_what_a_stage_hides(told):
    lines = [line for line in told[0].splitlines() if "hidden from the student" in line]
    assert lines == ["hidden from the student in plan[1]: 20% of the words, which become [MASK]"]


def test_the_details_have_every_language_layer_map_and_patience(told):
    overview, verbose = told
    assert verbose.startswith(f"{overview}\n\n")
    details = verbose.removeprefix(overview)
    starts = {line.partition(" ")[0] for line in details.splitlines()}
    assert starts >= {"und", *LANGUAGES}
    for words in ("hidden 1 from 2", "trains head, projection;", "stops early after 5 evaluations"):
        assert words in details
        assert words not in overview
    assert "rows of train by language at temperature 2" in details


def test_the_overview_of_the_quickstart_fits():
    experiment = quickstart()
    experiment.data.generate, experiment.teacher.vocabulary_size = 200, 1500
    overview = describe(experiment)
    check_fits(overview)
    for words in ("teacher 1/1 train", "student 9/9 labels/embeddings", "labels only, all"):
        assert words in overview


def test_long_names_are_cut_and_numbers_never(tmp_path):
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.tsv").write_text("Anna went\tB-PER O\n" * 40)
    experiment = ner("v3")
    experiment.teacher.heads = 12
    experiment.teacher.hidden_size = 24
    experiment.student.hidden_size = experiment.student.intermediate_size = 12
    (tmp_path / "transfer.txt").write_text("Bob went\n" * 40)
    experiment.data.folder = str(tmp_path)
    overview = describe(experiment)
    names = [name for name, *_ in list_stages(overview)]
    assert names[:4] == ["representation", "logits/head", "logits/layers-0-2", "logits/embeddings"]
    for stage in experiment.plan:
        stage.name *= 20
    for each in (overview, describe(experiment)):
        check_fits(each)
        rates = [row[-1] for row in list_stages(each)]
        assert rates == ["0.0005", *["0.0003"] * 3, *["0.0001"] * 3]


def test_the_overview_says_why_a_slower_way_was_taken():
    """The states of 22 GiB are computed though a cache would be faster; those of dev fit."""
    states, logits = SignalSpec(hidden=(4,)), SignalSpec(logits=True)
    both = states.union(logits)
    choices = [
        CacheChoice("all", states, 10**7, 1.0, 22 * 2**30, 4020.0, 94.0, False, too_large=True),
        CacheChoice("all", logits, 10**7, 4.75, 2**29, 19_095.0, 12.0, True, grows=True),
        CacheChoice("dev", both, 10**5, 13.0, 2**27, 600.0, 60.0, True),
    ]
    assert describe_signals(choices) == [
        "teacher's signals cached: logits of all; logits and hidden states of dev",
        "teacher's signals computed in the steps: hidden states of all",
        "hidden states of all, computed in about 67 min instead of 94 s with a cache: 22.0 GiB "
        "more would exceed the 16 GiB that the cache of a set of texts may take unless "
        "teacher.cache=always",
        "the steps that compute hidden states of all write the cache of its logits",
    ]
