"""Trains a WordPiece tokenizer, for a teacher from scratch or a student with its own subwords."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from xdistil.data.examples import Example
from xdistil.errors import InputError
from xdistil.runtime.json_io import write_json, write_text

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # ids 0 to 4
PREFIX = "##"


def train_wordpiece(
    examples: Sequence[Example], size: int, folder: Path, field: str = "teacher.vocabulary_size"
) -> None:
    """Trains at most `size` subwords and writes a folder that AutoTokenizer opens.

    Letters keep their case and accents; every CJK character is a word. The files depend only on the
    texts and the size.

    Args:
        field: the config field of `size`, for errors.

    Raises:
        InputError: `size` is too small for the special subwords and every character, alone and
            inside a word.
    """
    shell = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    shell.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    shell.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # The trainer numbers continuation characters in the order of a randomly seeded hash map, and
    # breaks ties by these numbers. Numbering them before, as special subwords, makes both fixed.
    characters = _find_characters(shell, _list_texts(examples))
    fixed = [*SPECIALS, *characters, *(PREFIX + character for character in characters)]
    if size < len(fixed):
        raise InputError(
            f"{field}={size} is too small for the {len(characters)} characters of the texts: make "
            f"it {2 * len(fixed)} or more."
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=fixed,
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    shell.train_from_iterator(_list_texts(examples), trainer)
    tokenizer = Tokenizer(models.WordPiece(shell.get_vocab(), unk_token="[UNK]"))
    tokenizer.normalizer = shell.normalizer
    tokenizer.pre_tokenizer = shell.pre_tokenizer
    tokenizer.decoder = decoders.WordPiece(prefix=PREFIX)
    tokenizer.add_special_tokens(list(SPECIALS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, SPECIALS.index(name)) for name in ("[CLS]", "[SEP]")],
    )
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        **{f"{name[1:-1].lower()}_token": name for name in SPECIALS},
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True))
    write_json(folder / "tokenizer_config.json", settings)


def _list_texts(examples: Sequence[Example]) -> Iterator[str]:
    return (text for example in examples for text in example.inputs)


def _find_characters(shell: Tokenizer, texts: Iterable[str]) -> list[str]:
    """The characters of the normalised texts except white space, sorted."""
    characters: set[str] = set()
    for text in texts:
        characters.update(shell.normalizer.normalize_str(text))
    return sorted(character for character in characters if not character.isspace())
