"""A service whose default model takes pictures and masks, and what calls of OpenAI's API give it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.clients import App
from tests.api.fake_worker import png
from tests.models import CANVAS

RESPONSES = "/v1/responses"
TOOL: dict[str, Any] = {"type": "image_generation"}
DATA_URL = f"data:image/png;base64,{base64.b64encode(png('red')).decode()}"
MASK = png("#00000000", "RGBA")


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    """The service."""
    return make_app(models=(CANVAS,), default_model="canvas")
