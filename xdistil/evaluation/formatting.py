"""Numbers as text, and rows of cells as aligned lines."""

from collections.abc import Iterable, Sequence

UNKNOWN = "-"


def align(rows: Sequence[Sequence[str]], texts: Iterable[int]) -> list[str]:
    """Rows as lines with aligned columns: those in `texts` to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = set(texts)
    return [
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def format_score(value: float | int | None) -> str:
    """A fraction in percent with two decimals, an integer with thousands separators."""
    if value is None:
        return UNKNOWN
    return f"{value:,}" if isinstance(value, int) else f"{100 * value:.2f}"


def format_ratio(ratio: float, above: str, below: str, equal: str) -> str:
    """How many times more, as `2.0 times {above}` or of its inverse `2.0 times {below}`; `equal`
    where either is 1.0."""
    times, word = (ratio, above) if ratio >= 1 else (1 / ratio, below) if ratio > 0 else (0.0, "")
    if f"{times:.1f}" == "1.0":
        return equal
    return f"{times:.1f} times {word}" if word else UNKNOWN


def format_count(value: int | None) -> str:
    """Three digits, and k, M or G."""
    if value is None:
        return UNKNOWN
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return str(value)


def format_bytes(value: int | None) -> str:
    """Bytes in B, kB, MB or GB (powers of ten)."""
    if value is None:
        return UNKNOWN
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            return f"{value / unit:.1f} {name}"
    return f"{value} B"


def format_duration(seconds: float | None) -> str:
    """Seconds in ms, s or min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min"
