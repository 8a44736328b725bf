"""The table of names: a tensor in an HF checkpoint <-> the path of a leaf in our parameters.

The table is a rule, not a list. A path such as ("encoder", "layer", "0", "output", "dense",
"kernel") is the PyTorch name `bert.encoder.layer.0.output.dense.weight`: joined by dots, the last
part renamed, with the family's prefix except for the classifier. Four parts have the same name in
every family, because other code uses them: `embeddings/word_embeddings`, `encoder/layer/N`,
`pooler` and `classifier`. A family whose checkpoints use other names lists them.
"""

import re
from dataclasses import dataclass

Path = tuple[str, ...]

# Parts of a checkpoint that do not belong to an encoder for tagging or classification.
PRETRAINING = re.compile(
    r"(cls|qa_outputs|lm_head|generator_lm_head|generator_predictions|discriminator_predictions"
    r"|lm_predictions|mask_predictions|predictions|sop_classifier|decoder|multiple_choice_head"
    r"|vocab_transform|vocab_layer_norm|vocab_projector)[./]"
)
# Indices and masks that older releases saved, and embeddings of DeBERTa-v3's discriminator.
BUFFERS = re.compile(
    r"(\w+\.)?embeddings\.(position_ids|token_type_ids|\w+_embeddings\._weight)"
    r"|(\w+\.)?h\.\d+\.attn\.(bias|masked_bias)"
)
_SPELLINGS = {"gamma": "scale", "beta": "bias"}  # layer norms of the first TensorFlow checkpoints
_EMBEDDING = re.compile(r"\w+_embeddings|relative_attention_bias")
_NORM = re.compile(r"LayerNorm|(\w+_)?norm|ln_\w")


@dataclass(frozen=True)
class Names:
    """How a family's checkpoints name the leaves of a model."""

    prefix: str  # of the encoder's tensors in a model with a head
    outside: tuple[str, ...] = ("classifier",)  # first parts of names without the prefix
    # Beginnings of dotted names that differ: ours -> theirs.
    renamed: tuple[tuple[str, str], ...] = ()
    turned: tuple[str, ...] = ()  # layers whose kernels PyTorch stores as [in, out]

    def write(self, path: Path, headed: bool) -> str:
        """The PyTorch name of a leaf of a model, with a head or without."""
        *parents, leaf = path
        if leaf in ("kernel", "scale", "embedding"):
            leaf = "weight"
        name = ".".join([*parents, leaf])
        for ours, theirs in self.renamed:
            if name.startswith(f"{ours}."):
                name = theirs + name.removeprefix(ours)
                break
        outside = name.split(".")[0] in self.outside
        return name if outside or not headed else f"{self.prefix}.{name}"

    def read(self, name: str) -> Path:
        """The path of the leaf with a PyTorch name, with or without the family's prefix."""
        *parents, leaf = self._rename(name.removeprefix(f"{self.prefix}.")).split(".")
        leaf = _SPELLINGS.get(leaf, leaf)
        parent = parents[-1] if parents else ""
        if leaf == "weight":
            if _EMBEDDING.fullmatch(parent):
                leaf = "embedding"
            else:
                leaf = "scale" if _NORM.fullmatch(parent) else "kernel"
        return (*parents, leaf)

    def read_flax(self, name: str) -> Path:
        """The path of a leaf in an HF Flax checkpoint, whose parts are joined by slashes."""
        return tuple(
            self._rename(name.replace("/", ".").removeprefix(f"{self.prefix}.")).split(".")
        )

    def is_transposed(self, path: Path, flax: bool) -> bool:
        """Whether a leaf is stored transposed, in a PyTorch or (`flax`) an HF Flax checkpoint.

        PyTorch's linear layers are [out, in], Flax's [in, out]; for a turned layer it is reversed.
        """
        return path[-1] == "kernel" and (path[-2] in self.turned) == flax

    def _rename(self, name: str) -> str:
        for ours, theirs in self.renamed:
            if name.startswith(f"{theirs}."):
                return ours + name.removeprefix(theirs)
        return name
