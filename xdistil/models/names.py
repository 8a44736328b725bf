"""The table of names: a tensor in an HF checkpoint <-> the path of a leaf in our parameters.

The table is a rule, not a list. A path such as ("encoder", "layer", "0", "output", "dense",
"kernel") is the PyTorch name `bert.encoder.layer.0.output.dense.weight`: joined by dots, the last
part renamed, the family's prefix before everything but the classifier (and DeBERTa's pooler).
"""

import re

Path = tuple[str, ...]

# Parts of a checkpoint that are no part of an encoder for tagging or classification.
PRETRAINING = re.compile(
    r"(cls|qa_outputs|lm_head|generator_lm_head|generator_predictions|discriminator_predictions"
    r"|lm_predictions|mask_predictions)[./]"
)
# Indices that older releases saved, and what DeBERTa-v3's discriminator added to its embeddings.
BUFFERS = re.compile(r"(\w+\.)?embeddings\.(position_ids|token_type_ids|\w+_embeddings\._weight)")
# The model type -> the prefix of its encoder's tensors.
PREFIXES = {
    "bert": "bert",
    "electra": "electra",
    "roberta": "roberta",
    "xlm-roberta": "roberta",
    "camembert": "roberta",
    "deberta-v2": "deberta",
}
_RENAMED = {"gamma": "scale", "beta": "bias"}  # layer norms of the first TensorFlow checkpoints


def write_name(path: Path, prefix: str) -> str:
    """The PyTorch name of a leaf; the prefix is empty for a model without a head."""
    *parents, leaf = path
    if leaf in ("kernel", "scale", "embedding"):
        leaf = "weight"
    outside = ("classifier", "pooler") if prefix == "deberta" else ("classifier",)
    prefixed = [prefix] if prefix and parents[0] not in outside else []
    return ".".join([*prefixed, *parents, leaf])


def read_name(name: str, prefix: str) -> Path:
    """The path that a PyTorch name stands for, with or without the prefix of its family."""
    *parents, leaf = name.removeprefix(f"{prefix}.").split(".")
    leaf = _RENAMED.get(leaf, leaf)
    parent = parents[-1] if parents else ""
    if leaf == "weight":
        if parent.endswith("_embeddings"):
            leaf = "embedding"
        else:
            leaf = "scale" if parent == "LayerNorm" else "kernel"
    return (*parents, leaf)


def read_flax_path(path: Path, prefix: str) -> Path:
    """Our path of a leaf in an HF Flax checkpoint, with or without the prefix of its family."""
    return path[1:] if path[0] == prefix and len(path) > 1 else path
