"""The monitor of `test_responsive` counts what blocks an event loop, and not what a busy machine costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.distributed.loop_monitor import LIMIT_SECONDS, MARK, blocked_seconds

BLOCKING = """
from gevent import monkey
monkey.patch_all()
import gevent, time
from tests.distributed.loop_monitor import Monitor

def waits():
    monkey.get_original("time", "sleep")(0.4)

def computes():
    end = time.thread_time() + 0.4
    while time.thread_time() < end:
        pass

def cooperates():
    end = time.thread_time() + 0.4
    while time.thread_time() < end:
        gevent.sleep(0)

Monitor()
for function in (waits, computes, cooperates):
    gevent.spawn(function).join()
"""


def test_a_wait_and_a_computation_that_block_the_loop_are_found():
    run = subprocess.run([sys.executable, "-c", BLOCKING], capture_output=True, text=True, check=True)
    blocks = [json.loads(line.removeprefix(MARK)) for line in run.stderr.splitlines() if line.startswith(MARK)]
    assert [block["functions"][-1].rpartition(":")[2] for block in blocks] == ["waits", "computes"]


@pytest.mark.parametrize(
    ("wall", "used", "waited", "others", "blocked"),
    [
        (0.5, 0.5, 0.0, 0.0, 0.5),  # a computation
        (0.5, 0.0, 0.0, 0.0, 0.5),  # a call that waits
        (0.5, 0.01, 0.49, 0.0, 0.01),  # the thread waits for a core
        (0.5, 0.01, 0.0, 0.6, 0.01),  # another thread holds the interpreter's lock and waits for a core
        (0.5, 0.2, 0.3, 0.9, 0.2),  # a computation on a busy machine
    ],
)
def test_waits_for_a_core_do_not_count(wall: float, used: float, waited: float, others: float, blocked: float):
    start, end = (100.0, 7.0, 3.0, 9.0), (100.0 + wall, 7.0 + used, 3.0 + waited, 9.0 + others)
    assert blocked_seconds(start, end) == pytest.approx(blocked)
    assert LIMIT_SECONDS == 0.1
