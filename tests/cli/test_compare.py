"""`xdistil compare` on files and workdirs, and its refusals."""

import json
from pathlib import Path

import pytest

from xdistil.cli.main import main

GOLD = [
    ("Anna went to Oslo", "en:B-PER O O B-LOC"),
    ("Bob slept", "en:B-PER O"),
    ("Anna schlief", "de:B-PER O"),
    ("Ulm ist alt", "de:B-LOC O O"),
]
WRONG = {"en:B-PER O": "en:O O", "de:B-LOC O O": "de:B-PER O O"}


def write(path: Path, lines: list[tuple[str, str]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{words}\t{tags}\n" for words, tags in lines * 30), encoding="utf-8")
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """The first system, the second, and gold labels, which the second has found."""
    worse = [(words, WRONG.get(tags, tags)) for words, tags in GOLD]
    return (
        write(tmp_path / "first.tsv", worse),
        write(tmp_path / "second.tsv", GOLD),
        write(tmp_path / "gold.tsv", GOLD),
    )


def test_the_table_has_both_scores_and_a_verdict_by_language(files, tmp_path, capsys):
    first, second, gold = files
    output = tmp_path / "out.json"
    assert main(["compare", first, second, f"--gold={gold}", f"--output={output}"]) == 0
    table = capsys.readouterr().out.splitlines()
    # English: two of three entities found, none wrong: F1 0.8. German: one of two right.
    assert table[1].split()[:6] == ["mean", "of", "languages", "120", "65.00", "100.00"]
    assert table[2].split()[:5] == ["de", "60", "50.00", "100.00", "+50.00"]
    assert table[3].split()[:5] == ["en", "60", "80.00", "100.00", "+20.00"]
    assert [line.split()[-1] for line in table[1:4]] == ["better"] * 3
    assert table[-1].startswith("F1. The second system is better in 2, worse in 0")
    written = json.loads(output.read_text())
    assert written["first"] == [first]
    assert [row["language"] for row in written["differences"]] == ["", "de", "en"]
    assert written["differences"][1]["second"] == 1.0


def test_workdirs_have_their_own_gold_and_seeds_are_averaged(files, tmp_path, capsys):
    worse = [(words, WRONG.get(tags, tags)) for words, tags in GOLD]
    for name, lines in (("a", worse), ("b", GOLD), ("c", worse), ("d", worse)):
        write(tmp_path / name / "predictions/student.test.tsv", lines)
    write(tmp_path / "a/predictions/gold.test.tsv", GOLD)
    a, b, c, d = (str(tmp_path / name) for name in "abcd")
    assert main(["compare", f"{a},{c}", f"{b},{d}"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[1].split()[4:6] == ["65.00", "82.50"]
    assert table[-1].startswith("F1, mean of 2 seeds.")


def test_runs_of_a_sweep_have_commas_in_their_names(tmp_path, monkeypatch, capsys):
    """`plan=d1,seed=0,plan=d1,seed=1` are two paths, also where a folder `plan=d1` exists."""
    monkeypatch.chdir(tmp_path)
    worse = [(words, WRONG.get(tags, tags)) for words, tags in GOLD]
    (tmp_path / "plan=d1").mkdir()
    for name, lines in (("d1", worse), ("d2", GOLD)):
        for seed in range(2):
            write(tmp_path / f"plan={name},seed={seed}/predictions/student.test.tsv", lines)
    write(tmp_path / "plan=d1,seed=0/predictions/gold.test.tsv", GOLD)
    d1, d2 = (f"plan={name},seed=0,plan={name},seed=1" for name in ("d1", "d2"))
    assert main(["compare", d1, d2]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[1].split()[4:6] == ["65.00", "100.00"]
    assert table[-1].startswith("F1, mean of 2 seeds.")


def test_gold_is_that_of_the_first_workdir_beside_files(files, tmp_path, capsys):
    first, *_ = files
    write(tmp_path / "run/predictions/student.test.tsv", GOLD)
    write(tmp_path / "run/predictions/gold.test.tsv", GOLD)
    assert main(["compare", first, str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[4:6] == ["65.00", "100.00"]


def test_classes_are_compared_by_accuracy(tmp_path, capsys):
    gold = [("good", "en:pos"), ("bad", "en:neg")]
    first = write(tmp_path / "first.tsv", [("good", "en:neg"), ("bad", "en:neg")])
    second = write(tmp_path / "second.tsv", gold)
    assert main(["compare", first, second, f"--gold={write(tmp_path / 'gold.tsv', gold)}"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[2].split()[:4] == ["en", "60", "50.00", "100.00"]
    assert table[-1].startswith("accuracy.")


def test_several_labels_are_compared_by_micro_f1(tmp_path, capsys):
    """A system that predicts none has no list with a label."""
    gold = [("good", 'en:["art", "food"]'), ("bad", "en:[]")]
    first = write(tmp_path / "first.tsv", [("good", "en:[]"), ("bad", "en:[]")])
    second = write(tmp_path / "second.tsv", [("good", 'en:["art"]'), ("bad", 'en:["art"]')])
    assert main(["compare", first, second, f"--gold={write(tmp_path / 'gold.tsv', gold)}"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[2].split()[:4] == ["en", "60", "0.00", "50.00"]  # 2 * 1 / (2 + 2)
    assert table[-1].startswith("micro-F1.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{first}"], "Name two systems"),
        (["{first}", "{second}"], "Files of predictions have no gold labels beside them"),
        (["{first},{first}", "{second}", "--gold={gold}"], "name as many seeds of both"),
        (["{first}", "{folder}", "--gold={gold}"], "has no predictions/student.test.tsv"),
        (["{first}", "{other}", "--gold={gold}"], "Text 2 of {other} is not that of {gold}"),
        (["{first}", "{short}", "--gold={gold}"], "has 90 texts and {gold} 120"),
        (["{first}", "/nowhere.tsv", "--gold={gold}"], "/nowhere.tsv does not exist"),
        (["/nowhere/a", "/nowhere/b"], "/nowhere/a does not exist"),
        (["{first}", ",", "--gold={gold}"], "names no predictions"),
        (["{first}", "{second}", "--gold={gold}", "--output=/nowhere/x"], "cannot be written"),
    ],
)
def test_mistakes_are_sentences(files, tmp_path, capsys, arguments, message):
    first, second, gold = files
    named = {
        "first": first,
        "second": second,
        "gold": gold,
        "folder": str(tmp_path),
        "other": write(tmp_path / "other.tsv", [GOLD[0], ("Tom slept", GOLD[1][1]), *GOLD[2:]]),
        "short": write(tmp_path / "short.tsv", GOLD[:3]),
    }
    assert main(["compare", *(part.format(**named) for part in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("xdistil compare: ")
    assert message.format(**named) in error
    assert error.count("\n") == 1


def test_a_home_folder_is_found_and_no_input_is_overwritten(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    given = ["compare", "~/first.tsv", "~/second.tsv", "--gold=~/gold.tsv"]
    assert main([*given, "--output=~/out.json"]) == 0
    before = (tmp_path / "second.tsv").read_bytes()
    assert main([*given, "--output=~/second.tsv"]) == 2
    assert "second.tsv, which would be lost: name another file" in capsys.readouterr().err
    assert (tmp_path / "second.tsv").read_bytes() == before
