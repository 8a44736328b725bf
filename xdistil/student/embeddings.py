"""A smaller start: word embeddings by SVD or PCA, and those of a trimmed vocabulary alone."""

import numpy as np

from xdistil.data.packing import Array
from xdistil.errors import InputError


def svd_embeddings(embedding: Array, size: int) -> np.ndarray:
    """The truncated SVD of word embeddings: f[V,D] -> f32[V,size], the rows of U_k S_k.

    Of all embeddings of this width, it is the one whose inner products are nearest to those of the
    given rows. A singular vector's sign is arbitrary; here its largest entry is positive. Raises
    InputError when `size` is more than D.
    """
    return _project(np.asarray(embedding, np.float64), size)


def pca_embeddings(embedding: Array, size: int) -> np.ndarray:
    """The first principal components of word embeddings: f[V,D] -> f32[V,size].

    The mean is left out: it would add one and the same vector to every subword, which the biases
    that follow (those of the gates or of the first norm) can learn, and would else take a component
    of its own. Signs and errors are those of `svd_embeddings`.
    """
    wide = np.asarray(embedding, np.float64)
    return _project(wide - wide.mean(axis=0), size)


def _project(wide: np.ndarray, size: int) -> np.ndarray:
    """f64[V,D] on its first right singular vectors: f32[V,size]."""
    if size > wide.shape[1]:
        raise InputError(
            f"Word embeddings of width {wide.shape[1]} have no SVD of width {size}; choose a"
            f" smaller embedding_size."
        )
    # U_k S_k = E V_k, with V the eigenvectors of E^T E: a D by D problem instead of a V by D one.
    _, vectors = np.linalg.eigh(wide.T @ wide)
    vectors = vectors[:, ::-1][:, :size]
    peaks = vectors[np.abs(vectors).argmax(axis=0), np.arange(size)]
    return (wide @ (vectors * np.sign(peaks))).astype(np.float32)
