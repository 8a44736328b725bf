"""Write the PyTorch fixtures of tests/models: `python -m tests.parity.generate_fixtures`.

Each folder holds a small random model as PyTorch saved it, and what PyTorch answered. The folder
flax_bert is made by tests/parity/generate_flax_fixture.py, in an environment of its own.
"""

from pathlib import Path

import numpy as np

from tests.parity.witness import make_inputs, make_model, run_model

FOLDER = Path(__file__).parents[1] / "models" / "fixtures"


def main() -> None:
    """Write a folder for each family and kind of task."""
    for seed, family in enumerate(("bert", "electra", "xlm-roberta", "deberta-v2")):
        for kind in ("tagging", "classification"):
            model = make_model(family, kind, seed)
            folder = FOLDER / f"{family}_{kind}"
            model.save_pretrained(folder)
            inputs = make_inputs(model.config, seed)
            np.savez_compressed(folder / "expected.npz", **inputs, **run_model(model, inputs))


if __name__ == "__main__":
    main()
