"""A model's view says how workers serve it: which calls are made image by image, or that none could load it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limner_shared.messaging import reports
from limner_shared.messaging.reports import WorkerReport
from tests.api.clients import ApiClient, App
from tests.api.test_input_images import CARD


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path) -> App:
    card = tmp_path / "painter.toml"
    card.write_text(CARD.replace('"null"', '"diffusers"'))
    return make_app(models=(card,), default_model="painter")


def report(app: App, owner: str, **fields: Any) -> None:
    """Let a worker report."""
    always: dict[str, Any] = {"owner": owner, "models": [], "device": "cpu", "held": 0, "closed": [], "stalled": []}
    written = WorkerReport.model_validate(always | fields)
    reports.write_report(app.extensions["limner"].hints.redis, written)


def serving(client: ApiClient) -> Any:
    return next(each for each in client.get("/api/v1/models").json["items"] if each["name"] == "painter")["serving"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner_web.worker_limits.FRESH_SECONDS", -1.0)


def test_without_reports_nothing_is_said(app: App, client: ApiClient) -> None:
    assert serving(client) is None
    report(app, "of others", models=["another"])
    assert serving(client) is None


def test_calls_that_are_made_image_by_image_are_named(app: App, client: ApiClient) -> None:
    report(app, "one", models=["painter"], per_image={"painter": ["unet.forward"]})
    report(app, "two", models=["painter"])
    assert serving(client) == {"workers": 2, "per_image": ["unet.forward"], "left_out": None}


def test_a_model_that_no_worker_could_load_has_the_code_of_the_error(app: App, client: ApiClient) -> None:
    report(app, "one", left_out={"painter": "pickled_weights"})
    assert serving(client) == {"workers": 0, "per_image": [], "left_out": "pickled_weights"}
    report(app, "two", models=["painter"])
    assert serving(client) == {"workers": 1, "per_image": [], "left_out": None}, "another worker serves it"
