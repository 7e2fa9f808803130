"""Supervised threads: a failure is reported once, and a stalled thread is detected."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from limner_shared import threads
from limner_shared.process_end import EXIT_CODE, run_for
from limner_shared.threads import Supervisor


def test_an_unhandled_exception_is_reported_once_with_the_thread_name() -> None:
    reported: list[tuple[str, str]] = []
    supervisor = Supervisor(lambda name, error: reported.append((name, str(error))))

    def fail() -> None:
        raise RuntimeError("broken")

    supervisor.start("first", fail).join()
    supervisor.start("second", fail).join()
    assert reported == [("first", "broken")]
    assert supervisor.failed


def test_a_thread_that_returns_is_not_a_failure() -> None:
    supervisor = Supervisor(lambda name, _error: (_ for _ in ()).throw(AssertionError(name)))
    supervisor.start("done", lambda: None).join()
    assert not supervisor.failed
    assert supervisor.activity() == {}


def test_a_failing_pool_task_is_reported() -> None:
    reported: list[str] = []
    supervisor = Supervisor(lambda name, error: reported.append(f"{name}: {error}"))
    pool = supervisor.pool("store", 2)

    def fail(what: str) -> None:
        raise ValueError(what)

    pool.submit(fail, "no disk")
    pool.close()
    assert reported == ["store: no disk"]


def test_a_thread_is_stalled_if_a_unit_of_work_exceeds_its_limit() -> None:
    now = [100.0]
    supervisor = Supervisor(clock=lambda: now[0])
    began, waits, go_on, end = (threading.Event() for _ in range(4))

    def run() -> None:
        supervisor.working()
        began.set()
        go_on.wait()
        supervisor.idle()
        waits.set()
        end.wait()

    thread = supervisor.start("commit", run, limit_seconds=30)
    began.wait()
    now[0] = 129.0
    assert supervisor.stalled() == {}
    now[0] = 131.0
    assert supervisor.stalled() == {"commit": 31.0}
    go_on.set()
    waits.wait()
    assert supervisor.stalled() == {}
    assert supervisor.activity() == {"commit": None}
    end.set()
    thread.join()


@pytest.fixture
def no_further_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads cannot be started, as at a limit of memory or of processes."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_pool_tasks_run_on_the_started_threads_if_no_further_one_can_be_started(request: pytest.FixtureRequest) -> None:
    done: list[int] = []
    pool = Supervisor().pool("store", 4)
    blocked = threading.Event()
    pool.submit(blocked.wait)
    request.getfixturevalue("no_further_thread")
    for number in range(3):
        pool.submit(done.append, number)
    blocked.set()
    pool.close()
    assert done == [0, 1, 2]


def test_a_closed_pool_takes_no_task() -> None:
    pool = Supervisor().pool("store", 1)
    pool.close()
    with pytest.raises(RuntimeError):
        pool.submit(int)


@pytest.mark.usefixtures("no_further_thread")
def test_the_last_task_of_a_process_runs_on_its_own_thread_if_no_other_can_be_started() -> None:
    ran_on: list[threading.Thread] = []
    run_for(1.0, "end", lambda: ran_on.append(threading.current_thread()))
    assert ran_on == [threading.current_thread()]


def test_the_process_ends_if_the_failure_of_a_thread_cannot_be_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[tuple[str, str]] = []

    def end(name: str, error: BaseException) -> None:
        ended.append((name, repr(error)))

    monkeypatch.setattr(threads, "end_process", end)

    def report(_name: str, _error: BaseException) -> None:
        raise MemoryError

    def fail() -> None:
        raise ValueError("broken")

    Supervisor(report).start("engine", fail).join()
    assert ended == [("engine", "MemoryError()")]


def test_a_last_task_that_fails_is_logged_and_the_process_goes_on_to_its_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise ValueError("broken")

    run_for(5.0, "hand-back", fail)
    assert "not done before the end" in capsys.readouterr().err


@pytest.mark.long
def test_a_process_whose_standard_error_is_not_read_ends_if_a_thread_fails() -> None:
    program = """
from limner_shared.settings import Settings
from limner_shared.telemetry import configure_logging
from limner_shared.threads import Supervisor
configure_logging(Settings(), "test")
Supervisor().start("broken", lambda: 1 // 0).join(60)
"""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    try:
        ended = subprocess.run([sys.executable, "-c", program], stderr=writing, timeout=60, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert ended.returncode == EXIT_CODE


def test_a_last_task_that_hangs_does_not_keep_the_process() -> None:
    database_is_back = threading.Event()
    done: list[bool] = []
    run_for(0.05, "hand-back", lambda: done.append(database_is_back.wait(30)))
    assert done == []
    database_is_back.set()
