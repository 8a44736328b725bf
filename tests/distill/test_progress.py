"""Progress as JSON: the keys in a checkpoint are those of all versions."""

import json
from typing import Any

from xdistil.distill.progress import Progress, read_progress

SCORES: Any = {"macro_f1": 0.75, "micro_f1": 0.5, "per_language": {"de": {"f1": None}}}
RECORD: Any = {
    "name": "representation",
    "groups": ["projection", "bilstm"],
    "steps": 8,
    "limit": 8,
    "best_step": 6,
    "monitor": "dev loss",
    "best": 0.125,
    "dev": SCORES,
    "seconds": 2.5,
}
METER: Any = {
    "seconds": 1.5,
    "losses": {"labels": [2.0, 8.0]},
    "gradient_norm": 0.5,
    "steps": 1,
    "step": 4,
    "rate": 0.01,
}
# The cursor of a checkpoint in its second stage, as earlier versions wrote it.
WRITTEN: dict[str, Any] = {
    "leg": 1,
    "step": 4,
    "total_step": 12,
    "evaluated": 3,
    "best_step": 2,
    "patience_used": 1,
    "done": False,
    "records": [RECORD],
    "best": 0.75,
    "scores": SCORES,
    "meter": METER,
    "metrics": 321,
}
READ = Progress(
    stage=1,
    step=4,
    total_step=12,
    evaluated=3,
    best=0.75,
    best_step=2,
    scores=SCORES,
    patience_used=1,
    begun=True,
    done=False,
    results=[RECORD],
    meter=METER,
    log_offset=321,
)


def test_the_keys_of_all_versions_are_written():
    assert READ.to_json() == WRITTEN


def test_what_earlier_versions_wrote_is_read():
    """With the checksums that stand beside it; what was written had begun."""
    checksums = {"state": "00c0ffee", "best": "0badcafe"}
    assert read_progress({**WRITTEN, "checksums": checksums}) == READ


def test_progress_survives_json():
    """At the start of a stage, where most of it is empty, too."""
    first = Progress(stage=0, begun=True)
    weighed = Progress(stage=2, begun=True, language_weights={"sw": 1.9, "de": 1 / 3})
    doubted = Progress(stage=2, begun=True, row_doubts="//8AAA==")
    for progress in (READ, first, weighed, doubted):
        assert read_progress(json.loads(json.dumps(progress.to_json()))) == progress


def test_what_was_written_does_not_change_with_the_next_steps():
    progress = Progress(stage=0, meter={**METER, "losses": {"labels": [2.0, 8.0]}})
    written = progress.to_json()
    progress.step = 9
    progress.results.append(RECORD)
    assert progress.meter is not None
    progress.meter["losses"]["labels"] = [3.0, 9.0]
    assert (written["step"], written["records"]) == (0, [])
    assert written["meter"]["losses"] == {"labels": [2.0, 8.0]}
