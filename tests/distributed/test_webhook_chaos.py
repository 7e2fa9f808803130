"""Webhooks while receivers, web servers, dispatchers and Redis fail."""

from __future__ import annotations

import pytest

from tests.chaos.webhook_rounds import run


@pytest.mark.long
@pytest.mark.timeout(900)
def test_each_event_arrives_signed_and_under_one_id_whatever_fails():
    figures = run(3, "sqlite", seed=14, tell=print)
    assert figures["events"] > 300
    assert figures["found"] == []
