"""The subscription to hints of a web process."""

from __future__ import annotations

from tests.processes import eventually

from limner_shared.db.ledger import Change
from limner_shared.domain.jobs import JobState
from limner_shared.messaging.hints import Hints, JobHint, connect
from limner_shared.threads import Supervisor
from limner_web.updates.listener import Listener


def test_a_hint_is_heard_from_the_moment_at_which_the_listener_is_started(redis_url: str) -> None:
    hints = Hints(connect(redis_url))
    for number in range(20):
        listener = Listener(connect(redis_url, decode_responses=False), Supervisor())
        heard: list[JobHint] = []
        listener.add(heard.append)
        listener.start()
        hints.changed([Change(f"job_{number}", "tenant", None, "limner-flow", JobState.CANCELED, 2)])
        eventually(lambda heard=heard: heard, 5)


def test_the_listener_starts_without_redis() -> None:
    Listener(connect("redis://127.0.0.1:1/0", decode_responses=False), Supervisor()).start()
