"""Write PyTorch fixtures of tests/models: `python -m tests.parity.generate_fixtures FAMILY ...`.

Without a name those of all families are written, whose bytes depend on the release of PyTorch.
Each folder holds a small random model as PyTorch saved it, and what PyTorch answered. The folder
flax_bert is made by tests/parity/generate_flax_fixture.py, in an environment of its own.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from tests.parity.reference import make_inputs, make_model, run_model

FAMILIES = {  # with the kinds of task: the later ones' heads are alike enough for one
    **dict.fromkeys(
        ("bert", "electra", "xlm-roberta", "deberta-v2"), ("tagging", "classification")
    ),
    "distilbert": ("classification",),
    "mpnet": ("tagging",),
    "modernbert": ("classification",),
    "albert": ("tagging",),
    "gpt2": ("classification",),
    "rembert": ("classification",),
}
FOLDER = Path(__file__).parents[1] / "models" / "fixtures"


def main(wanted: list[str]) -> None:
    """Write a folder for each of these families (none: all) and kind of task."""
    for seed, (family, kinds) in enumerate(FAMILIES.items()):
        if wanted and family not in wanted:
            continue
        for kind in kinds:
            model = make_model(family, kind, seed)
            folder = FOLDER / f"{family}_{kind}"
            model.save_pretrained(folder)
            inputs = make_inputs(model.config, seed)
            np.savez_compressed(folder / "expected.npz", **inputs, **run_model(model, inputs))
            if family == "xlm-roberta":
                write_pickles(model.state_dict(), kind)


def write_pickles(state: dict[str, torch.Tensor], kind: str) -> None:
    """The tagger as one pickle, the classifier in two with an index."""
    folder = FOLDER / f"pickled_{kind}"
    folder.mkdir(exist_ok=True)
    if kind == "tagging":
        torch.save(state, folder / "pytorch_model.bin")
        return
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    placed = {key: names[place % 2] for place, key in enumerate(state)}
    for name in names:
        torch.save({key: state[key] for key in state if placed[key] == name}, folder / name)
    index = json.dumps({"metadata": {}, "weight_map": placed}, indent=2)
    (folder / "pytorch_model.bin.index.json").write_text(index + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
