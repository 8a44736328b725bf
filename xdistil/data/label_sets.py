"""Several labels of a text as bits: eight labels in a byte, the first one in its lowest bit."""

import numpy as np


def pack_labels(chosen: np.ndarray) -> np.ndarray:
    """Which labels each text has, bool[...,C] -> u8[...,W] with W = C / 8, rounded up."""
    return np.packbits(chosen, axis=-1, bitorder="little")


def unpack_labels(packed: np.ndarray, count: int) -> np.ndarray:
    """u8[...,W] -> bool[...,C], where C is the count of labels."""
    return np.unpackbits(packed.astype(np.uint8), axis=-1, count=count, bitorder="little") > 0
