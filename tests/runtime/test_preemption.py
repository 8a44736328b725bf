"""Signals: deferred where work would be lost, immediate elsewhere; a second Ctrl-C exits."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from xdistil.errors import StoppedError
from xdistil.runtime.preemption import PreemptionGuard


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_outside_deferred_work_a_signal_ends_the_run_at_once(number):
    with PreemptionGuard().listening(), pytest.raises(StoppedError, match=number.name):
        os.kill(os.getpid(), number)


def test_deferred_work_gets_the_signal_when_it_asks():
    stop = PreemptionGuard()
    with stop.listening(), stop.deferred():
        stop.raise_if_requested()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested()
        with pytest.raises(StoppedError, match="SIGTERM"):
            stop.raise_if_requested()


def test_a_signal_during_the_exchange_of_processes_is_not_lost(monkeypatch):
    stop = PreemptionGuard()

    def global_max(value: int) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return value

    with stop.listening(), stop.deferred():
        with monkeypatch.context() as patch:
            patch.setattr("xdistil.runtime.preemption.global_max", global_max)
            assert not stop.requested()
        assert stop.requested()


def test_deferring_ends_with_the_outermost_block():
    stop = PreemptionGuard()
    with stop.listening():
        with stop.deferred():
            with stop.deferred():
                pass
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedError):
            os.kill(os.getpid(), signal.SIGTERM)


def test_the_earlier_handlers_are_restored():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with PreemptionGuard().listening():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_only_the_main_thread_sets_handlers():
    seen = []

    def work() -> None:
        with PreemptionGuard().listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_a_second_ctrl_c_exits_without_saving():
    program = """
import os, signal
from xdistil.runtime.preemption import PreemptionGuard
stop = PreemptionGuard()
with stop.listening(), stop.deferred():
    os.kill(os.getpid(), signal.SIGINT)
    print("saving", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("never", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stdout == "saving\n"
    assert "SIGINT: saving, then exiting" in done.stderr
