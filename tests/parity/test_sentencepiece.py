"""SentencePiece models that are converted once, against SentencePiece itself."""

import json
from pathlib import Path

import pytest

from tests.data.conftest import TEXT
from xdistil.data.examples import Example, Task
from xdistil.data.subwords import Cutting, tokenize
from xdistil.data.tokenizer import load_tokenizer, save_tokenizer

sentencepiece = pytest.importorskip("sentencepiece")
CLASSES = Task("classification", ("no", "yes"))


@pytest.mark.parametrize(
    ("family", "file"),
    [
        ("xlm-roberta", "sentencepiece.bpe.model"),
        ("deberta-v2", "spm.model"),
        ("rembert", "sentencepiece.model"),
    ],
)
def test_a_converted_tokenizer_cuts_as_sentencepiece_does(
    family: str, file: str, tmp_path: Path
) -> None:
    (tmp_path / "texts").write_text("\n".join([TEXT] * 20))
    special = {}
    if family == "deberta-v2":  # whose special subwords stand in the model, before all others
        special = {
            "pad_id": 0,
            "bos_id": 1,
            "eos_id": 2,
            "unk_id": 3,
            "pad_piece": "[PAD]",
            "bos_piece": "[CLS]",
            "eos_piece": "[SEP]",
            "unk_piece": "[UNK]",
        }
    if family == "rembert":
        special = {
            "pad_id": 0,
            "eos_id": 1,
            "unk_id": 2,
            "bos_id": -1,
            "pad_piece": "<pad>",
            "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
        }
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "texts"),
        model_prefix=str(tmp_path / "trained"),
        vocab_size=35,
        hard_vocab_limit=False,  # fewer where the texts hold no more
        normalization_rule_name="identity",
        minloglevel=2,
        **special,
    )
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "trained.model").rename(folder / file)
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    own = sentencepiece.SentencePieceProcessor(model_file=str(folder / file))
    tokenizer = load_tokenizer(str(folder))
    save_tokenizer(tokenizer, tmp_path / "saved")
    assert (tmp_path / "saved" / "tokenizer.json").exists()
    for opened in (tokenizer, load_tokenizer(str(tmp_path / "saved"))):
        for text in ("the teacher reads", "unlabelled student ¿ texts"):
            subwords = tokenize([Example((text,), None, "und")], CLASSES, opened, Cutting(99))
            names = [opened.backend.id_to_token(subword) for subword in subwords.tokens.tolist()]
            unknown = opened.backend.id_to_token(opened.unk)
            cut = [
                unknown if own.is_unknown(own.piece_to_id(p)) else p
                for p in own.encode_as_pieces(text)
            ]
            assert names[1:-1] == cut
            assert [subwords.tokens[0], subwords.tokens[-1]] == [opened.cls, opened.sep]
            if family == "xlm-roberta":  # fairseq: <s>, <pad>, </s>, <unk>, then the rest
                assert subwords.tokens[1:-1].tolist() == [
                    3 if subword == 0 else subword + 1 for subword in own.encode(text)
                ]
            else:
                assert subwords.tokens[1:-1].tolist() == own.encode(text)
