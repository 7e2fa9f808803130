"""Lists that change while they are used: a redraw takes no button from under a press."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from limner_client.client import Client
from tests.e2e.bulks import draw_bulk

pytestmark = pytest.mark.long

OpenPage = Callable[..., Page]


def test_the_queue_keeps_its_buttons_while_jobs_go_on(service: int, open_page: OpenPage):
    with Client(f"http://127.0.0.1:{service}") as client:
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        job = client.submit({"prompt": "a kept button", "model": "canvas", "not_before": later}).id
        page = open_page("/queue")
        cancel = page.locator(f"#{job}").get_by_role("button", name="Cancel")
        cancel.evaluate("button => { button.isOld = true; }")
        first = client.submit({"prompt": "another row", "model": "canvas", "not_before": later}).id
        expect(page.locator(f"#{first}")).to_be_visible(timeout=60_000)
        assert cancel.evaluate("button => button.isOld")
        cancel.click()
        expect(page.locator(f"#{job}")).to_have_count(0)
        client.cancel(first)


def test_a_bulks_card_keeps_its_buttons_while_its_numbers_change(service: int, open_page: OpenPage):
    bulk = draw_bulk(service, {"prompt": "a kept card"})
    page = open_page("/bulk")
    sheet = page.locator(f"#{bulk}").get_by_role("button", name="Contact sheet")
    sheet.evaluate("button => { button.isOld = true; }")
    page.route("**/api/v1/bulks?*", lambda route: route.fulfill(json=recounted(route.fetch().json(), bulk)))
    expect(page.locator(f"#{bulk}")).to_contain_text("7 left out", timeout=60_000)
    assert sheet.evaluate("button => button.isOld")


def recounted(answer: dict[str, Any], bulk: str) -> dict[str, Any]:
    """The list of bulks, of which one has left out seven lines."""
    for item in answer["items"]:
        if item["id"] == bulk:
            item["skipped"] = {"count": 7, "errors": []}
    return answer
