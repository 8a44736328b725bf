"""A teacher that was never trained and data for it, which the tests of `build` start from."""

import dataclasses
import json
from pathlib import Path

from tests.data.test_tokenizer import make_byte_bpe, make_unigram
from tests.models.samples import DEBERTA, ROBERTA, make_encoder, make_params, make_tiny_tokenizer
from xdistil.config import Experiment, Student, Teacher
from xdistil.data.examples import Task
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.experiment.build import Run
from xdistil.experiment.training import start_student
from xdistil.models.families.bert import EncoderConfig
from xdistil.models.hf.folder import load_model, save_model
from xdistil.models.types import Params
from xdistil.plans import v3

BYTES = dataclasses.replace(ROBERTA, model_type="roberta", vocabulary_size=330, padding_id=1)


def write_teacher(folder: Path, config: EncoderConfig) -> Experiment:
    """Sentences of words, a teacher that was never trained, and v3's plan for a student of its
    number of heads."""
    tags = "\t".join(["the teacher reads the student", "B-PER O O O O"])
    for name in ("train", "dev", "test"):
        (folder / f"{name}.tsv").write_text(f"{tags}\n" * 3)
    (folder / "transfer.txt").write_text("the large teacher\n" * 4)
    task = Task("tagging", ("B-PER", "O"))
    model = make_encoder(config, "tagging", 2)
    save_model(folder / "model", model, make_params(model), task, make_tiny_tokenizer(), {})
    # The tokenizer in another folder, as Multilingual-MiniLM's is.
    kind = "deberta-v2" if config is DEBERTA else "xlm-roberta"
    make_unigram(kind).save_pretrained(folder / "tokenizer")
    (folder / "tokenizer" / "config.json").write_text(json.dumps({"model_type": kind}))
    experiment = Experiment(
        dtype="float32",
        teacher=Teacher(model=str(folder / "model"), tokenizer=str(folder / "tokenizer")),
        student=Student(
            kind="transformer", embedding_size=6, hidden_size=6 * config.heads, layers=1
        ),
        plan=v3(),
    )
    experiment.student.heads = config.heads
    experiment.data.folder, experiment.data.row_length = str(folder), 16
    return experiment


def write_teacher_of(config: EncoderConfig, folder: Path) -> Experiment:
    """The same, the student being a copy of the teacher, and BYTES with RoBERTa's tokenizer."""
    experiment = write_teacher(folder, config)
    if config is BYTES:
        make_byte_bpe("roberta").save_pretrained(folder / "tokenizer")
        (folder / "tokenizer" / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    loaded, tokenizer = load_model(str(folder / "model")), load_tokenizer(str(folder / "tokenizer"))
    save_model(folder / "own", loaded.model, loaded.params, loaded.task, tokenizer, {})
    experiment.student.checkpoint = str(folder / "own")
    return experiment


def name_rows(tokenizer: Tokenizer, params: Params) -> dict[str, list[float]]:
    """The word embedding of every subword."""
    table = params["embeddings"]["word_embeddings"]["embedding"]
    return {subword: table[id].tolist() for subword, id in tokenizer.backend.get_vocab().items()}


def first(run: Run, trained: Params) -> Params:
    """The student's first parameters where fine-tuning made those of the teacher `trained`."""
    return start_student(run, dataclasses.replace(run.teacher, params=trained)).params
