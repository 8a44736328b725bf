"""How much smaller is a model with only the subwords of a corpus, and a student in int8 than mBERT?

    python -m benchmarks.model_size --model=MINILM --data=wikiann5 --output=trimming.json
    python -m benchmarks.model_size --train=50000 --data=manylang --output=trimming-unigram.json
    python -m benchmarks.model_size --shapes --vocabulary=86000 --embedding=50 --hidden=200

The first two commands trim vocabularies. The model is a folder, or one of XLM-R's family with
random parameters and a Unigram tokenizer that is trained here on the labelled training sentences.
Its vocabulary is trimmed to what train and transfer hold, to what occurs there several times, and
to the training sentences of some languages. Each line gives the size of the folder and the mean
subwords per word of test: with a trimmed vocabulary words are cut into more of them. Where every
subword of the texts is kept, all of these texts are tokenised again: they count as the same if
every id is the old one in its new number, and the hidden states of the first sentences are equal to
the bit.

--shapes compares the paper's kind of student with mBERT: a BiLSTM with random weights, its
projection as wide as mBERT, written as ONNX with every weight in int8 that can be. The quality
gate, which may leave parts in float32, is not asked: random weights have no scores. mBERT's bytes
are those of its parameters in float32, 4 each.
"""

import argparse
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from benchmarks import harness
from xdistil.config import Data
from xdistil.data.corpus import read_corpus
from xdistil.data.examples import Example, Task
from xdistil.data.packing import fill_batch, pack
from xdistil.data.subwords import Cutting, tokenize
from xdistil.data.tokenizer import Tokenizer, load_tokenizer, make_tokenizer
from xdistil.data.trim_tokenizer import choose_subwords, count_ids
from xdistil.deploy.onnx_export import build_graph
from xdistil.deploy.quantize import choose_int8, list_weights, write_candidate
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bert import Encoder
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.hf.folder import load_model, save_model
from xdistil.models.hf.trim_folder import measure_folder, open_whole, save_trimmed
from xdistil.models.types import count_parameters
from xdistil.teacher.signals import SignalSpec, compute_signals

UNLIMITED = 1 << 30  # a length in subwords that no text reaches
MIN_COUNTS = (1, 2, 5, 10)
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
UNLABELLED = Task("tagging", ("O",))
SENTENCES = 64  # whose hidden states are compared
ROW_LENGTH = 64
TAGS = ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")
MBERT = EncoderConfig(vocabulary_size=119_547)  # its other sizes are the defaults, BERT-base's


def train_unigram(texts: list[str], size: int) -> Tokenizer:
    """A Unigram tokenizer in the way of XLM-R."""
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    roles = ("cls", "pad", "sep", "unk", "mask")
    special = {f"{role}_token": token for role, token in zip(roles, SPECIAL, strict=True)}
    return make_tokenizer(backend, special, ("input_ids", "attention_mask"), model_max_length=512)


def save_random(folder: Path, tokenizer: Tokenizer) -> None:
    """A small encoder of XLM-R's family, 2 layers of 128."""
    shape = EncoderConfig(
        model_type="xlm-roberta",
        vocabulary_size=tokenizer.vocabulary_size,
        embedding_size=128,
        hidden_size=128,
        layers=2,
        heads=4,
        intermediate_size=512,
        token_types=1,
        padding_id=tokenizer.pad,
    )
    model = Encoder(shape)
    params = jax.device_get(jax.jit(model.init_params)(jax.random.key(0)))
    save_model(folder, model, params, None, tokenizer, {})


def read_ids(tokenizer: Tokenizer, texts: list[Example]) -> np.ndarray:
    """The ids of all texts, whole: i32[P]."""
    return tokenize(texts, UNLABELLED, tokenizer, Cutting(UNLIMITED)).tokens


def compute_hidden(folder: Path, tokenizer: Tokenizer, texts: list[Example]) -> np.ndarray:
    """The last hidden states of a few sentences: f32[N,T,D]."""
    loaded: Any = load_model(str(folder))
    subwords = tokenize(texts[:SENTENCES], UNLABELLED, tokenizer, Cutting(ROW_LENGTH))
    rows = pack(subwords, ROW_LENGTH, None)
    batch = fill_batch(subwords, rows, np.arange(len(rows.subword)), tokenizer.pad)
    spec = SignalSpec(hidden=(loaded.model.config.layers,))
    signals = compute_signals(loaded.params, batch, model=loaded.model, spec=spec)
    return jax.device_get(signals.hidden[0])


def measure_case(
    folder: Path, output: Path, texts: list[Example], min_count: int, test: list[Example]
) -> dict[str, Any]:
    """Trims the folder to the subwords that occur so many times in the texts."""
    tokenizer = load_tokenizer(str(folder), words=True)
    whole = open_whole(folder, load_tokenizer(str(folder)))
    before = read_ids(tokenizer, texts)
    counts = np.bincount(before, minlength=tokenizer.vocabulary_size)
    kept = choose_subwords(whole.tokenizer, counts, min_count, also=whole.special)
    save_trimmed(whole, kept, output)
    small = load_tokenizer(str(output), words=True)
    case = {"case": output.name, "sentences": len(texts), **describe_folder(output, test)}
    if min_count == 1:
        hidden = compute_hidden(folder, tokenizer, texts), compute_hidden(output, small, texts)
        same = np.array_equal(kept[read_ids(small, texts)], before) and np.array_equal(*hidden)
        case["texts_and_hidden_states_the_same"] = same
    return case


