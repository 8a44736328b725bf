"""How much smaller does a model become with the pieces that a corpus holds?

    python benchmarks/trimming.py --model=MINILM --data=wikiann5 --output=trimming.json
    python benchmarks/trimming.py --train=50000 --data=manylang --output=trimming-unigram.json

The model is a folder, or one of XLM-R's make with random parameters and a Unigram tokenizer that is
trained here on the labelled training sentences. Its vocabulary is trimmed to what train and
transfer hold, to what occurs there several times, and to the training sentences of some languages.
Each line tells the size of the folder and the mean pieces of a word of test: trimmed texts are cut
into more of them. Where every piece of the texts is kept, all of these texts are cut again, and
what is told as the same is that no id differs but by its new number, and no hidden state of the
first sentences at all.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import measure
import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from xdistil.config import Data
from xdistil.data.corpus import Corpus, read_corpus
from xdistil.data.examples import Example, Task
from xdistil.data.packing import fill_batch, pack
from xdistil.data.subwords import cut_pieces
from xdistil.data.tokenizer import Tokenizer, load_tokenizer, make_tokenizer
from xdistil.data.trim_tokenizer import choose_pieces, count_tokens
from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.models.hf.folder import load_model, save_model
from xdistil.models.hf.trim_folder import measure_folder, open_whole, save_trimmed

ENDLESS = 1 << 30  # a length in pieces that no text reaches
LEAST_COUNTS = (1, 2, 5, 10)
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
TAGGING = Task("tagging", ("O",))
SENTENCES = 64  # whose hidden states are compared
ROW_LENGTH = 64


class Case(NamedTuple):
    """One way to trim."""

    name: str
    texts: list[Example]
    least_count: int


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
    special = {f"{role}_token": piece for role, piece in zip(roles, SPECIAL, strict=True)}
    return make_tokenizer(backend, special, ("input_ids", "attention_mask"), model_max_length=512)


def save_random(folder: Path, tokenizer: Tokenizer) -> None:
    """A small encoder of XLM-R's make, 2 layers of 128."""
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


def list_cases(corpus: Corpus, languages: tuple[str, ...]) -> Iterator[Case]:
    """Train and transfer by least count, and the training sentences of some languages."""
    texts = [*corpus.train, *corpus.transfer]
    for least in LEAST_COUNTS:
        yield Case(f"in train and transfer {least}x", texts, least)
    if languages:
        some = [each for each in corpus.train if each.language in languages]
        yield Case(f"in train, {' '.join(languages)}", some, 1)


def read_ids(tokenizer: Tokenizer, texts: list[Example]) -> np.ndarray:
    """The ids of all texts, whole: i32[P]."""
    return cut_pieces(texts, TAGGING, tokenizer, ENDLESS).tokens


def compute_hidden(folder: Path, tokenizer: Tokenizer, texts: list[Example]) -> np.ndarray:
    """The last hidden states of a few sentences: f32[N,T,D]."""
    loaded = load_model(str(folder))
    pieces = cut_pieces(texts[:SENTENCES], TAGGING, tokenizer, ROW_LENGTH)
    rows = pack(pieces, ROW_LENGTH, None)
    batch = fill_batch(pieces, rows, np.arange(len(rows.piece)), tokenizer.pad)
    run = jax.jit(lambda params, batch: loaded.model.apply({"params": params}, batch).hidden[-1])
    return jax.device_get(run(loaded.params, batch))


def measure_case(folder: Path, case: Case, test: list[Example], room: Path) -> dict[str, Any]:
    """Trims the folder for one case."""
    tokenizer = load_tokenizer(str(folder), words=True)
    whole = open_whole(folder, load_tokenizer(str(folder)))
    before = read_ids(tokenizer, case.texts)
    counts = np.bincount(before, minlength=tokenizer.vocabulary_size)
    kept = choose_pieces(whole.tokenizer, counts, case.least_count, also=whole.special)
    output = room / case.name.replace(" ", "-")
    save_trimmed(whole, kept, output)
    small = load_tokenizer(str(output), words=True)
    same = None
    if case.least_count == 1:
        texts = case.texts
        ids = np.array_equal(kept[read_ids(small, texts)], before)
        hidden = (compute_hidden(*each, texts) for each in ((folder, tokenizer), (output, small)))
        same = ids and np.array_equal(*hidden)
    return {
        "case": case.name,
        "sentences": len(case.texts),
        **asdict(measure_folder(output)),
        "pieces_a_word_of_test": count_pieces_a_word(small, test),
        "texts_and_hidden_states_the_same": same,
    }


def count_pieces_a_word(tokenizer: Tokenizer, texts: list[Example]) -> float:
    """The mean, special pieces aside."""
    counts = count_tokens([cut_pieces(texts, TAGGING, tokenizer, ENDLESS)], tokenizer)
    for special in {tokenizer.cls, tokenizer.sep} - {None}:
        counts[special] = 0
    return float(counts.sum() / sum(len(each.inputs) for each in texts))


def main() -> None:
    """Trims one model in every way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="an HF folder in safetensors")
    source.add_argument("--train", type=int, help="pieces of a Unigram that is trained instead")
    parser.add_argument("--data", type=Path, required=True, help="a task folder for tagging")
    parser.add_argument("--languages", default="", help="of the last line, separated by commas")
    measure.add_output(parser)
    flags = parser.parse_args()
    corpus = read_corpus(Data(folder=str(flags.data)), seed=0)
    corpus = replace(corpus, train=[replace(each, labels=None) for each in corpus.train])
    test = [replace(each, labels=None) for each in corpus.test or corpus.dev]
    with tempfile.TemporaryDirectory() as room:
        folder = flags.model or Path(room, "whole")
        if flags.train:
            texts = [" ".join(each.inputs) for each in corpus.train]
            save_random(folder, train_unigram(texts, flags.train))
        cases = [
            {
                "case": "whole",
                **asdict(measure_folder(folder)),
                "pieces_a_word_of_test": count_pieces_a_word(
                    load_tokenizer(str(folder), words=True), test
                ),
            }
        ]
        languages = tuple(filter(None, flags.languages.split(",")))
        for case in list_cases(corpus, languages):
            cases.append(measure_case(folder, case, test, Path(room)))
            print(cases[-1], flush=True)
    measure.write_result(flags.output, flags, {"cases": cases})
    header = (flags.data.name, "pieces", "parameters", "model", "tokenizer", "pieces/word", "same")
    measure.print_table(
        header,
        [
            (
                case["case"],
                *(f"{case[name]:,}" for name in ("pieces", "parameters")),
                *(f"{case[name] / 1e6:.2f} MB" for name in ("model_bytes", "tokenizer_bytes")),
                f"{case['pieces_a_word_of_test']:.3f}",
                str(case.get("texts_and_hidden_states_the_same", "")).replace("None", ""),
            )
            for case in cases
        ],
    )


if __name__ == "__main__":
    main()
