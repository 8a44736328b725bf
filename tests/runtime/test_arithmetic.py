"""The type of a run's arithmetic: the config's, that of the run's beginning, or the device's."""

import json
from types import SimpleNamespace

import pytest

from xdistil.config import Experiment
from xdistil.runtime import arithmetic
from xdistil.runtime.arithmetic import choose_dtype, multiplies_in_bfloat16


@pytest.mark.parametrize(
    ("device", "flags", "faster"),
    [
        ({"platform": "tpu"}, "", True),
        ({"platform": "gpu", "compute_capability": "7.5"}, "", False),
        ({"platform": "gpu", "compute_capability": "8.0"}, "", True),
        ({"platform": "gpu", "compute_capability": "10.0"}, "", True),
        ({"platform": "gpu", "compute_capability": "gfx90a"}, "", False),
        ({"platform": "gpu"}, "", False),
        ({"platform": "cpu"}, "fpu avx2 avx512f", False),
        ({"platform": "cpu"}, "fpu avx512f avx512_bf16", True),
        ({"platform": "cpu"}, "fpu amx_bf16 amx_tile", True),
        ({"platform": "cpu"}, "", False),
    ],
)
def test_devices_with_units_for_bfloat16(monkeypatch, device, flags, faster):
    monkeypatch.setattr(arithmetic, "read_cpu_information", lambda name: flags)
    assert multiplies_in_bfloat16(SimpleNamespace(**device)) is faster


@pytest.mark.parametrize(("faster", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_the_faster_type_of_the_device(monkeypatch, tmp_path, faster, chosen):
    monkeypatch.setattr(arithmetic, "multiplies_in_bfloat16", lambda device: faster)
    assert choose_dtype(Experiment()) == chosen
    assert choose_dtype(Experiment(), tmp_path) == chosen


@pytest.mark.parametrize("faster", [True, False])
@pytest.mark.parametrize("began", ["float32", "bfloat16"])
def test_a_resumed_run_keeps_its_type(monkeypatch, tmp_path, faster, began):
    monkeypatch.setattr(arithmetic, "multiplies_in_bfloat16", lambda device: faster)
    (tmp_path / "config.json").write_text(json.dumps({"dtype": began}))
    assert choose_dtype(Experiment(), tmp_path) == began
    for named in ("float32", "bfloat16"):  # `check_workdir` refuses the other one
        assert choose_dtype(Experiment(dtype=named), tmp_path) == named
