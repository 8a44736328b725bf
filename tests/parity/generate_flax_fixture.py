"""Write the fixture flax_bert of tests/models: a small BERT as HF's own Flax classes saved it.

They are gone since transformers 5, so this runs in an environment with `transformers==4.57.*`,
`flax` and `jax`: `python tests/parity/generate_flax_fixture.py`.
"""

from pathlib import Path

import jax
import numpy as np
import transformers

FOLDER = Path(__file__).parents[1] / "models" / "fixtures" / "flax_bert"


def main() -> None:
    """Write flax_model.msgpack, config.json and what the model answers."""
    config = transformers.BertConfig(
        vocab_size=31,
        hidden_size=15,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=22,
        max_position_embeddings=13,
        hidden_act="gelu",
        id2label={0: "O", 1: "B-PER", 2: "I-PER"},
        label2id={"O": 0, "B-PER": 1, "I-PER": 2},
    )
    model = transformers.FlaxBertForTokenClassification(config, seed=7)
    leaves, tree = jax.tree.flatten(model.params)
    keys = jax.random.split(jax.random.key(8), len(leaves))
    noisy = [
        leaf + 0.3 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    model.params = jax.tree.unflatten(tree, noisy)
    model.save_pretrained(FOLDER)
    rng = np.random.default_rng(9)
    tokens = rng.integers(0, 31, (2, 13), dtype=np.int32)
    mask = np.ones_like(tokens)
    mask[1, 8:] = 0
    token_type = np.zeros_like(tokens)
    token_type[0, 6:] = 1
    output = model(tokens, mask, token_type, output_hidden_states=True, output_attentions=True)
    np.savez_compressed(
        FOLDER / "expected.npz",
        tokens=tokens,
        mask=mask,
        token_type=token_type,
        hidden=np.stack(output.hidden_states),
        attention=np.stack(output.attentions),
        logits=np.asarray(output.logits),
    )


if __name__ == "__main__":
    main()
