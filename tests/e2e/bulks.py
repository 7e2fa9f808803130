"""Bulks of small pictures for the pages."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, Response

from limner_client.client import Client
from tests.processes import eventually

SMALL = {"model": "limner-gan", "width": 64, "height": 64}


def draw_bulk(port: int, *requests: dict[str, Any]) -> str:
    """The id of a bulk whose jobs have all ended."""
    with Client(f"http://127.0.0.1:{port}") as client:
        lines = "".join(json.dumps(SMALL | request) + "\n" for request in requests)
        bulk = client.submit_bulk(io.BytesIO(lines.encode()))
        eventually(lambda: client.bulk(bulk.id).status == "done", 120)
        return bulk.id


def submit_bulk(page: Page, press: Callable[[], object]) -> Locator:
    """Press the button that submits a bulk; returns the card of that bulk, since the page lists earlier ones too."""

    def is_bulk(response: Response) -> bool:
        return response.request.method == "POST" and response.url.endswith("/api/v1/bulks")

    with page.expect_response(is_bulk) as made:
        press()
    return page.locator(f"#{made.value.json()['id']}")
