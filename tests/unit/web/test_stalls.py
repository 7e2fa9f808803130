"""A thread of a web process that hangs is known by its name, and ends the process while the database answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.processes import eventually

from limner_shared.db.engine import Database
from limner_shared.db.ledger import Change
from limner_shared.domain.jobs import JobState
from limner_shared.messaging.hints import Hints, connect
from limner_shared.threads import Supervisor
from limner_web import key_usage
from limner_web.openai import batch_loader
from limner_web.openai.batch_loader import BatchLoader
from limner_web.serving.probe import FULL, Health, Probe
from limner_web.serving.stalls import ALIVE_SECONDS, UNIT_SECONDS, StallWatch
from limner_web.updates import tail, waits, watch
from limner_web.updates.listener import Listener

Hang = Callable[..., Any]
Begin = Callable[[Supervisor, Database, str, Hang, pytest.MonkeyPatch], object]


def events(supervisor: Supervisor, _database: Database, redis_url: str, hang: Hang, _patch: pytest.MonkeyPatch) -> None:
    listener = Listener(connect(redis_url, decode_responses=False), supervisor)
    listener.add(hang)
    listener.start()
    Hints(connect(redis_url)).changed([Change("job_1", "tenant", None, "limner-flow", JobState.CANCELED, 2)])


def event_tail(supervisor: Supervisor, database: Database, _redis: str, hang: Hang, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tail, "TAIL_SECONDS", 0.01)
    patch.setattr(tail.Tail, "advance", hang)
    with tail.Tail(database, supervisor, lambda _hint: None).followed():
        pass


def some(_: object) -> list[None]:
    return [None]


def recheck(supervisor: Supervisor, database: Database, redis_url: str, hang: Hang, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(watch, "RECHECK_SECONDS", 0.01)
    patch.setattr(watch.Watches, "_to_check", some)
    patch.setattr(watch.Watches, "_wake_ended", hang)
    watches = watch.Watches(Listener(connect(redis_url, decode_responses=False), supervisor), database, supervisor)
    with watches._watching("tenant", "job_1"):
        pass


def hang_ups(supervisor: Supervisor, _database: Database, _redis: str, hang: Hang, patch: pytest.MonkeyPatch) -> object:
    patch.setattr(waits, "HANG_UP_SECONDS", 0.01)
    first = iter([False])  # of the request itself
    wait = waits.Waits(supervisor).waiting(60, lambda: next(first, True) and hang())
    wait.__enter__()
    return wait


def usage(supervisor: Supervisor, database: Database, _redis: str, hang: Hang, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(key_usage.KeyUsage, "write", hang)
    key_usage.KeyUsage(database, supervisor).note("key")


def batches(supervisor: Supervisor, _database: Database, _redis: str, hang: Hang, patch: pytest.MonkeyPatch) -> None:
    for step in ("load_next", "finish_next"):
        patch.setattr(BatchLoader, step, hang)
    BatchLoader(cast("Any", SimpleNamespace(supervisor=supervisor))).start()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("begin", "names"),
    [
        (events, {"events"}),
        (event_tail, {"event tail"}),
        (recheck, {"recheck"}),
        (hang_ups, {"hang-ups"}),
        (usage, {"key usage"}),
        (batches, {"batch files", "batch outputs"}),
    ],
)
def test_each_thread_of_a_web_process_that_hangs_is_known_by_its_name(
    database: Database, redis_url: str, begin: Begin, names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    supervisor = Supervisor(clock=lambda: now[0])
    hanging: set[int] = set()

    def hang(*_: object) -> None:
        hanging.add(threading.get_ident())  # threads of other tests' applications may hang here as well
        threading.Event().wait()  # never returns

    kept = begin(supervisor, database, redis_url, hang, monkeypatch)
    eventually(lambda: len(hanging & supervisor._activities.keys()) == len(names))
    assert supervisor.stalled() == {}
    now[0] = max(UNIT_SECONDS, batch_loader.UNIT_SECONDS) + 1
    eventually(lambda: supervisor.stalled().keys() & names == names)
    del kept


def test_a_listener_that_hears_nothing_makes_progress(redis_url: str) -> None:
    now = [0.0]
    supervisor = Supervisor(clock=lambda: now[0])
    Listener(connect(redis_url, decode_responses=False), supervisor).start()
    for _ in range(3):
        now[0] += UNIT_SECONDS + 1
        eventually(lambda: supervisor.activity()["events"] == 0.0, 10)


class Answers:
    """A probe that finds the database in `state`."""

    state = "ok"

    def check(self) -> Health:
        return Health(self.state, "ok")


@pytest.mark.parametrize("state", ["ok", FULL])
def test_a_hanging_thread_ends_the_process_once_the_database_has_answered_for_a_while(state: str) -> None:
    now, ended, probe = [0.0], list[str](), Answers()
    supervisor = Supervisor(clock=lambda: now[0])

    def run() -> None:
        supervisor.working()
        threading.Event().wait()

    supervisor.start("events", run, limit_seconds=30)
    eventually(lambda: supervisor.activity().get("events") == 0)
    watcher = StallWatch(
        supervisor, cast("Probe", probe), lambda name, error: ended.append(f"{name}: {error}"), lambda: now[0]
    )
    watcher.look()
    now[0], probe.state = 40.0, "away"
    watcher.look()
    now[0] += ALIVE_SECONDS
    watcher.look()
    assert ended == [], "the process ended while the database was away"
    probe.state = state
    watcher.look()
    assert ended == [], "the thread had no time to go on after the outage"
    now[0] += ALIVE_SECONDS
    watcher.look()
    assert ended == ["events: no progress for 60 s"]
