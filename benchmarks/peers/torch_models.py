"""Models of `transformers` in PyTorch, as candidates beside ours."""

from pathlib import Path
from typing import Any

import jax

from benchmarks.harness import count_cores
from benchmarks.timing import PRODUCT_SIZES, Action, Counts
from xdistil.data.packing import Batch

# What the models of `transformers` call the arrays of a batch of one segment per row.
ARGUMENTS = {"input_ids": "tokens", "attention_mask": "segment", "token_type_ids": "token_type"}


def multiply_in_torch(dtype: str = "float32", device: str = "cpu") -> Action:
    """An action: the same product in PyTorch."""
    import torch  # only where there is a peer to compare with

    size = PRODUCT_SIZES["gpu" if device == "cuda" else device]
    left, right = torch.randn(2, size, size, device=device, dtype=getattr(torch, dtype))

    def act() -> Counts:
        torch.set_num_threads(count_cores())  # the candidate before may have set another number
        left @ right
        wait_for_torch(device)
        return {"operations": 2.0 * size**3}

    return act


def on_threads(name: str, action: Action) -> dict[str, Action]:
    """A PyTorch action on all cores and on one, as two candidates.

    Where other work occupies a core, PyTorch's threads wait for each other, and one may be faster.
    """
    import torch

    def start(threads: int) -> Action:
        def act() -> Counts:
            torch.set_num_threads(threads)
            return action()

        return act

    counts = sorted({1, count_cores()}, reverse=True)
    return {f"{name}, threads: {threads}": start(threads) for threads in counts}


def wait_for_torch(device: str) -> None:
    """Waits for PyTorch's work on a GPU; on a CPU it is done when a call returns."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def start_torch() -> str:
    """PyTorch's device, the same kind as JAX's.

    Raises:
        SystemExit: JAX has a GPU, and this PyTorch cannot use one.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if jax.default_backend() != "gpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise SystemExit("JAX runs on a GPU, but this PyTorch has none: leave out the peer.")
    return "cuda"


def open_in_torch(folder: Path, task: str, attention: str, **settings: Any) -> Any:
    """A folder's model with its head for a task in `transformers`, float32."""
    import torch
    import transformers

    kinds = {
        "tagging": transformers.AutoModelForTokenClassification,
        "classification": transformers.AutoModelForSequenceClassification,
    }
    return kinds[task].from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention, **settings
    )


def to_torch(batch: Batch, device: str) -> dict[str, Any]:
    """A batch of one segment per row as the arguments of a model of `transformers`."""
    import torch

    return {
        name: torch.from_numpy(getattr(batch, field)).long().to(device)
        for name, field in ARGUMENTS.items()
    }
