"""Students under a budget as a figure."""

from matplotlib.figure import Figure

from xdistil.evaluation.frontier_table import FrontierTable

_COLOURS = {"bilstm": "#c8442c", "transformer": "#3b6ea5"}
_MOST_NAMED = 12  # points of a figure with their names


def draw_frontier(table: FrontierTable) -> Figure:
    """Scores, or parameters beside the word embeddings, against the milliseconds of a text.

    All shapes that were measured are there, those of the front filled, larger ones with larger
    marks.
    """
    first = table.threads[0]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    scored = any(row.score is not None for row in table.rows)
    rows = [row for row in table.rows if first in row.milliseconds]
    if scored:
        rows = [row for row in rows if row.score is not None]
    for kind, colour in _COLOURS.items():
        own = [row for row in rows if row.kind == kind]
        axes.scatter(
            [row.milliseconds[first][0] for row in own],
            [100 * (row.score or 0.0) if scored else row.encoder_parameters for row in own],
            s=[12 + 12 * (row.float32_bytes / 1e6) ** 0.5 for row in own],
            facecolors=[colour if row.front else "none" for row in own],
            edgecolors=colour,
            label=kind,
        )
    for row in [row for row in rows if row.front][:_MOST_NAMED]:
        height = 100 * (row.score or 0.0) if scored else row.encoder_parameters
        place = (row.milliseconds[first][0], height)
        axes.annotate(row.shape, place, xytext=(6, 4), textcoords="offset points", fontsize=6)
    if table.max_milliseconds is not None:
        axes.axvline(table.max_milliseconds, color="#888888", linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    if not scored:
        axes.set_yscale("log")
    axes.set_xlabel(f"ms for a text, {first} thread{'s' if first > 1 else ''}")
    axes.set_ylabel(f"{table.score_name}, %" if scored else "parameters beside word embeddings")
    axes.set_title("Students within the budget (filled) and near it", loc="left")
    axes.legend(frameon=False)
    return figure
