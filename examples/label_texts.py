"""From raw texts to a small tagger with a language model as the teacher, without any network.

    python examples/label_texts.py

A stand-in takes the place of the language model: it knows some names and damages its answers as
language models do. The steps are those of docs/label.md: prompts, answers, a student, int8. It
takes less than 20 seconds on two CPU cores; files and workdir are below runs/label.
"""

import json
import random
import shutil
from pathlib import Path

import xdistil
from xdistil.cli import label
from xdistil.config import Data, Stage, Student, Teacher

FOLDER = Path("runs/label")
TYPES = "PER\tpeople, by their names\tperson\nLOC\ttowns and countries\tlocation, place\n"
GIVEN = ("Ada", "Noor", "Ines", "Tomás", "Li", "Zoë", "Omar", "Ruth", "Jan", "Mei")
FAMILY = ("Okafor", "Lindt", "Sato", "Moreau", "Kaya", "Novak", "Silva", "Berg")
TOWNS = ("Lagos", "Graz", "Osaka", "Lyon", "Izmir", "Brno", "Porto", "New Haven", "Bath")
SENTENCES = (
    "{0} met {1} in {2}.",
    "In {2}, {0} bought bread and “cheese”.",
    "The train from {2} to {3} was late, said {0}.",
    "{0} and {1} wrote a letter.",
    "Nobody lived near {2}.",
    "The weather was good.",
)

Entity = tuple[int, int, str]


def write_sentence(generator: random.Random) -> tuple[str, list[Entity]]:
    """A made-up sentence, and start, end and type of the names in it."""
    people = [f"{generator.choice(GIVEN)} {generator.choice(FAMILY)}" for _ in range(2)]
    names = [*people, *generator.sample(TOWNS, 2)]
    text, entities = "", []
    for part in generator.choice(SENTENCES).replace("}", "{").split("{"):
        if part.isdigit():
            name = names[int(part)]
            entities.append((len(text), len(text) + len(name), "PER" if int(part) < 2 else "LOC"))
            part = name
        text += part
    return text, entities


def answer(text: str, generator: random.Random) -> str:
    """What the stand-in answers: most names, some with the wrong type, in damaged JSON."""
    if generator.random() < 0.02:
        return "I am sorry, but I cannot help with that."
    found = []
    for type_, names in (("person", FAMILY), ("LOC", TOWNS)):
        for name in names:
            at = text.find(name)
            if at < 0 or generator.random() < 0.1:
                continue
            start = text.rfind(" ", 0, at - 1) + 1 if type_ == "person" else at
            words = text[start : at + len(name)].lstrip("“")
            kind = "place" if generator.random() < 0.05 else type_
            found.append({"text": words, "label": kind, "start": start + generator.choice((0, 1))})
    said = json.dumps({"entities": found}, ensure_ascii=False)
    damage = generator.choice(("", "", "fence", "comma", "quotes", "cut"))
    if damage == "fence":
        return f"Here are the names:\n```json\n{said}\n```"
    if damage == "comma":
        return said.replace("}]", "},]")
    if damage == "quotes":
        return said.replace('"', "'")
    return said[:-1] if damage == "cut" else said


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "task").mkdir(parents=True)
    generator = random.Random(0)
    # What a person has: many texts, the types, and a few sentences labelled by hand.
    texts = [write_sentence(generator)[0] for _ in range(1500)]
    (FOLDER / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    (FOLDER / "types.tsv").write_text(TYPES, encoding="utf-8")
    for name, count in (("train", 10), ("dev", 100)):
        rows = [write_sentence(generator) for _ in range(count)]
        lines = [json.dumps({"text": text, "entities": entities}) for text, entities in rows]
        (FOLDER / "task" / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")

    common = [f"--texts={FOLDER}/texts.txt", f"--types={FOLDER}/types.tsv"]
    prompts, results, answers = (FOLDER / f"{n}.jsonl" for n in ("prompts", "results", "answers"))
    label.main(["prompts", *common, f"--folder={FOLDER}/task", "--runs=3", f"--output={prompts}"])
    with results.open("w", encoding="utf-8") as file:
        for line in prompts.read_text(encoding="utf-8").splitlines():
            prompt = json.loads(line)  # id, prompt and text
            row = {"id": prompt["id"], "answer": answer(prompt["text"], generator)}
            file.write(json.dumps(row) + "\n")
    label.main(["read", *common, f"--answers={results}", f"--output={answers}"])

    experiment = xdistil.Experiment(
        data=Data(folder=str(FOLDER / "task"), row_length=32),
        teacher=Teacher(labels=str(answers), votes="majority"),
        student=Student(embedding_size=24, hidden_size=32, tokenizer_pieces=400),
        plan=(Stage(name="votes", loss="logits", logits_loss="kl", epochs=4.0, lr=1e-2),),
        export="int8",
        speed_seconds=0.0,
    )
    student = xdistil.run(experiment, FOLDER / "run")["student"]
    scores = student["dev"]
    assert scores is not None
    size = (FOLDER / "run/student/onnx/model_quantized.onnx").stat().st_size
    print(f"F1 on dev {scores['macro_f1']:.3f}, int8 file {size / 1e3:.0f} kB")
    tagger = xdistil.load(str(FOLDER / "run/student"), backend="int8")
    assert isinstance(tagger, xdistil.Tagger)
    for tagged in tagger.tag(["Ruth Kaya met Li Novak in Bath.", "Nobody lived near New Haven."]):
        print(tagged.text, [(entity.type, entity.text) for entity in tagged.entities])


if __name__ == "__main__":
    main()