def describe_folder(folder: Path, test: list[Example]) -> dict[str, Any]:
    """Its size, and the mean subwords per word of test, special ones left out."""
    tokenizer, size = load_tokenizer(str(folder), words=True), asdict(measure_folder(folder))
    counts = count_ids(test, UNLABELLED, tokenizer)
    for special in {tokenizer.cls, tokenizer.sep} - {None}:
        counts[special] = 0
    words = sum(len(each.inputs) for each in test)
    return {
        **size,
        "subwords_per_word_of_test": float(counts.sum() / words),
    }


def trim(flags: argparse.Namespace) -> dict[str, Any]:
    """Trims one model in every way."""
    corpus = read_corpus(Data(folder=str(flags.data)), seed=0)
    corpus = replace(corpus, train=[replace(each, labels=None) for each in corpus.train])
    test = [replace(each, labels=None) for each in corpus.test or corpus.dev]
    with tempfile.TemporaryDirectory() as room:
        folder = flags.model or Path(room, "whole")
        if flags.train:
            lines = [" ".join(each.inputs) for each in corpus.train]
            save_random(folder, train_unigram(lines, flags.train))
        cases = [{"case": "whole", **describe_folder(folder, test)}]
        texts = [*corpus.train, *corpus.transfer]
        ways = [(f"in train and transfer {count}x", texts, count) for count in MIN_COUNTS]
        if languages := flags.languages.split(",") if flags.languages else []:
            some = [each for each in corpus.train if each.language in languages]
            ways.append((f"in train, {' '.join(languages)}", some, 1))
        for name, texts, count in ways:
            cases.append(measure_case(folder, Path(room, name), texts, count, test))
            print(cases[-1], flush=True)
    rows = [
        (
            case["case"],
            *(f"{case[name]:,}" for name in ("subwords", "parameters")),
            *(f"{case[name] / 1e6:.2f} MB" for name in ("model_bytes", "tokenizer_bytes")),
            f"{case['subwords_per_word_of_test']:.3f}",
            str(case.get("texts_and_hidden_states_the_same", "")),
        )
        for case in cases
    ]
    columns = ("subwords", "parameters", "model", "tokenizer", "subwords per word", "same")
    harness.print_table((flags.data.absolute().name, *columns), rows)
    return {"cases": cases}


def compare_shapes(flags: argparse.Namespace) -> dict[str, Any]:
    """Counts parameters, writes the student's file and measures it."""
    task = Task("tagging", TAGS)
    teacher = Encoder(MBERT, task.kind, len(TAGS))
    large = count_parameters(jax.eval_shape(teacher.init_params, jax.random.key(0)))["total"]
    config = BiLSTMConfig(
        vocabulary_size=flags.vocabulary,
        embedding_size=flags.embedding,
        hidden_size=flags.hidden,
        projection_size=MBERT.hidden_size,
        layers=flags.layers,
    )
    student = BiLSTM(config, len(TAGS))
    params = jax.tree.map(np.asarray, student.init_params(jax.random.key(0)))
    small = count_parameters(params)["total"]
    candidate = choose_int8("int8", list_weights(build_graph(student, params, task)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_candidate(build_graph(student, params, task, candidate.storage), candidate, path)
        size = path.stat().st_size
    rows = [
        ("mBERT, float32", f"{large:,}", f"{4 * large:,}"),
        ("student, int8", f"{small:,}", f"{size:,}"),
        ("times fewer", f"{large / small:.1f}", f"{4 * large / size:.1f}"),
    ]
    harness.print_table(("", "parameters", "bytes"), rows)
    return {
        "mbert_parameters": large,
        "student_parameters": small,
        "fewer_parameters": large / small,
        "int8_bytes": size,
        "fewer_bytes": 4 * large / size,
    }


def main() -> None:
    """Trims a model, or compares the shapes."""
    parser = harness.make_parser(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="an HF folder in safetensors")
    source.add_argument("--train", type=int, help="subwords of a Unigram that is trained instead")
    source.add_argument("--shapes", action="store_true", help="compare the shapes instead")
    parser.add_argument("--data", type=Path, help="a task folder for tagging")
    parser.add_argument("--languages", default="", help="of the last line, separated by commas")
    parser.add_argument("--vocabulary", type=int, default=86_000, help="of the student's shape")
    parser.add_argument("--embedding", type=int, default=50, help="its width there")
    parser.add_argument("--hidden", type=int, default=200, help="its width there")
    parser.add_argument("--layers", type=int, default=1, help="its BiLSTMs")
    flags = parser.parse_args()
    if flags.shapes == bool(flags.data):
        parser.error("expected --shapes, or --data with --model or --train.")
    harness.write_result(flags.output, flags, (compare_shapes if flags.shapes else trim)(flags))


if __name__ == "__main__":
    main()
