"""`xdistil label`: prompts, and answers that become a file of annotators."""

import json
import random
from pathlib import Path

import pytest

from tests.annotators.prompting.stand_in import DAMAGES, answer, mark, write_text
from xdistil.annotators.answers import Span, read_answers
from xdistil.annotators.prompting.batches import MOST_REQUESTS
from xdistil.annotators.prompting.types import read_types
from xdistil.cli.main import main
from xdistil.errors import show

ENTITIES = "PER\tnames of people\tperson\nLOC\tplaces\n"
TEXTS = ("--texts=texts.txt", "--types=types.tsv")
CLASSES = "good\tpraise\nbad\tblame\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "types.tsv").write_text(ENTITIES)
    (tmp_path / "classes.tsv").write_text(CLASSES)
    (tmp_path / "texts.txt").write_text("Anna met Bob Lee.\n\nRome, Anna.\n")
    return tmp_path


def run(*arguments):
    return main(["label", *arguments])


def write_prompts(*options):
    assert run("prompts", *TEXTS, "--output=p.jsonl", *options) == 0
    return read_rows("p.jsonl")


def read_rows(name):
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def write_rows(name, rows):
    with open(name, "w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)


def read(*options):
    return run("read", *TEXTS, "--output=out.jsonl", *options)


@pytest.mark.parametrize("form", ["openai", "anthropic", "plain"])
def test_a_round_trip_with_damaged_answers(folder, capsys, form):
    generator = random.Random(0)
    texts = {text: None for text in (write_text(generator) for _ in range(30))}
    long = " ".join(texts)  # in pieces
    (folder / "texts.txt").write_text("\n".join([*texts, long]))
    model = () if form == "plain" else ("--model=m",)
    rows = write_prompts(f"--format={form}", "--runs=3", "--longest=200", *model)
    results = []
    for row in rows:
        name = row.get("custom_id") or row["id"]
        question = {
            "plain": lambda row: row["prompt"],
            "openai": lambda row: row["body"]["messages"][-1]["content"],
            "anthropic": lambda row: row["params"]["messages"][-1]["content"],
        }[form](row)
        piece = question.rsplit("Text:\n", 1)[1].removesuffix("\n\nAnswer:")
        said = answer(piece, generator.choice(DAMAGES), generator)
        if form == "plain":
            results.append({"id": name, "answer": said})
        elif form == "openai":
            body = {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}
            results.append({"custom_id": name, "response": {"status_code": 200, "body": body}})
        else:
            message = {"content": [{"type": "text", "text": said}], "stop_reason": "end_turn"}
            results.append({"custom_id": name, "result": {"type": "succeeded", "message": message}})
    generator.shuffle(results)
    write_rows("r.jsonl", results)
    assert read("--answers=r.jsonl") == 0
    assert "run3" in capsys.readouterr().out
    found = read_answers([folder / "out.jsonl"], read_types(folder / "types.tsv", "tagging").task)
    assert [text.inputs[0] for text in found] == [*texts, long]
    for text in found:
        truth = tuple(mark(text.inputs[0]))
        assert text.answers == {"run1": truth, "run2": truth, "run3": truth}


def test_what_is_lost_and_repaired_is_told(folder, capsys):
    first, _, second, again = write_prompts("--runs=2")
    capsys.readouterr()
    ann = '[{"text": "Ann", "label": "PER"}, {"text": "x", "label": "LOC"}]'
    bob = '[{"text": "anna", "label": "ORG"}, {"text": "Bob  Lee", "label": "person"}'
    write_rows("r1.jsonl", [
        {"id": first["id"], "answer": "I cannot."},
        {"id": second["id"], "answer": ann},
    ])  # fmt: skip
    write_rows("r2.jsonl", [
        {"id": first["id"], "answer": bob},
        {"id": again["id"], "answer": None},
        {"id": second["id"], "answer": "[]"},
    ])  # fmt: skip
    assert read("--answers=r?.jsonl", "--name=m") == 0
    assert read_rows("out.jsonl") == [
        {"text": "Anna met Bob Lee.",
         "annotators": {"m1": [{"start": 9, "end": 16, "label": "PER"}], "m2": None}},
        {"text": "Rome, Anna.",
         "annotators": {"m1": [{"start": 6, "end": 9, "label": "PER"}], "m2": None}},
    ]  # fmt: skip
    told = capsys.readouterr().out
    assert told.splitlines() == [
        "    answers  read  repaired  lost  texts answered",
        "m1        2     2         2     0          2 of 2",
        "m2        1     0         0     1          0 of 2",
        "",
        "2 entities.",
        "",
        "Texts of a run without any result: 1.",
        "",
        "Further results of the same prompt, which are left out: 2.",
        "",
        "Answers that are lost:",
        "  1 empty",
        "      r2.jsonl:2",
        "",
        "Answers that were repaired:",
        "  1 cut off",
        f"      r2.jsonl:1: {show(bob)}",
        "",
        "Entities that were repaired:",
        "  1 written otherwise",
        "      r2.jsonl:1: 'Bob  Lee' as 'person'",
        "",
        "Entities that are lost:",
        "  1 unknown type",
        "      r2.jsonl:1: 'anna' as 'ORG'",
        "  1 not in the text",
        "      r1.jsonl:2: 'x' as 'LOC'",
    ]


def test_a_text_is_null_where_a_piece_of_it_is(folder, capsys):
    (folder / "texts.txt").write_text("Anna slept here. Rome fell down.\nRome\n")
    first, second, third = write_prompts("--longest=16")
    assert [first["text"], second["text"]] == ["Anna slept here.", "Rome fell down."]
    rome = '[{"text": "Rome", "label": "LOC"}]'
    rows = [{"id": each["id"], "answer": rome} for each in (second, third)]
    write_rows("r.jsonl", rows)
    assert read("--answers=r.jsonl") == 0
    spans = [row["annotators"]["run1"] for row in read_rows("out.jsonl")]
    assert spans == [None, [{"start": 0, "end": 4, "label": "LOC"}]]
    assert "run 1 of line 1: characters 0 to 17 have no answer" in capsys.readouterr().out
    write_rows("r.jsonl", [*rows, {"id": first["id"], "answer": []}])
    assert read("--answers=r.jsonl") == 0
    (row, _) = read_rows("out.jsonl")
    assert row["annotators"]["run1"] == [{"start": 17, "end": 21, "label": "LOC"}]


def test_entities_as_gliner_returns_them_are_answers(folder):
    rows = write_prompts()
    said = [
        [{"start": 0, "end": 4, "text": "Anna", "label": "person", "score": 0.875}],
        [{"start": 0, "end": 4, "text": "Rome", "label": "loc", "score": 0.5}],
    ]
    write_rows("r.jsonl", [{"id": r["id"], "answer": a} for r, a in zip(rows, said, strict=True)])
    assert read("--answers=r.jsonl", "--name=gliner") == 0
    found = read_answers([folder / "out.jsonl"], read_types(folder / "types.tsv", "tagging").task)
    assert [text.answers for text in found] == [
        {"gliner1": (Span(0, 4, "PER", 0.875),)},
        {"gliner1": (Span(0, 4, "LOC", 0.5),)},
    ]


def test_classes_and_pairs(folder):
    (folder / "texts.txt").write_text("soup\tgood soup\nsoup\tcold\n")
    options = ("--texts=texts.txt", "--types=classes.tsv", "--task=classification")
    assert run("prompts", *options, "--output=p.jsonl", "--description=Reviews of soups.") == 0
    first, second = read_rows("p.jsonl")
    assert first["prompt"].startswith(
        "Reviews of soups.\n\nThese are the classes:\n- good: praise\n"
    )
    assert first["prompt"].endswith("First text:\nsoup\n\nSecond text:\ngood soup\n\nAnswer:")
    write_rows("r.jsonl", [
        {"id": first["id"], "answer": "Label: **Good**"},
        {"id": second["id"], "answer": {"label": "bad", "score": 0.75}},
    ])  # fmt: skip
    assert run("read", *options, "--answers=r.jsonl", "--output=out.jsonl") == 0
    task = read_types(folder / "classes.tsv", "classification").task
    found = read_answers([folder / "out.jsonl"], task)
    assert [(text.inputs, text.answers["run1"]) for text in found] == [
        (("soup", "good soup"), {"good": 1.0}),
        (("soup", "cold"), {"bad": 0.75, "good": 0.25}),
    ]


def test_shares_of_all_classes_are_kept(folder):
    (folder / "classes.tsv").write_text("good\nbad\nneither\n")
    options = ("--texts=texts.txt", "--types=classes.tsv", "--task=classification")
    assert run("prompts", *options, "--output=p.jsonl") == 0
    shares = {"good": 0.5, "bad": 0.375, "neither": 0.125}
    write_rows("r.jsonl", [{"id": row["id"], "answer": shares} for row in read_rows("p.jsonl")])
    assert run("read", *options, "--answers=r.jsonl", "--output=out.jsonl") == 0
    task = read_types(folder / "classes.tsv", "classification").task
    for text in read_answers([folder / "out.jsonl"], task):
        assert text.answers == {"run1": shares}


def test_examples_are_drawn_by_seed_and_not_shown_with_their_own_text(folder, capsys):
    (folder / "task").mkdir()
    rows = [f"Anna met Bob Lee{i} .\tB-PER O B-PER I-PER O\n" for i in range(20)]
    (folder / "task" / "train.tsv").write_text("".join([*rows, "In Rome\tO B-LOC\n"]))
    (folder / "texts.txt").write_text("".join(f"Anna met Bob Lee{i}.\n" for i in range(20)))
    prompts = [row["prompt"] for row in write_prompts("--folder=task", "--examples=3")]
    assert prompts == [row["prompt"] for row in write_prompts("--folder=task", "--examples=3")]
    assert prompts != [
        row["prompt"] for row in write_prompts("--folder=task", "--examples=3", "--seed=1")
    ]
    shown = [prompt.count("\nAnswer:\n") for prompt in prompts]
    assert sorted(set(shown)) == [2, 3]
    assert all('In Rome\n\nAnswer:\n{"entities": [{"text": "Rome", "label": "LOC"}]}' in prompt
               for prompt in prompts)  # fmt: skip
    for prompt in prompts:
        asked = prompt.rsplit("Text:\n", 1)[1].split(".")[0]
        assert f"{asked}.\n\nAnswer:\n" not in prompt
    (folder / "types.tsv").write_text("PER\n")
    assert run("prompts", *TEXTS, "--output=p.jsonl", "--folder=task") == 2
    told = capsys.readouterr().err
    assert told.startswith("xdistil label: task/train.tsv: 'LOC' is not among the types that are")
    (folder / "types.tsv").write_text(ENTITIES)
    (first, *_) = write_prompts("--folder=task", "--examples=2", "--style=marked")
    assert "\nIn <LOC>Rome</LOC>\n" in first["prompt"]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["\u2028"], "r.jsonl has no result."),
        (["{"], "r.jsonl:1: this line is not valid JSON."),
        (["[]"], "r.jsonl:1: this line begins an array"),
        (['{"id": "a"}'], "r.jsonl:1: this line is no result: it needs custom_id and response or"),
        (['{"id": "a", "answer": ""}'], "r.jsonl:1: 'a' is no identifier of a prompt: keep the"),
        (['{"id": "1-0-17-1-00000000", "answer": ""}'], "r.jsonl:1: '1-0-17-1-00000000' belongs t"),
        (['{"id": "2-0-1-1-00000000", "answer": ""}'], "r.jsonl:1: '2-0-1-1-00000000' belongs to"),
        (['{"id": "ID", "answer": "no"}'],
         "None of the 1 answers can be used, the first because of 'unreadable': r.jsonl:1: 'no'."),
    ],
)  # fmt: skip
def test_results_that_are_refused(folder, capsys, rows, sentence):
    first, _ = write_prompts()
    (folder / "out.jsonl").write_text("before\n")
    (folder / "r.jsonl").write_text("\n".join(rows).replace('"ID"', f'"{first["id"]}"') + "\n")
    capsys.readouterr()
    assert read("--answers=r.jsonl") == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"xdistil label: {sentence}")
    assert (printed.err.count("\n"), printed.out) == (1, "")
    assert (folder / "out.jsonl").read_text() == "before\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["raed"], "'raed' is not a part of xdistil label (did you mean read?)."),
        (["prompts", "--texts=texts.txt"], "The following arguments are required: --types"),
        (["prompts", "--texts=no.txt"], "--texts=no.txt does not exist."),
        (["prompts", "--types=no.tsv"], "--types=no.tsv does not exist."),
        (["prompts", "--output=p.tsv"], "--output=p.tsv is written as JSON lines: give it a name"),
        (
            ["prompts", "--output=texts.txt"],
            "--output=texts.txt is the file texts.txt, which would",
        ),
        (
            ["prompts", "--output=no/p.jsonl"],
            "--output=no/p.jsonl is in a folder that does not exi",
        ),
        (
            ["prompts", "--format=openai"],
            "--model is missing: name the model, which openai requests",
        ),
        (["prompts", "--model=m"], "--model is written into the requests of an API: set --format="),
        (["prompts", "--runs=0"], "--runs is 0: it must be from 1 to 99."),
        (["prompts", "--longest=0"], "--longest is 0: it must be 1 or more."),
        (["prompts", "--folder=no"], "--folder=no is not a folder."),
        (["prompts", "--folder=."], "--folder=. has no train file: choose another --split, or"),
        (["read", "--answers=no*"], "--answers: no file matches 'no*'."),
        (["read", "--answers="], "--answers is empty: name the files of results."),
        (["read", "--answers=texts.txt", "--name= "], "--name is empty: name the annotators"),
    ],
)
def test_mistakes_are_told_in_a_sentence(folder, capsys, arguments, sentence):
    given = {each.partition("=")[0] for each in arguments}
    defaults = ("--texts=texts.txt", "--types=types.tsv", "--output=p.jsonl")
    if len(arguments) > 1 and arguments[1] != "--texts=texts.txt":
        arguments = [*arguments, *(d for d in defaults if d.partition("=")[0] not in given)]
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"xdistil label: {sentence}")
    assert (printed.err.count("\n"), printed.out) == (1, "")


def test_a_large_batch_is_told_to_be_cut(folder, capsys, monkeypatch):
    monkeypatch.setitem(MOST_REQUESTS, "openai", 3)
    write_prompts("--format=openai", "--model=m", "--runs=2")
    assert "One batch of openai takes at most 3 requests and 200 MB, and these are 4 and" in (
        capsys.readouterr().out
    )
