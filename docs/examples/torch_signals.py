"""Writes a PyTorch teacher's signals for a task folder, for `teacher.signals` (docs/signals.md).

    python docs/examples/torch_signals.py --model=MODEL --data=FOLDER --hidden=4 --output=SIGNALS

MODEL is an HF folder or hub id with a head whose id2label names the labels of FOLDER, such as the
`teacher/` of a run. The texts are those of train, dev, test and transfer; --languages, --limit and
--transfer-limit select them as the fields of `data` with these names do. Words after subword number
--max-length of a sentence have no values. The model is used as it is: nothing is trained.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from xdistil.config import Data
from xdistil.data.corpus import read_corpus
from xdistil.data.examples import Example, Task
from xdistil.teacher.signal_file import SignalWriter

BATCH = 32  # texts in a batch of the model
CHUNK = 4096  # texts that are sorted by length together


def write_signals(
    model_name: str,
    texts: Iterable[Example],
    task: Task,
    hidden: tuple[int, ...],
    output: Path,
    max_length: int = 128,
    dtype: str = "float16",
) -> None:
    """Writes the model's logits and these of its hidden states for the texts."""
    kind: Any = (
        transformers.AutoModelForTokenClassification
        if task.kind == "tagging"
        else transformers.AutoModelForSequenceClassification
    )
    model = kind.from_pretrained(model_name).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_name)
    config = model.config
    labels = [config.id2label[i] for i in range(config.num_labels)]
    read = read_words if task.kind == "tagging" else read_texts
    texts = list(texts)
    with (
        SignalWriter(
            output,
            task.kind,
            labels,
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            hidden=hidden,
            dtype=dtype,
            teacher=Path(model_name).name,
        ) as writer,
        torch.inference_mode(),
    ):
        for first in range(0, len(texts), CHUNK):
            chunk = sorted(texts[first : first + CHUNK], key=lambda e: sum(map(len, e.inputs)))
            for begin in range(0, len(chunk), BATCH):
                batch = chunk[begin : begin + BATCH]
                encoded, places = read(tokenizer, batch, max_length)
                answer = model(**encoded, output_hidden_states=True)
                for row, (example, at) in enumerate(zip(batch, places, strict=True)):
                    # Words without a subword take any value; `present` marks them as absent.
                    where = torch.tensor(np.maximum(at, 0))
                    logits = answer.logits[row]
                    writer.add(
                        example.inputs,
                        logits=(logits[where] if task.kind == "tagging" else logits).numpy(),
                        hidden={n: answer.hidden_states[n][row, where].numpy() for n in hidden},
                        present=at >= 0,
                    )


def read_words(
    tokenizer: Any, batch: list[Example], max_length: int
) -> tuple[Any, list[np.ndarray]]:
    """Padded sentences, and the first subword of each word; -1: it has none, or was cut off."""
    encoded = tokenizer(
        [list(example.inputs) for example in batch],
        is_split_into_words=True,
        truncation=True,
        max_length=max_length,
        padding=True,
        return_tensors="pt",
    )
    places = []
    for row, example in enumerate(batch):
        at = np.full(len(example.inputs), -1)
        for position, word in reversed(list(enumerate(encoded.word_ids(row)))):
            if word is not None:
                at[word] = position
        places.append(at)
    return encoded, places


def read_texts(
    tokenizer: Any, batch: list[Example], max_length: int
) -> tuple[Any, list[np.ndarray]]:
    """Padded texts or pairs, and the subword that classifies them: the first one, [CLS]."""
    columns = [list(column) for column in zip(*(e.inputs for e in batch), strict=True)]
    encoded = tokenizer(
        *columns, truncation=True, max_length=max_length, padding=True, return_tensors="pt"
    )
    return encoded, [np.zeros(1, np.int64)] * len(batch)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="HF folder or hub id, fine-tuned")
    parser.add_argument("--data", required=True, help="task folder")
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    parser.add_argument("--hidden", default="", help="hidden states, such as 4 or 2,4,6")
    parser.add_argument("--languages", default="", help="as data.languages")
    parser.add_argument("--limit", type=int, default=0, help="as data.limit")
    parser.add_argument("--transfer-limit", type=int, default=0, help="as data.transfer_limit")
    parser.add_argument("--max-length", type=int, default=128, help="subwords of a text, at most")
    parser.add_argument("--dtype", default="float16", choices=["float16", "float32"])
    given = parser.parse_args()
    data = Data(
        folder=given.data,
        languages=given.languages,
        limit=given.limit,
        transfer_limit=given.transfer_limit,
    )
    corpus = read_corpus(data, seed=0)
    texts = [*corpus.train, *corpus.dev, *(corpus.test or []), *corpus.transfer]
    hidden = tuple(int(layer) for layer in given.hidden.split(",") if layer)
    since = time.monotonic()
    write_signals(
        given.model, texts, corpus.task, hidden, given.output, given.max_length, given.dtype
    )
    size = sum(path.stat().st_size for path in given.output.iterdir()) / 2**20
    print(f"{len(texts):,} texts, {size:,.0f} MiB, {time.monotonic() - since:.0f} s")


if __name__ == "__main__":
    main()
