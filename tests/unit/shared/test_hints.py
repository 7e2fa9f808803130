"""Hints: lossy notifications through a real Valkey."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.client import PubSub
from tests.processes import eventually

from limner_shared.db.ledger import Change
from limner_shared.domain.jobs import JobState
from limner_shared.messaging.hints import CANCEL_CHANNEL, JOB_CHANNEL, Hints, JobHint, Progress, connect, read_hint
from limner_shared.messaging.typed_redis import subscription


def change(state: JobState) -> Change:
    return Change("job_1", "tenant", None, "limner-flow", state, 2)


def received(pubsub: PubSub) -> Any:
    """The next message of a subscription."""
    return eventually(lambda: cast("Any", pubsub).get_message(timeout=1))


def test_progress_can_be_read_per_job_and_is_published_to_all(redis_url: str):
    hints = Hints(connect(redis_url))
    with subscription(hints.redis) as pubsub:
        pubsub.subscribe(JOB_CHANNEL)
        hints.progressed({"job_1": ("tenant", Progress(3, 24))})
        heard = received(pubsub)
    assert json.loads(heard["data"]) == {"id": "job_1", "tenant_id": "tenant", "progress": {"done": 3, "total": 24}}
    assert hints.progress(["job_1", "job_2"]) == {"job_1": Progress(3, 24)}


def test_a_cancellation_is_also_published_to_the_workers(redis_url: str):
    hints = Hints(connect(redis_url))
    with subscription(hints.redis) as pubsub:
        pubsub.subscribe(CANCEL_CHANNEL)
        hints.changed([change(JobState.SUCCEEDED), change(JobState.CANCELED)])
        assert received(pubsub)["data"] == "job_1"


def test_hints_raise_nothing_without_redis():
    hints = Hints(connect("redis://127.0.0.1:1/0"))
    hints.changed([change(JobState.CANCELED)])
    hints.progressed({"job_1": ("tenant", Progress(1, 2))})
    assert hints.progress(["job_1"]) == {}


def test_published_messages_can_be_read(redis_url: str):
    hints = Hints(connect(redis_url))
    with subscription(connect(redis_url, decode_responses=False)) as pubsub:
        pubsub.subscribe(JOB_CHANNEL)
        hints.changed([change(JobState.CANCELED)])
        heard = read_hint(received(pubsub)["data"])
        assert heard == JobHint(id="job_1", tenant_id="tenant", state=JobState.CANCELED, version=2)
        hints.progressed({"job_1": ("tenant", Progress(3, 24))})
        heard = read_hint(received(pubsub)["data"])
        assert heard == JobHint(id="job_1", tenant_id="tenant", progress=Progress(3, 24))


@given(st.binary() | st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_an_invalid_message_is_read_as_none(message: bytes):
    assert read_hint(message if isinstance(message, bytes) else json.dumps(message).encode()) is None


@pytest.mark.parametrize("value", ["x", "5", "[]", '{"done": 1}', '{"done": "a", "total": 2}', b"\xff\xfe"])
def test_a_progress_that_cannot_be_read_is_left_out(redis_url: str, value: str | bytes):
    hints = Hints(connect(redis_url))
    hints.progressed({"job_1": ("tenant", Progress(3, 24))})
    hints.redis.set("limner:progress:job_2", value)
    assert hints.progress(["job_1", "job_2"]) == {"job_1": Progress(3, 24)}


def test_further_fields_of_a_progress_are_ignored(redis_url: str):
    hints = Hints(connect(redis_url))
    hints.redis.set("limner:progress:job_1", '{"done": 3, "total": 24, "stage": "decoding"}')
    assert hints.progress(["job_1"]) == {"job_1": Progress(3, 24)}


@pytest.mark.parametrize("value", ["x", "not base64", "\u00e9", b"\xff\xfe"])
def test_a_preview_that_cannot_be_read_is_left_out(redis_url: str, value: str | bytes):
    hints = Hints(connect(redis_url))
    hints.redis.set("limner:preview:job_1", value)
    assert hints.request_preview("job_1") is None
    hints.previewed("job_1", b"webp")
    assert hints.request_preview("job_1") == b"webp"
