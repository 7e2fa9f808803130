"""Supervised threads: a failure is reported once, and a stalled thread is detected."""

from __future__ import annotations

import threading

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
