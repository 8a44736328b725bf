"""Students under a budget, as a table and as files."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from xdistil.evaluation.formatting import UNKNOWN, align, format_count, format_score
from xdistil.runtime.json_io import write_json, write_text


@dataclass(frozen=True)
class FrontierRow:
    """A shape of student and what is known of it; None: not measured, or its kind has none."""

    shape: str  # its name
    kind: str
    vocabulary_size: int
    embedding_size: int
    hidden_size: int
    layers: int
    heads: int | None
    intermediate_size: int | None
    parameters: int
    encoder_parameters: int  # those that are no word embeddings
    float32_bytes: int  # of model.safetensors
    int8_bytes: int  # of onnx/model_quantized.onnx
    tokenizer_bytes: int
    flops_per_subword: float
    flops_per_text: float
    milliseconds: dict[int, tuple[float, float]]  # by threads: of a text alone, and in a batch
    front: bool  # whether it is one of the best within the budget
    score: float | None = None  # on dev
    overrides: tuple[str, ...] = ()  # flags that train it

    @property
    def balance(self) -> float:
        """Large where neither the word embeddings nor the other parameters are few."""
        return self.encoder_parameters * (self.parameters - self.encoder_parameters)


@dataclass(frozen=True)
class FrontierTable:
    """Rows and what they were measured with."""

    rows: tuple[FrontierRow, ...]
    threads: tuple[int, ...]
    max_milliseconds: float | None
    score_name: str
    environment: dict[str, Any]  # machine, texts and budget, for the JSON file

    @property
    def front(self) -> list[FrontierRow]:
        """The best rows: by score, or by kind and size."""
        chosen = [row for row in self.rows if row.front]
        return sorted(chosen, key=lambda row: (-(row.score or 0.0), row.kind, -row.balance))

    @property
    def choices(self) -> list[FrontierRow]:
        """The row with the best score; without scores the first of each kind."""
        front = self.front
        if any(row.score is not None for row in front):
            return front[:1]
        return list({row.kind: row for row in reversed(front)}.values())[::-1]


def render_table(table: FrontierTable) -> list[str]:
    """The front as aligned lines."""
    return align(_list_cells(table), (0,))


def write_files(folder: Path, table: FrontierTable) -> None:
    """Writes frontier.md and frontier.json (the front), and frontier.csv (all shapes)."""
    header, *rows = _list_cells(table)
    rules = ["---", *("---:" for _ in header[1:])]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, rules, *rows)]
    commands = [f"- {row.shape}: {_tell_overrides(row)}" for row in table.front]
    write_text(folder / "frontier.md", "\n".join([*lines, "", *commands, ""]))
    write_text(folder / "frontier.csv", _render_csv(table))
    front = [_to_record(row, table.threads) for row in table.front]
    write_json(folder / "frontier.json", {"format": 1, **table.environment, "front": front})


def _tell_overrides(row: FrontierRow) -> str:
    return f"`{' '.join(row.overrides)}`" if row.overrides else "the config as it is"


def _list_cells(table: FrontierTable) -> list[tuple[str, ...]]:
    scored = any(row.score is not None for row in table.rows)
    times = [name for count in table.threads for name in (f"ms ({count})", f"in 32 ({count})")]
    header = ("shape", "parameters", "MB", "MB int8", "MFLOPs", *times)
    cells: list[tuple[str, ...]] = [(*header, *([table.score_name] if scored else []))]
    for row in table.front:
        measured = []
        for count in table.threads:
            measured += [f"{value:.2f}" for value in row.milliseconds.get(count, ())] or [
                UNKNOWN
            ] * 2
        cells.append(
            (
                row.shape,
                format_count(row.parameters),
                f"{(row.float32_bytes + row.tokenizer_bytes) / 1e6:.2f}",
                f"{(row.int8_bytes + row.tokenizer_bytes) / 1e6:.2f}",
                f"{row.flops_per_text / 1e6:.1f}",
                *measured,
                *([format_score(row.score)] if scored else []),
            )
        )
    return cells


def _render_csv(table: FrontierTable) -> str:
    records = [_to_record(row, table.threads) for row in table.rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({**record, "overrides": " ".join(record["overrides"])})
    return text.getvalue()


def _to_record(row: FrontierRow, threads: Sequence[int]) -> dict[str, Any]:
    """One level of names and values."""
    record: dict[str, Any] = {}
    for field in fields(row):
        if field.name != "milliseconds":
            record[field.name] = getattr(row, field.name)
            continue
        for count in threads:
            single, batch = row.milliseconds.get(count, (None, None))
            record[f"ms_single_{count}_threads"] = single
            record[f"ms_in_batch_{count}_threads"] = batch
    return record
