"""The order of students under a budget, and which of them are proposed."""

from dataclasses import replace

from xdistil.evaluation.frontier_table import FrontierRow, FrontierTable, render_table, write_files


def make_row(shape: str, kind: str, encoder: int, embeddings: int, score=None, front=True):
    return FrontierRow(
        shape=shape,
        kind=kind,
        vocabulary_size=100,
        embedding_size=8,
        hidden_size=8,
        layers=None,
        heads=None,
        intermediate_size=None,
        parameters=encoder + embeddings,
        encoder_parameters=encoder,
        float32_bytes=4_000_000,
        int8_bytes=1_000_000,
        tokenizer_bytes=500_000,
        flops_per_subword=1e5,
        flops_per_text=2.5e6,
        milliseconds={1: (1.5, 0.25)},
        front=front,
        score=score,
    )


ROWS = (
    make_row("even", "bilstm", 600, 500),
    make_row("more", "bilstm", 2000, 100),
    make_row("deep", "transformer", 900, 900),
    make_row("beaten", "transformer", 9000, 9000, front=False),
)


def make_table(*rows: FrontierRow) -> FrontierTable:
    return FrontierTable(rows, (1, 2), None, "dev macro-F1", {})


def list_names(rows) -> list[str]:
    return [row.shape for row in rows]


def test_without_scores_one_of_each_kind_is_proposed():
    table = make_table(*ROWS)
    # 600 * 500 is more than 2000 * 100: neither part is small.
    assert list_names(table.front) == ["even", "more", "deep"]
    assert list_names(table.choices) == ["even", "deep"]


def test_with_scores_the_best_is_proposed():
    scores = (0.5, 0.7, 0.6, 0.9)
    table = make_table(*(replace(row, score=x) for row, x in zip(ROWS, scores, strict=True)))
    assert list_names(table.front) == ["more", "deep", "even"]
    assert list_names(table.choices) == ["more"]
    header, first, *_ = render_table(table)
    assert header.split()[-2:] == ["dev", "macro-F1"]
    # Bytes are with the tokenizer; nothing was measured with two threads.
    cells = ["more", "2.1k", "4.50", "1.50", "2.5", "1.50", "0.25", "-", "-", "70.00"]
    assert first.split() == cells


def test_flags_are_written_beside_a_shape_and_the_config_has_none(tmp_path):
    flags = replace(ROWS[0], overrides=("--config.student.layers=2",))
    write_files(tmp_path, make_table(flags, ROWS[2]))
    *_, first, second = (tmp_path / "frontier.md").read_text().splitlines()
    assert first == "- even: `--config.student.layers=2`"
    assert second == "- deep: the config as it is"
