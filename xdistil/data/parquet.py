"""Parquet files -> their rows, each as a JSON line. pyarrow is imported only for such a file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xdistil.data.json_rows import name_integers
from xdistil.errors import InputError

_ROWS = 1024  # read together


def read_rows(path: Path) -> Iterator[str]:
    """The rows of a Parquet file, without columns of bytes such as images.

    Raises:
        InputError: pyarrow is not installed, or the file is damaged.
    """
    with _open(path) as file:
        columns = [field.name for field in file.schema_arrow if "binary" not in str(field.type)]
        for batch in file.iter_batches(_ROWS, columns=columns):
            for row in batch.to_pylist():
                yield json.dumps(row, default=str)


def read_names(path: Path) -> dict[str, tuple[str, ...]]:
    """What the integers of fields stand for, as Hugging Face datasets wrote it into the file."""
    with _open(path) as file:
        written = (file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
        return name_integers(json.loads(written).get("info", {}).get("features", {}))


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f"{path} is a Parquet file, and pyarrow is not installed: install it with "
            "`pip install 'xdistil[parquet]'`, or write the data as JSON lines."
        ) from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except (pyarrow.ArrowException, OSError, ValueError, AttributeError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).partition("\n")[0].rstrip(".")[:120]
        raise InputError(f"{path} cannot be read as Parquet: {reason}.") from None
