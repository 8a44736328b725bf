"""The tokenizer for a teacher from scratch: reproducible, for any script, HF-compatible."""

import json
import random

import pytest
from transformers import AutoTokenizer

from xdistil.data.examples import Example
from xdistil.data.train_tokenizer import SPECIALS, train_wordpiece
from xdistil.errors import InputError


def to_examples(*texts: str) -> list[Example]:
    return [Example(tuple(text.split(" ")), None, "und") for text in texts]


def random_examples() -> list[Example]:
    source = random.Random(0)
    words = ["".join(source.choices("abcdefgхцчшшქღყ", k=source.randint(2, 6))) for _ in range(900)]
    return [Example(tuple(words[start : start + 9]), None, "und") for start in range(0, 900, 9)]


def test_repeated_training_gives_the_same_files(tmp_path):
    """The library's trainer numbers subwords differently in every run."""
    examples = random_examples()
    for name in ("one", "two", "three"):
        train_wordpiece(examples, 300, tmp_path / name)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        contents = {(tmp_path / run / name).read_bytes() for run in ("one", "two", "three")}
        assert len(contents) == 1
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_order_of_the_texts_does_not_matter(tmp_path):
    examples = random_examples()
    train_wordpiece(examples, 300, tmp_path / "forwards")
    train_wordpiece(examples[::-1], 300, tmp_path / "backwards")
    read = (tmp_path / "forwards" / "tokenizer.json").read_bytes
    assert read() == (tmp_path / "backwards" / "tokenizer.json").read_bytes()


def test_autotokenizer_opens_the_folder_with_specials_in_place(tmp_path):
    train_wordpiece(to_examples("ab ab ba"), 40, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.is_fast
    assert [tokenizer.convert_tokens_to_ids(name) for name in SPECIALS] == [0, 1, 2, 3, 4]
    assert tokenizer.pad_token_id == 0
    assert tokenizer.unk_token_id == 1
    encoded = tokenizer(["ab", "ba"], ["ab"], is_split_into_words=True)
    assert encoded["input_ids"][0] == 2
    assert encoded["input_ids"].count(3) == 2
    middle = encoded["input_ids"].index(3)
    assert encoded["token_type_ids"] == [0] * (middle + 1) + [1] * (
        len(encoded["input_ids"]) - middle - 1
    )
    assert tokenizer.decode(tokenizer("ab")["input_ids"], skip_special_tokens=True) == "ab"


def test_case_and_accents_stay_and_cjk_characters_stand_alone(tmp_path):
    train_wordpiece(to_examples("Été été Ете ете 北京 नदी şirket"), 200, tmp_path)
    backend = AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer
    subwords = {
        text: "".join(backend.encode(text, add_special_tokens=False).tokens).replace("##", "")
        for text in ("Été", "été", "Ете", "नदी", "şirket")
    }
    assert all(text == joined for text, joined in subwords.items())
    assert backend.encode("北京", add_special_tokens=False).tokens == ["北", "京"]


def test_frequent_words_become_one_subword_and_no_subword_is_special_but_the_specials(tmp_path):
    train_wordpiece(to_examples(*["banana"] * 50, "bandana"), 30, tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert [token["content"] for token in content["added_tokens"]] == list(SPECIALS)
    assert "banana" in content["model"]["vocab"]
    assert sorted(content["model"]["vocab"].values()) == list(range(len(content["model"]["vocab"])))
    assert len(content["model"]["vocab"]) <= 30
    backend = AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer
    assert "[UNK]" not in backend.encode("nab dab").tokens
    assert "[UNK]" in backend.encode("zebra").tokens


def test_a_vocabulary_without_room_for_the_characters_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"teacher\.vocabulary_size=12 .* 4 characters"):
        train_wordpiece(to_examples("abcd"), 12, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
