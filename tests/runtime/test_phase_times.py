"""The time of the parts of a run, over its stops."""

import json

import pytest

from xdistil.runtime.phase_times import FILE, PhaseTimes


def test_seconds_are_added_up_over_stops(tmp_path, monkeypatch):
    now = iter([0.0, 4.0, 100.0, 101.0, 200.0, 202.5])
    monkeypatch.setattr("xdistil.runtime.phase_times.time.monotonic", lambda: next(now))
    times = PhaseTimes(tmp_path)
    with times.phase("teacher"):
        pass
    with pytest.raises(KeyError), times.phase("student"):
        raise KeyError
    resumed = PhaseTimes(tmp_path)
    assert resumed.seconds == {"teacher": 4.0, "student": 1.0}
    with resumed.phase("student"):
        pass
    resumed.add("preparation", 0.5)
    expected = {"teacher": 4.0, "student": 3.5, "preparation": 0.5}
    assert resumed.seconds == expected
    assert json.loads((tmp_path / FILE).read_text()) == expected


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", '{"teacher": "x"}', '{"teacher": null}'])
def test_a_damaged_file_stops_no_run(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    times = PhaseTimes(tmp_path)
    times.add("teacher", 1.0)
    assert times.seconds["teacher"] == 1.0


def test_only_the_process_that_writes_has_a_file(tmp_path):
    times = PhaseTimes(tmp_path, writes=False)
    times.add("teacher", 1.0)
    assert times.seconds == {"teacher": 1.0}
    assert not list(tmp_path.iterdir())
